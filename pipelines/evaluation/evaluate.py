"""Predictions against reference factors: a run's ``evaluation.json`` and ``queries.npz``."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import Tracks
from cs_keras.errors import StorageError
from cs_keras.evaluation.losses import measure_regression_losses
from cs_keras.evaluation.reference_predictors import mean_predictor
from cs_keras.factors.store import Factors
from cs_keras.runs import read_json, read_npz, write_json, write_npz
from pipelines.evaluation.evaluation_json import (
    MODEL,
    beyond_values,
    group_values,
    ladder_values,
    overlap_values,
    query_values,
    ranking_values,
)
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Predictor, Rows, Scores
from pipelines.training.run_config import EvaluationConfig
from pipelines.training.train import PREDICTIONS_FILE, TRAINING_FILE

EVALUATION_FILE = "evaluation.json"
QUERIES_FILE = "queries.npz"
SCHEMA_VERSION = 2  # 1 had no more than losses and overlaps
Matrix = npt.NDArray[np.float32]


class Judged(Protocol):
    """What of a run's settings its judgement depends on; see `pipelines.training.run_config.RunConfig`."""

    @property
    def key(self) -> str:
        """What the row is called."""

    @property
    def evaluation(self) -> EvaluationConfig:
        """How predictions are judged."""

    @property
    def seed(self) -> int:
        """Of permutations and bootstrap."""


def evaluate(
    run: Judged,
    judge: Evaluator,
    dataset: Dataset,
    factors: Factors,
    folder: Path,
    scores: Scores | None = None,
) -> dict[str, Any]:
    """Evaluate the predictions of a run folder, unless that is done, and return what ``evaluation.json`` holds.

    With `scores`, rankings are by these, and losses alone by the predictions; see `Predictor`.

    Raises
    ------
    StorageError
        When the predictions cannot be read.
    DataError
        When they are not of this dataset's tracks.
    """
    path = folder / EVALUATION_FILE
    if path.exists():
        done: dict[str, Any] = read_json(path)
        return done
    rows = judge.reference.rows
    judged_rows = {split: rows[split] for split in ("validation", "test")}
    scaled, of_space = read_predictions(folder / PREDICTIONS_FILE, dataset.tracks, judged_rows)
    places = None if of_space is None else of_space["test"]
    losses = {split: split_losses(factors, rows[split], values) for split, values in scaled.items()}
    of_mean = {split: mean_losses(factors, rows["train"], rows[split]) for split in scaled}
    # Nothing holds the predictions on while the reference predictors, which may be as large, are evaluated.
    judged = judge.judge(
        Predictor(factors.scaler.inverse(scaled.pop("test")), factors.playlist_factors, places, scores),
        run.key,
    )
    found = {MODEL: judged, **judge.reference_predictors}
    training = read_json(folder / TRAINING_FILE)
    result = {
        "schema_version": SCHEMA_VERSION,
        "model": run.key,
        "seed": run.seed,
        "training": {name: value for name, value in training.items() if name != "history"},
        "n_tracks": {split: len(own) for split, own in rows.items()},
        "n_playlists": len(factors.playlist_ids),
        "left_out": _left_out(dataset, factors),
        "factors": _describe(factors),
        "losses": losses,
        "mean_predictor": of_mean,
        "metric": run.evaluation.metric,
        "n_known_artists": int(np.count_nonzero(judge.reference.artist_known)),
        "overlap": overlap_values(found[MODEL]),
        "references": {
            name: overlap_values(one) for name, one in judge.reference_predictors.items() if one.overlap
        },
        "ladder": ladder_values(judge, found),
        "ranking": ranking_values(judge, found),
        "beyond_accuracy": beyond_values(judge, found),
        "groups": group_values(judge, found),
    }
    write_npz(folder / QUERIES_FILE, **query_values(judge, found))
    write_json(path, result)  # last: its presence says that all is judged
    return result


def split_losses(factors: Factors, rows: Rows, scaled: Matrix) -> dict[str, Any]:
    """Return losses of predicted scaled factors of some tracks.

    The MSE is of scaled factors, as in training, the others of factors scaled back; where the scaling took the
    norm away and cannot bring it back, R² is not available.
    """
    scaler, reference = factors.scaler, factors.item_factors[rows]
    losses = dataclasses.asdict(measure_regression_losses(reference, scaler.inverse(scaled)))
    losses["mse"] = measure_regression_losses(scaler.transform(reference), scaled).mse
    return losses if scaler.kind != "unit_norm" else {**losses, "r2": None}


def mean_losses(factors: Factors, train: Rows, rows: Rows) -> dict[str, Any]:
    """Return the losses of predicting the train tracks' mean scaled factors for every track of `rows`."""
    mean = factors.scaler.transform(factors.item_factors[train]).mean(axis=0)
    return split_losses(factors, rows, mean_predictor(mean, len(rows)))


def _left_out(dataset: Dataset, factors: Factors) -> dict[str, Any]:
    return {
        "recordings": [dataclasses.asdict(entry) for entry in dataset.info.left_out],
        "n_tracks_without_interactions": int((~factors.has_factors).sum()),
        "n_unknown_tracks": factors.quality.get("n_unknown_tracks", 0),
    }


def _describe(factors: Factors) -> dict[str, Any]:
    return {
        "name": factors.name,
        "n_factors": factors.item_factors.shape[1],
        "protocol": factors.protocol,
        "scaling": factors.scaler.kind,
        "config": factors.config and dict(factors.config),
        "quality": dict(factors.quality),
    }


def read_predictions(
    path: Path, tracks: Tracks, rows: Mapping[str, Rows]
) -> tuple[dict[str, Matrix], dict[str, Matrix] | None]:
    """Return scaled predictions of tracks, and places where a run has them, both as `rows` names and orders them.

    Raises
    ------
    StorageError
        When they cannot be read, or one of `rows` is not among them.
    """
    stored = read_npz(path, "track_ids", "scaled_factors", optional=("places",))
    row_of = {track_id: row for row, track_id in enumerate(stored["track_ids"].tolist())}
    ids = tracks.ids
    try:
        inside = {name: [row_of[ids[row]] for row in own.tolist()] for name, own in rows.items()}
    except KeyError as error:
        raise StorageError(f"{path} lacks a prediction of track {error}; delete the run folder.") from error
    scaled, places = (
        {name: stored[values][own] for name, own in inside.items()} if values in stored else None
        for values in ("scaled_factors", "places")
    )
    return scaled or {}, places
