"""Predictions against reference factors: a run's ``evaluation.json``."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import Tracks
from cs_keras.errors import DataError, StorageError
from cs_keras.evaluation.losses import regression_losses
from cs_keras.evaluation.overlap import OverlapAtK, evaluate_overlap, not_available, rank_reference
from cs_keras.evaluation.references import mean_predictor, one_ranking_scores, random_predictor
from cs_keras.factors.store import Factors
from cs_keras.runs import read_json, read_npz, write_json
from pipelines.settings import EvaluationConfig, RunConfig
from pipelines.train import PREDICTIONS_FILE, TRAINING_FILE

EVALUATION_FILE = "evaluation.json"
Matrix = npt.NDArray[np.float32]


class Judge:
    """Holds one dataset's reference and judges predictions by it; what all models share is computed once.

    Parameters
    ----------
    tracks, factors
        Track table and its factors.
    settings
        List lengths, metric, permutations.
    seed
        Of permutations, bootstrap and the random predictor.

    Raises
    ------
    DataError
        When no test track has factors.
    """

    def __init__(self, tracks: Tracks, factors: Factors, settings: EvaluationConfig, seed: int) -> None:
        self._tracks, self._factors, self._settings, self._seed = tracks, factors, settings, seed
        self.rows = {
            split: np.flatnonzero(tracks.in_split(split) & factors.has_factors)
            for split in ("train", "validation", "test")
        }
        if not len(self.rows["test"]):
            raise DataError("No test track has listening, so there is no reference to judge predictions by.")
        self.reference: Matrix = factors.item_factors[self.rows["test"]]

    def overlaps(self, predicted: npt.NDArray[Any]) -> dict[str, list[dict[str, Any]]]:
        """Return both overlaps of predicted test factors, or of one score a track (dot product only)."""
        overlaps = {}
        if predicted.ndim == 2:
            overlaps["similarity"] = self._overlap(predicted, None)
        if len(self._factors.playlist_factors):
            overlaps["dot"] = self._overlap(predicted, self._factors.playlist_factors)
        return {kind: [dataclasses.asdict(row) for row in rows] for kind, rows in overlaps.items()}

    @functools.cached_property
    def references(self) -> dict[str, Any]:
        """Rows that every table holds beside the models: a random predictor, and one ranking for all playlists."""
        rows = {"random": self.overlaps(random_predictor(self.reference, self._seed))}
        if len(self._factors.playlist_factors):
            rows["one-ranking"] = self.overlaps(
                one_ranking_scores(self.reference, self._factors.playlist_factors)
            )
        return rows

    def losses(self, split: str, scaled: Matrix) -> dict[str, Any]:
        """Return losses of predicted scaled factors of a split's tracks.

        The MSE is of scaled factors, as in training, the others of factors scaled back; where the scaling took the
        norm away and cannot bring it back, R² is not available.
        """
        scaler = self._factors.scaler
        reference = self._factors.item_factors[self.rows[split]]
        losses = dataclasses.asdict(regression_losses(reference, scaler.inverse(scaled)))
        losses["mse"] = regression_losses(scaler.transform(reference), scaled).mse
        return losses if scaler.kind != "unit_norm" else {**losses, "r2": None}

    def mean_losses(self, split: str) -> dict[str, Any]:
        """Return the losses of predicting the train tracks' mean scaled factors for every track of a split."""
        train = self._factors.scaler.transform(self._factors.item_factors[self.rows["train"]])
        return self.losses(split, mean_predictor(train.mean(axis=0), len(self.rows[split])))

    def _overlap(self, predicted: npt.NDArray[Any], playlists: Matrix | None) -> list[OverlapAtK]:
        n, settings = len(self.reference), self._settings
        if playlists is None and n < 2:
            return [not_available(k, n, n - 1) for k in settings.ks]
        return evaluate_overlap(
            self.reference,
            predicted,
            ks=settings.ks,
            metric=settings.metric,  # type: ignore[arg-type]
            n_permutations=settings.n_permutations,
            n_bootstrap=settings.n_bootstrap,
            seed=self._seed,
            playlist_factors=playlists,
            max_queries=settings.max_queries,
            reference_lists=self._similarity_lists if playlists is None else self._dot_lists,
        )

    @functools.cached_property
    def _similarity_lists(self) -> Any:
        return self._rank(None)

    @functools.cached_property
    def _dot_lists(self) -> Any:
        return self._rank(self._factors.playlist_factors)

    def _rank(self, playlists: Matrix | None) -> Any:
        return rank_reference(
            self.reference,
            ks=self._settings.ks,
            metric=self._settings.metric,  # type: ignore[arg-type]
            playlist_factors=playlists,
            max_queries=self._settings.max_queries,
            seed=self._seed,
        )


def evaluate(
    run: RunConfig, judge: Judge, dataset: Dataset, factors: Factors, folder: Path
) -> dict[str, Any]:
    """Judge the predictions of a run folder, unless that is done, and return what ``evaluation.json`` holds.

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
    scaled = _predictions(folder / PREDICTIONS_FILE, dataset.tracks, judge)
    training = read_json(folder / TRAINING_FILE)
    result = {
        "schema_version": 1,
        "model": run.key,
        "seed": run.seed,
        "training": {name: value for name, value in training.items() if name != "history"},
        "n_tracks": {split: len(rows) for split, rows in judge.rows.items()},
        "n_playlists": len(factors.playlist_ids),
        "left_out": {
            "recordings": [dataclasses.asdict(entry) for entry in dataset.info.left_out],
            "n_tracks_without_listening": int((~factors.has_factors).sum()),
            "n_unknown_tracks": factors.quality.get("n_unknown_tracks", 0),
        },
        "factors": {
            "name": factors.name,
            "n_factors": factors.item_factors.shape[1],
            "protocol": factors.protocol,
            "scaling": factors.scaler.kind,
            "config": factors.config and dict(factors.config),
            "quality": dict(factors.quality),
        },
        "losses": {split: judge.losses(split, values) for split, values in scaled.items()},
        "mean_predictor": {split: judge.mean_losses(split) for split in scaled},
        "metric": run.evaluation.metric,
        "overlap": judge.overlaps(factors.scaler.inverse(scaled["test"])),
        "references": judge.references,
    }
    write_json(path, result)
    return result


def _predictions(path: Path, tracks: Tracks, judge: Judge) -> dict[str, Matrix]:
    """Return the scaled predictions of validation and test tracks, in the order of the judge's rows."""
    stored = read_npz(path, "track_ids", "scaled_factors")
    row_of = {track_id: row for row, track_id in enumerate(stored["track_ids"].tolist())}
    ids = tracks.ids
    try:
        return {
            split: stored["scaled_factors"][[row_of[ids[row]] for row in judge.rows[split].tolist()]]
            for split in ("validation", "test")
        }
    except KeyError as error:
        raise StorageError(f"{path} lacks a prediction of track {error}; delete the run folder.") from error
