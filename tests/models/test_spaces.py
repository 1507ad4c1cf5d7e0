"""What a search draws, whatever the baseline."""

import dataclasses

import keras_tuner
import pytest

from cs_keras import config
from cs_keras.models import get_baseline, model_module
from cs_keras.models.spaces import (
    augment_space,
    choose,
    draw,
    front_end_space,
    sequence_space,
    shared_space,
    training_space,
)

UNUSUAL = {  # values that no option has
    "model": {"filters": 5, "dense": [], "pool_frames": [3], "pool_mels": [5], "dropout": 0.15},
    "training": {"loss": "wpe", "learning_rate": 0.3, "l2": 3e-5, "decay": 2e-8, "batch_size": 7},
    "sequence": {"frames": 100, "select": "novelty", "skip_start_s": 7.0, "skip_end_s": 9.0},
    "front_end": {"n_mels": 77, "f_min": 33.0, "f_max": 7777.0, "amin": 1e-9, "dynamic_range_db": 77.0},
    "augment": {"gain_db": 1.5, "n_time_masks": 7, "max_time_frames": 5, "n_mel_masks": 6, "max_mels": 3},
}


@dataclasses.dataclass(frozen=True)
class Start:
    """A default of each type."""

    number: float = 0.3
    name: str = "own"
    flag: bool = True
    sizes: tuple[int, ...] = (7, 7)


def at(**values):
    """A point where some parameters have other values than their defaults; names have ``__`` for the dot."""
    point = keras_tuner.HyperParameters()
    point.values.update({name.replace("__", "."): value for name, value in values.items()})
    return point


def test_options_of_every_type_are_drawn_and_the_default_joins_them():
    options = {"number": (0.5, 0.1), "name": ("a",), "flag": (False, True), "sizes": ((1, 2), ())}
    space = keras_tuner.HyperParameters()
    assert draw(space, "g", options, Start()) == {
        "number": 0.3,
        "name": "own",
        "flag": True,
        "sizes": [7, 7],
    }
    assert {p.name: list(p.values) for p in space.space} == {
        "g.number": [0.1, 0.3, 0.5],
        "g.name": ["a", "own"],
        "g.flag": [True, False],
        "g.sizes": ["[1, 2]", "[7, 7]", "[]"],
    }
    point = at(g__number=0.1, g__name="a", g__flag=False, g__sizes="[]")
    assert draw(point, "g", options, Start()) == {"number": 0.1, "name": "a", "flag": False, "sizes": []}


def test_what_a_condition_leaves_inactive_is_left_out():
    space = keras_tuner.HyperParameters()
    choose(space, "kind", ("a", "b"), "a")
    with space.conditional_scope("kind", ["b"]):
        assert draw(space, "g", {"number": (0.5,), "flag": (), "sizes": ((1,),)}, Start()) == {}
        changes = shared_space(space, get_baseline("cnn"))
    assert changes == {"training": {}, "sequence": {}, "front_end": {}, "augment": {}}


def test_a_search_from_unusual_settings_starts_there():
    baseline = config.replace(get_baseline("cnn"), UNUSUAL)
    changes = model_module("cnn").search_space(keras_tuner.HyperParameters(), baseline)
    assert config.replace(baseline, changes) == baseline


@pytest.mark.parametrize(
    ("schedule", "parameters"),
    [
        ("constant", set()),
        ("cosine", set()),
        ("inverse_time", {"decay"}),
        ("step", {"step_epochs", "step_factor"}),
    ],
)
def test_a_schedule_brings_its_own_parameters(schedule, parameters):
    changes = training_space(at(training__schedule=schedule), get_baseline("cnn"))
    assert changes.keys() & {"decay", "step_epochs", "step_factor"} == parameters


@pytest.mark.parametrize(
    ("loss", "parameters"),
    [("mse", set()), ("infonce", {"temperature"}), ("drlim", {"n_neighbours", "margin"})],
)
def test_a_loss_brings_its_own_parameters(loss, parameters):
    changes = training_space(at(training__loss=loss), get_baseline("cnn"))
    assert changes.keys() & {"temperature", "n_neighbours", "margin"} == parameters


def test_masks_bring_their_width():
    changes = augment_space(at(augment__n_mel_masks=2, augment__max_mels=4), get_baseline("cnn"))
    assert changes == {"gain_db": 0.0, "n_time_masks": 0, "n_mel_masks": 2, "max_mels": 4}


def test_half_the_sample_rate_is_an_option_of_f_max():
    baseline = config.replace(get_baseline("cnn"), {"front_end": {"f_max": 6000.0}})
    assert front_end_space(at(), baseline)["f_max"] == 6000.0
    assert front_end_space(at(front_end__f_max=0.0), baseline)["f_max"] is None


def test_precomputed_inputs_are_not_augmented():
    changes = shared_space(keras_tuner.HyperParameters(), get_baseline("choi-features"))
    assert changes.keys() == {"training", "sequence", "front_end"}


def test_sequences_are_selected_by_models_that_take_them_one_by_one():
    def names(key):
        space = keras_tuner.HyperParameters()
        sequence_space(space, get_baseline(key))
        return {parameter.name for parameter in space.space}

    assert "sequence.select" in names("cnn") & names("choi-features")
    assert "sequence.select" not in names("bot") | names("attributes")


def test_a_rate_of_its_own_is_searched_for_the_pretrained_part_of_fine_tuned_networks():
    def names(key):
        space = keras_tuner.HyperParameters()
        training_space(space, get_baseline(key))
        return {parameter.name for parameter in space.space}

    own = {"training.pretrained_learning_rate", "training.frozen_epochs"}
    assert own <= names("choi-finetune") and own <= names("xception-finetune")
    assert not own & (names("cnn") | names("choi") | names("xception-random"))


def test_pools_of_all_blocks_are_one_parameter():
    point = at(model__pools="[[4, 2], [3, 1]]")
    changes = model_module("cnn").search_space(point, get_baseline("cnn"))["model"]
    assert (changes["pool_frames"], changes["pool_mels"]) == ((4, 3), (2, 1))


@pytest.mark.parametrize(
    ("mining", "parameters"),
    [("offline", {"n_nearest", "n_farthest"}), ("batch_hard", {"embedding_batch_size"})],
)
def test_mining_brings_its_own_parameters(mining, parameters):
    changes = model_module("triplet").search_space(at(model__mining=mining), get_baseline("triplet"))["model"]
    assert changes.keys() & {"n_nearest", "n_farthest", "embedding_batch_size"} == parameters


def test_a_space_survives_being_sent_to_a_worker():
    space, baseline = keras_tuner.HyperParameters(), get_baseline("triplet")
    changes = model_module("triplet").search_space(space, baseline)
    received = keras_tuner.HyperParameters.from_proto(space.to_proto())
    assert model_module("triplet").search_space(received, baseline) == changes
    assert len(received.space) == len(space.space)
