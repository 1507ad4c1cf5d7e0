"""Records of files: what is written is read again, early releases stay readable, and errors name file and value."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from cs_keras.errors import DataError
from cs_keras.run_files.predictions import Predictions, read_predictions, write_predictions
from cs_keras.run_files.records import read_record, write_record
from cs_keras.run_files.settings import read_settings
from cs_keras.run_files.training import EmbeddingTraining, Training
from cs_keras.runs import read_json, write_json

TRAINING = Training(7, n_train_tracks=3, epochs=2, best_epoch=1, seconds=1.5)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    embedding = EmbeddingTraining(0.2, ({"loss": 0.5},), best_epoch=1, seconds=2.0)
    for record in (TRAINING, dataclasses.replace(TRAINING, embedding=embedding, notes=("it collapsed",))):
        record.write(tmp_path)
        assert Training.read(tmp_path) == record


def test_fields_with_a_default_may_be_missing_and_unknown_ones_are_ignored(tmp_path: Path) -> None:
    TRAINING.write(tmp_path)
    path = tmp_path / "training.json"
    needed = {name: value for name, value in read_json(path).items() if value}
    write_json(path, {**needed, "later": 1})
    assert Training.read(tmp_path) == TRAINING


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_written(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_record(tmp_path / "record.json", dataclasses.replace(TRAINING, seconds=value))
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cnn": {"k": [{"n": 1}, {"n": "x"}]}}, "values.cnn.k.1.n must be a whole number. Received: 'x'"),
        ({"bot": {}, "cnn": {"k": [{}]}}, "lacks values.cnn.k.0.n"),
        ({"bot": {"k": []}, "cnn": {"k": 3}}, "values.cnn.k must be a list. Received: 3"),
    ],
)
def test_errors_name_the_keys_of_mappings(content: object, message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"values": content})
    with pytest.raises(DataError) as caught:
        read_record(tmp_path / "record.json", _Outer)
    assert str(tmp_path / "record.json") in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("group", ["model", "model.branch_settings.estimated-attributes.model"])
def test_settings_of_an_earlier_version_are_read_by_their_current_names(group: str, tmp_path: Path) -> None:
    former = {"model.ear".removeprefix("model."): "lstm", "dropout": 0.5}
    settings = functools.reduce(lambda inner, name: {name: inner}, reversed(group.split(".")), former)
    write_json(tmp_path / "config.json", {"data_digest": "d", "evaluation": {}, "seed": 3, **settings})
    assert read_settings(tmp_path).others == (
        (f"{group}.dropout", "0.5"),
        (f"{group}.estimator", "lstm"),
    )


def test_predictions_are_selected_in_the_order_of_tracks(tmp_path: Path) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_predictions(tmp_path, Predictions(np.array(["a", "b", "c"]), rows, -rows, rows[:, :1]))
    chosen = read_predictions(tmp_path).select(np.array(["c", "a"]))
    assert chosen.positions is not None and chosen.positions.tolist() == [[4], [0]]
    assert (
        chosen.factors.tolist() == rows[[2, 0]].tolist() and (chosen.scaled_factors == -chosen.factors).all()
    )


@dataclasses.dataclass(frozen=True)
class _Inner:
    n: int


@dataclasses.dataclass(frozen=True)
class _Outer:
    values: dict[str, dict[str, tuple[_Inner, ...]]]
