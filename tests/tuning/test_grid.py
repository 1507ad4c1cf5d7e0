"""The points of a grid: combinations, files, and the one that comes with the package."""

import dataclasses
from pathlib import Path

import pytest

from cs_keras import config
from cs_keras.config import parse_overrides
from cs_keras.errors import ConfigError, StorageError
from cs_keras.models import get_baseline
from cs_keras.models.cnn import VARIANTS
from cs_keras.run_files.study import Search
from tuning.grid import find_grid, read_grid, space_of
from tuning.plan import SearchPlan, plan_search
from tuning.space import flatten


def grid(*sets: str, only: tuple[str, ...] = (), file: Path | None = None) -> SearchPlan:
    return plan_search(Search("cnn", "grid"), parse_overrides(sets), {}, only, file)


def test_every_combination_is_a_point() -> None:
    points = grid("model.filters=[8, 16]", "training.batch_size={min=16, max=64, step=16}").points
    found = {(point["model"]["filters"], point["training"]["batch_size"]) for point in points.values()}
    assert found == {(filters, size) for filters in (8, 16) for size in (16, 32, 48, 64)}
    assert len(points) == 8
    assert list(points)[0] == "model.filters=8, training.batch_size=16"


def test_what_is_not_active_makes_no_points() -> None:
    points = grid("training.step_epochs=[1, 2]", "training.schedule=['constant', 'step']").points
    assert list(points) == [
        "training.schedule=constant",
        "training.schedule=step, training.step_epochs=1",
        "training.schedule=step, training.step_epochs=2",
    ]
    assert "step_epochs" not in points["training.schedule=constant"]["training"]


def test_patterns_choose_what_of_the_models_own_is_combined() -> None:
    points = grid(only=("front_end.n_mels", "model.batch_norm")).points
    found = {(point["front_end"]["n_mels"], point["model"]["batch_norm"]) for point in points.values()}
    assert found == {(n, norm) for n in (40, 64, 96, 128) for norm in (False, True)}


@pytest.mark.parametrize(
    ("sets", "only", "expected"),
    [
        ((), (), "A grid search needs values to combine"),
        (("training.batch_size=16",), (), "A grid search needs values to combine"),
        (
            ("training.learning_rate={min=1e-4, max=1e-2}",),
            (),
            "training.learning_rate is a range: list some",
        ),
        ((), ("*mels", "training.learning_rate"), "training.learning_rate is a range"),
        ((), ("model.*", "front_end.*", "sequence.*"), "A grid has at most 10,000 points"),
    ],
)
def test_what_is_no_grid_is_reported_in_one_sentence(
    sets: tuple[str, ...], only: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        grid(*sets, only=only)


def test_a_file_names_its_points(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        """
        [[trial]]
        name = "small"
        model.dense = [8]
        [[trial]]
        name = "slow"
        model.dense = [8]
        training.learning_rate = 1e-5
        """
    )
    planned = grid(file=path)
    assert planned.points == {
        "small": {"model": {"dense": [8]}},
        "slow": {"model": {"dense": [8]}, "training": {"learning_rate": 1e-5}},
    }
    assert [parameter["config"]["name"] for parameter in planned.space] == ["training.learning_rate"]


FILES = {
    "": "is not a grid file: expected tables",
    "trial = 3": "is not a grid file",
    "[[trial]]\nname = 'a'\n[other]": "is not a grid file",
    "[[trial]]\nmodel.filters = 3": "each trial needs a distinct name. Received: None",
    "[[trial]]\nname = 'a'\n[[trial]]\nname = 'a'": "each trial needs a distinct name. Received: 'a'",
    "trial = []": "has no trial",
    "[[trial]]\nname = 'a'\nmodel.nonsense = 3": "Unknown setting 'model.nonsense'",
    "[[trial": "is not TOML",
}


@pytest.mark.parametrize("content", FILES)
def test_a_bad_file_is_reported_in_one_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=FILES[content]):
        grid(file=path)


def test_the_thesis_grid_is_what_the_model_file_calls_variants() -> None:
    points = read_grid(find_grid("thesis-cnn"))
    found = [config.replace(get_baseline("cnn"), point) for point in points.values()]
    own = ("cnn-best", "cnn-infonce", "cnn-heteroscedastic")
    expected = [
        dataclasses.replace(baseline, key="cnn") for key, baseline in VARIANTS.items() if key not in own
    ]
    assert found == expected


def test_parameters_of_given_points_are_those_in_which_they_differ() -> None:
    space = space_of({"a": {"x": {"y": 1}, "z": 2}, "b": {"x": {"y": 3}, "z": 2}, "c": {"z": 2, "w": [1]}})
    assert {p["config"]["name"]: p["config"]["values"] for p in space} == {"w": ["[1]"], "x.y": [1, 3]}
    names = {name for point in read_grid(find_grid("thesis-cnn")).values() for name, _ in flatten(point)}
    assert {p["config"]["name"] for p in space_of(read_grid(find_grid("thesis-cnn")))} == names


def test_a_grid_that_is_nowhere_is_reported_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="There is no grid file nonsense; those that come .*: thesis-cnn"):
        find_grid("nonsense")
    with pytest.raises(StorageError, match="Cannot read settings file"):
        read_grid(Path("nonsense.toml"))
