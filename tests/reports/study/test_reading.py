import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cs_keras.errors import DataError, StorageError
from cs_keras.run_files.study import is_study
from cs_keras.runs import write_npz
from reports.study.reading import read_queries, read_study
from tests.reports.study.study_folders import SPACE, write_failed, write_settings, write_study, write_trial

RATE = {"training.learning_rate": 1e-3}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """One trial that completed."""
    write_settings(tmp_path)
    write_trial(tmp_path, 7, [[0.5, 0.25]], parameters=RATE)
    return tmp_path


def test_trials_are_ranked_by_the_direction(tmp_path: Path) -> None:
    for direction, best in (("max", "0002"), ("min", "0000")):
        folder = tmp_path / direction
        write_settings(folder, direction=direction)
        for number, score in enumerate((0.1, 0.2, 0.3)):
            write_trial(folder, number, [[score, score]])
        write_failed(folder, 3, "memory", "out of memory", {})
        (folder / "trials" / "0004").mkdir()
        found = read_study(folder)
        assert found.ranked[0].trial == best and len(found.ranked) == 3
        assert [trial.cause for trial in found.failed] == ["memory"] and found.n_open == 1


def test_parameters_are_those_of_keras_tuner(study: Path) -> None:
    found = {parameter.name: parameter for parameter in read_study(study).parameters}
    assert found["front_end.n_mels"].levels == (40, 64, 96, 128)
    assert found["model.batch_norm"].levels == (False, True) and found["model.time_pooling"].levels
    assert found["training.learning_rate"].log and not found["model.dropout"].log


def test_an_inactive_parameter_counts_as_a_value(tmp_path: Path) -> None:
    write_settings(tmp_path)
    write_trial(tmp_path, 0, [[0.5]], parameters=RATE)
    write_trial(tmp_path, 1, [[0.5]], parameters={**RATE, "model.dropout": 0.1})
    assert [parameter.name for parameter in read_study(tmp_path).varied] == ["model.dropout"]


def test_a_folder_without_study_is_none(tmp_path: Path) -> None:
    assert not is_study(tmp_path)
    with pytest.raises(StorageError, match=r"Cannot read .*study\.json: there is no such file"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "expected schema_version 1. Received: 2"),
        ({"direction": "up"}, "direction must be one of min, max. Received: 'up'"),
        ({"model": 3}, "model must be text. Received: 3"),
        ({"space": {}}, "space must be a list"),
        ({"space": [{"class_name": "Choice"}]}, "space.0 must be a Choice, .* Received: {'class_name'"),
        (
            {"space": [{"class_name": "Spin", "config": {"name": "x"}}]},
            "space.0 must be a Choice, .* Received: .*'Spin'",
        ),
    ],
)
def test_bad_settings_are_named(study: Path, changes: dict[str, Any], message: str) -> None:
    edit(study / "study.json", **changes)
    with pytest.raises(DataError, match=message):
        read_study(study)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_garbage_is_named(study: Path, text: str) -> None:
    (study / "study.json").write_text(text)
    with pytest.raises((StorageError, DataError), match=r"study\.json"):
        read_study(study)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": None}, "expected schema_version 1. Received: None"),
        ({"trial": "0008"}, "trial must be 0007, as its folder is called. Received: '0008'"),
        ({"status": "lost"}, "status must be completed or failed"),
        ({"score": None}, "lacks score, which a completed trial must have"),
        ({"executions": []}, "lacks executions, which a completed trial must have"),
        ({"status": "failed"}, "lacks reason, which a failed trial must have"),
        ({"score": float("nan")}, "score must be a finite number"),
        ({"parameters": {"model.depth": 3}}, "parameters must be those that study.json lists. Received: 'model"),
        ({"parameters": {"front_end.n_mels": 50}}, "front_end.n_mels must be one of 40, 64, 96, 128. Received: 50"),
        ({"parameters": {"model.dropout": "much"}}, "model.dropout must be a finite number. Received: 'much'"),
        ({"parameters": {"model.dropout": [0.1]}}, "must be text, a number, true or false"),
        ({"parameters": {"training.learning_rate": 0}}, "must be a number above 0. Received: 0"),
    ],
)  # fmt: skip
def test_bad_trials_are_left_out_and_named(study: Path, changes: dict[str, Any], message: str) -> None:
    path = study / "trials" / "0007" / "trial.json"
    edit(path, **changes)
    with pytest.raises(DataError, match=message):  # the only trial
        read_study(study)
    write_trial(study, 8, [[0.5, 0.25]], parameters=RATE)
    found = read_study(study)
    assert [trial.trial for trial in found.trials] == ["0008"]
    assert len(found.left_out) == 1 and str(path) in found.left_out[0]


def test_no_ended_trial_is_one_sentence(tmp_path: Path) -> None:
    write_settings(tmp_path)
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    with pytest.raises(DataError, match="contains no finished trial: .* Received: 1 unfinished trials"):
        read_study(tmp_path)


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.zeros(0), np.array(["a"]), np.array([np.inf, 1.0])])
def test_bad_objectives_are_named(study: Path, values: Any) -> None:
    path = study / "trials" / "0007" / "execution-0" / "validation.npz"
    write_npz(path, per_query=values)
    with pytest.raises(DataError, match="per_query must have one number or NaN per query"):
        read_queries(study, read_study(study).trials[0])


def test_five_digits_come_after_four(tmp_path: Path) -> None:
    write_settings(tmp_path, SPACE)
    for number in (10_000, 9_999):
        write_trial(tmp_path, number, [[0.5]])
    assert [trial.trial for trial in read_study(tmp_path).trials] == ["9999", "10000"]


def test_a_whole_study_is_read(tmp_path: Path) -> None:
    found = read_study(write_study(tmp_path, 14, executions=2))
    assert (len(found.ranked), len(found.failed)) == (12, 2)
    assert found.ranked[0].seconds == found.ranked[0].executions[0].seconds
