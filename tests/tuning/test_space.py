"""What a search varies: the model's own space, widened, narrowed and fixed as a user says."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from keras_tuner import HyperParameters

from cs_keras import config
from cs_keras.config import parse_overrides
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline
from cs_keras.run_files.study import Search
from tuning.plan import SearchPlan, plan_search
from tuning.space import (
    changes_at,
    flatten,
    make_space,
    nest,
    searched,
    settings_at,
    split_overrides,
    to_space,
)


def plan(
    key: str, *sets: str, fixes: Mapping[str, Any] | None = None, only: tuple[str, ...] = ()
) -> SearchPlan:
    return plan_search(Search(key), parse_overrides(sets), fixes or {}, only)


def parameters(planned: SearchPlan) -> dict[str, Any]:
    """Return the searched parameters by their names."""
    space = to_space(planned.space, {})
    return {p.name: p for p in space.space if p.name in searched(space)}


def settings(key: str, planned: SearchPlan, **values: Any) -> Any:
    """Return the settings at the point that differs from the first one in `values`."""
    start = config.replace(get_baseline(key), planned.base)
    space = to_space(planned.space, {})
    point = to_space(planned.space, {p.name: p.default for p in space.space if not p.conditions})
    point.values.update({name.replace("__", "."): value for name, value in values.items()})
    for parameter in point.space:
        if point.is_active(parameter):
            point.values.setdefault(parameter.name, parameter.default)
    return config.replace(start, changes_at(start, point))


@pytest.mark.parametrize("key", ["cnn", "bot", "lstm", "triplet"])
def test_a_search_starts_from_the_models_own_settings(key: str) -> None:
    assert settings_at(key, HyperParameters()) == get_baseline(key)
    assert settings(key, plan(key)) == get_baseline(key)


@pytest.mark.parametrize("key", ["cnn", "raw"])
def test_selections_by_spectrum_are_not_searched_on_waveforms(key: str) -> None:
    select = parameters(plan(key))["sequence.select"]
    assert set(select.values) == {"random", "energy", "entropy", "novelty"}
    planned = plan_search(Search(key), {}, {}, of_waveforms=True)
    of_samples = parameters(planned)
    assert set(of_samples["sequence.select"].values) == {"random", "energy"}
    assert set(of_samples) == set(parameters(plan(key)))
    assert settings(key, planned) == get_baseline(key)
    assert settings(key, planned, sequence__select="energy").sequence.select == "energy"


def test_only_what_is_named_is_searched_and_the_rest_stays() -> None:
    planned = plan("cnn", only=("front_end.n_*", "training.learning_rate"))
    assert set(parameters(planned)) == {"front_end.n_mels", "training.learning_rate"}
    changed = settings("cnn", planned, front_end__n_mels=40)
    baseline = get_baseline("cnn")
    assert changed == dataclasses.replace(
        baseline, front_end=dataclasses.replace(baseline.front_end, n_mels=40)
    )


def test_a_list_replaces_the_models_own() -> None:
    narrow = parameters(plan("cnn", "front_end.n_mels=[40, 80]"))["front_end.n_mels"]
    assert narrow.values == [40, 80] and narrow.default == 40
    wide = parameters(plan("cnn", "front_end.n_mels=[128, 256]"))["front_end.n_mels"]
    assert wide.values == [128, 256] and wide.default == 128  # the model's own is where a search starts


def test_a_range_replaces_the_models_own() -> None:
    rate = parameters(plan("cnn", "training.learning_rate={min=1e-6, max=1.0, log=true}"))[
        "training.learning_rate"
    ]
    assert (rate.min_value, rate.max_value, rate.sampling, rate.default) == (1e-6, 1.0, "log", 1e-4)
    whole = parameters(plan("cnn", "training.batch_size={min=8, max=24, step=8}"))["training.batch_size"]
    assert [type(whole).__name__, whole.min_value, whole.max_value, whole.step] == ["Int", 8, 24, 8]
    shares = parameters(plan("cnn", "model.dropout=[0, 0.25]"))["model.dropout"]
    assert shares.values == [0.0, 0.25]


def test_a_setting_that_the_file_does_not_search_joins() -> None:
    planned = plan("cnn", "training.patience=[1, 5]", "training.beta_1={min=0.5, max=0.99}", only=("none",))
    assert set(parameters(planned)) == {"training.patience", "training.beta_1"}
    changed = settings("cnn", planned, training__patience=1, training__beta_1=0.75)
    assert (changed.training.patience, changed.training.beta_1) == (1, 0.75)


def test_a_setting_that_is_a_list_is_chosen_whole() -> None:
    planned = plan("cnn", "model.dense=[[64], [128, 128]]")
    assert parameters(planned)["model.dense"].values == ["[64]", "[128, 128]"]
    assert settings("cnn", planned, model__dense="[128, 128]").model.dense == (128, 128)


def test_a_fixed_setting_is_the_same_everywhere_and_leaves_the_space() -> None:
    for planned in (
        plan("cnn", "front_end.n_mels=40", "training.patience=2"),
        plan("cnn", fixes={"front_end": {"n_mels": 40}, "training": {"patience": 2}}),
    ):
        assert "front_end.n_mels" not in parameters(planned)
        assert planned.base == {"front_end": {"n_mels": 40}, "training": {"patience": 2}}
        changed = settings("cnn", planned, model__filters=32)
        assert (changed.front_end.n_mels, changed.training.patience, changed.model.filters) == (40, 2, 32)


def test_a_fix_wins_over_a_search_of_the_same_setting() -> None:
    planned = plan("cnn", only=("front_end.n_mels", "model.filters"), fixes={"front_end": {"n_mels": 64}})
    assert set(parameters(planned)) == {"model.filters"}


def test_a_parameter_that_hangs_on_another_is_active_with_it() -> None:
    planned = plan("cnn", only=("training.schedule", "training.step_epochs"))
    assert (
        settings("cnn", planned, training__schedule="step", training__step_epochs=5).training.step_epochs == 5
    )
    first = settings("cnn", planned)
    assert (first.training.schedule, first.training.step_epochs) == ("inverse_time", 10)


def test_booleans_stay_booleans() -> None:
    planned = plan("cnn", "model.batch_norm=[true, false]")
    assert type(parameters(planned)["model.batch_norm"]).__name__ == "Boolean"
    assert settings("cnn", planned, model__batch_norm=True).model.batch_norm is True


WRONG = {
    "training.nonsense=[1, 2]": "There is no setting 'training.nonsense' of cnn. Settings: model.filters, ",
    "procedure=['codebook', 'triplet']": "There is no setting 'procedure' of cnn.",
    "model=[1, 2]": "model is a group of settings of cnn",
    "model.pool_frames=[[2, 2], [4, 4]]": "model.pool_frames cannot be searched on its own; .* model.pools",
    "model.filters=[]": "model.filters cannot be searched with these values: expected at least two values",
    "model.filters=[8, 8]": "expected at least two values, or fix it. Received: \\[8, 8\\]",
    "model.filters=['a', 8]": "model.filters cannot be searched with these values: .*Received: \\['a', 8\\]",
    "model.filters=[0, 8]": "model.filters cannot be 0: model.filters must be at least 1",
    "model.dense=[512, 1024]": "model.dense cannot be 512: the setting is invalid",
    "training.batch_size=['a', 'b']": "training.batch_size cannot be 'a': .* must be a whole number",
    "training.loss=['mse', 'huber']": "training.loss cannot be 'huber': training.loss must be one of mse, unit_mse",
    "training.patience={min=-3, max=4}": "training.patience cannot be -3: training.patience must be at least 0",
    "training.learning_rate={min=1, max=0}": "expected min below max",
    "training.learning_rate={min=0, max=1, log=true}": "training.learning_rate cannot be searched with these",
    "training.learning_rate={min='a', max=1}": "training.learning_rate cannot be searched with these values",
    "training.learning_rate={min=0.1, max=1, steps=3}": "a range may have only min, max, log, step",
    "training.batch_size={min=8, max=24, step=0}": "expected step above 0",
}


@pytest.mark.parametrize("given", WRONG)
def test_what_cannot_be_searched_is_reported_in_one_sentence(given: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[given]) as raised:
        plan("cnn", given)
    assert str(raised.value).endswith(".") and ".." not in str(raised.value).replace("...", "")


def test_a_parameter_without_effect_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="training.step_epochs has no effect where training.schedule is 'cosine'"
    ):
        plan("cnn", "training.step_epochs=[1, 2]", fixes={"training": {"schedule": "cosine"}})
    plan("cnn", "training.step_epochs=[1, 2]", fixes={"training": {"schedule": "step"}})
    plan("cnn", "training.step_epochs=[1, 2]")  # the schedule is searched


def test_nothing_left_to_search_is_reported_with_what_there_is() -> None:
    with pytest.raises(
        ConfigError, match="Nothing is left to search of cnn; its parameters are: augment.gain_db, "
    ):
        plan("cnn", only=("nonsense.*",))


def test_a_space_made_twice_is_the_same() -> None:
    baseline = get_baseline("cnn")
    configs = [make_space(baseline, {"training.patience": [1, 2]}, {}).get_config() for _ in range(2)]
    assert configs[0] == configs[1]


def test_paths_and_tables_are_two_ways_to_write_settings() -> None:
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": None}
    assert dict(flatten(nested)) == {"a.b": 1, "a.c.d": [2], "e": None}
    assert nest(dict(flatten(nested))) == nested
    given = {"a": {"b": 1, "c": {"min": 1, "max": 2}}, "d.e": [1], "f": {"min": 3}}
    assert split_overrides(given) == ({"a.c": {"min": 1, "max": 2}, "d.e": [1]}, {"a.b": 1, "f.min": 3})
