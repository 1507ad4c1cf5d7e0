"""Records of files: what is written is read again, early releases stay readable, and errors name file and value."""

import dataclasses
import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cs_keras.errors import DataError
from cs_keras.run_files.evaluation import MeanRecord
from cs_keras.run_files.predictions import Predictions, read_predictions, write_predictions
from cs_keras.run_files.queries import Queries, read_queries, write_queries
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


def test_queries_with_too_few_candidates_and_sums_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = {"filtered@2": np.arange(4), "filtered@5": np.array([1, 3]), "ndcg@5": np.array([0, 7])}
    values = {
        "filtered@2": {"model": np.array([0, 0.5, 1, 1])},
        "filtered@5": {"model": np.array([0.2, 1.0])},
        "ndcg@5": {"model": np.array([0.25, 0.75])},
    }
    numbers = np.array([2, 0, 0, 1])
    artists = {"filtered@2": numbers, "filtered@5": numbers[[1, 3]]}
    sums = {"filtered@5": {"model": np.array([[0.2, 0.0, 0.4], [1.0, 1.2, 0.0]])}}
    clusters = {"filtered@5": (np.array([1, 1]), np.array([3, 1]))}
    written = Queries(rows, values, artists, sums, clusters)
    write_queries(tmp_path, written)
    rank = {"ndcg@5": MeanRecord(0.5, 0, 1)}
    overlap = {"filtered": [SimpleNamespace(k=k, available=True) for k in (2, 5)]}
    evaluation = SimpleNamespace(
        overlap=overlap, references={}, ranking=SimpleNamespace(predictors={"model": rank}), schema_version=4
    )
    found = read_queries(tmp_path, evaluation)  # type: ignore[arg-type]
    assert found is not None
    for name in ("rows", "values", "artists", "sums", "clusters"):
        np.testing.assert_equal(getattr(found, name), getattr(written, name))
