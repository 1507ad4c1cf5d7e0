"""Evaluation of predictions against reference factors: a run's ``evaluation.json`` and ``queries.npz``."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.data.dataset import Dataset
from cs_keras.evaluation.confidence import measure_confidence
from cs_keras.evaluation.losses import measure_regression_losses
from cs_keras.evaluation.reference_predictors import mean_predictor
from cs_keras.factors.store import Factors
from cs_keras.run_files.evaluation import (
    MODEL,
    SINGLE_RANKING,
    Evaluation,
    FactorsRecord,
    RegressionLosses,
    SplitLosses,
    TrackCounts,
    UnusedTracks,
)
from cs_keras.run_files.names import EVALUATION_FILE
from cs_keras.run_files.predictions import read_predictions
from cs_keras.run_files.queries import write_queries
from cs_keras.run_files.training import Training
from pipelines.evaluation.evaluation_record import (
    make_among_all,
    make_beyond,
    make_groups,
    make_ladders,
    make_queries,
    make_ranking,
)
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Predictor, Rows, Scores

Matrix = npt.NDArray[np.float32]


def evaluate(
    key: str,
    evaluator: Evaluator,
    dataset: Dataset,
    factors: Factors,
    folder: Path,
    scores: Scores | None = None,
) -> Evaluation:
    """Evaluate the predictions of a run folder, unless that is done, and write the results there.

    `key` is the model key of the run. With `scores` (see `Predictor`), tracks are ranked by them, and the
    predictions decide the losses only. StorageError is raised when the predictions cannot be read, or lack a track.
    """
    if (folder / EVALUATION_FILE).exists():
        return Evaluation.read(folder)
    rows = evaluator.reference.rows
    predictions, ids = read_predictions(folder), dataset.tracks.ids
    validation, test = (predictions.select(ids[rows[split]]) for split in ("validation", "test"))
    del predictions
    losses = SplitLosses(
        split_losses(factors, rows["validation"], validation.scaled_factors),
        split_losses(factors, rows["test"], test.scaled_factors),
    )
    of_mean = SplitLosses(*(mean_losses(factors, rows["train"], rows[one]) for one in ("validation", "test")))
    items = factors.scaler.inverse(test.scaled_factors)
    predictor = Predictor(items, factors.playlist_factors, test.positions, scores)
    artists, confidence = evaluator.reference.artists, None
    if test.scaled_std is not None:
        targets = factors.scaler.transform(factors.item_factors[rows["test"]])
        own = test.scaled_factors, test.scaled_std
        confidence = measure_confidence(targets, *own, artists, test.track_ids)
    del validation, test, items
    model = evaluator.evaluate(predictor, key)
    single = evaluator.evaluate_single_ranking(predictor)
    hubness = evaluator.reduce_hubness(predictor, model)
    del predictor  # before the reference predictors, which may be as large
    references = evaluator.reference_predictors
    if single is not None:
        references = {**references, SINGLE_RANKING: single}
    evaluations = {MODEL: model, **references}
    result = Evaluation(
        model=key,
        seed=evaluator.seed,
        training=dataclasses.replace(Training.read(folder), history=()),
        n_tracks=TrackCounts(**{split: len(own) for split, own in rows.items()}),
        n_playlists=len(factors.playlist_ids),
        left_out=UnusedTracks(
            recordings=tuple(dataclasses.asdict(entry) for entry in dataset.info.left_out),
            n_tracks_without_interactions=int((~factors.has_factors).sum()),
            n_unknown_tracks=factors.quality.get("n_unknown_tracks", 0),
        ),
        factors=FactorsRecord(
            name=factors.name,
            n_factors=factors.item_factors.shape[1],
            protocol=factors.protocol,
            scaling=factors.scaler.kind,
            config=None if factors.config is None else dict(factors.config),
            quality=dict(factors.quality),
        ),
        losses=losses,
        mean_predictor=of_mean,
        metric=evaluator.settings.metric,
        n_known_artists=int(np.count_nonzero(evaluator.reference.artist_trained)),
        n_unknown_artists=int(np.count_nonzero(artists < 0)),
        n_test_artists=len(np.unique(artists[artists >= 0])),
        overlap=model.overlap,
        references={name: one.overlap for name, one in references.items() if one.overlap},
        ladder=make_ladders(evaluator, evaluations),
        ranking=make_ranking(evaluator, evaluations),
        beyond_accuracy=make_beyond(evaluator, evaluations),
        groups=make_groups(evaluator, evaluations),
        among_all=make_among_all(evaluator, evaluations),
        hubness=hubness,
        confidence=confidence,
    )
    write_queries(folder, make_queries(evaluator, evaluations))
    result.write(folder)  # last: its presence says that the evaluation is complete
    return result


def split_losses(factors: Factors, rows: Rows, scaled: Matrix) -> RegressionLosses:
    """Return losses of predicted scaled factors of some tracks.

    The MSE is of scaled factors, as in training, the others of factors scaled back; R² is None where the scaling
    took the norm away and cannot bring it back.
    """
    scaler, reference = factors.scaler, factors.item_factors[rows]
    losses = measure_regression_losses(reference, scaler.inverse(scaled))
    mse = measure_regression_losses(scaler.transform(reference), scaled).mse
    return dataclasses.replace(losses, mse=mse, r2=None if scaler.kind == "unit_norm" else losses.r2)


def mean_losses(factors: Factors, train: Rows, rows: Rows) -> RegressionLosses:
    """Return the losses of predicting the train tracks' mean scaled factors for every track of `rows`."""
    mean = factors.scaler.transform(factors.item_factors[train]).mean(axis=0)
    return split_losses(factors, rows, mean_predictor(mean, len(rows)))
