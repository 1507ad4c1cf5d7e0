"""Ensembles: several finished runs as one predictor, in a run folder of its own."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.config import check_choice
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.rank_fusion import Score, dot_scores, fuse_ranks, similarity_scores
from cs_keras.factors.store import Factors
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.evaluation import read_evaluation
from cs_keras.run_files.predictions import Predictions, read_predictions, write_predictions
from cs_keras.run_files.settings import EvaluationConfig, RunSettings, read_settings, require_finished
from cs_keras.run_files.training import Training, read_training, write_training
from cs_keras.runs import (
    digest,
    finish_run,
    is_done,
    locked,
    open_run,
)
from cs_keras.storage.location import Location
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Kind, Reference, Scores, make_reference
from pipelines.factors.fit import open_factors
from pipelines.factors.interactions import open_interactions
from pipelines.training.run_artifacts import write_signature

WAYS = ("mean", "ranks")


@dataclasses.dataclass(frozen=True)
class EnsembleConfig:
    """Settings of an ensemble.

    Attributes
    ----------
    key
        Name of its row in tables.
    by
        ``mean`` of scaled predicted factors, or ``ranks``: reciprocal rank fusion of the members' lists.
    members
        Names of run folders, sorted.
    evaluation, seed
        Evaluation settings that all members share, and the lowest of their seeds.
    """

    key: str
    by: str
    members: tuple[str, ...]
    evaluation: EvaluationConfig
    seed: int


def combine_runs(
    runs: Sequence[Path],
    dataset_folder: Location,
    out: Path,
    by: str = "mean",
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
) -> Path:
    """Evaluate several runs as one predictor and return its run folder, unless that is done.

    Parameters
    ----------
    runs
        Finished run folders, at least two, with the same data and evaluation settings.
    dataset_folder
        Dataset that they were trained on.
    out
        Folder for the run folder.
    by
        One of `WAYS`.
    progress, reading
        Receives the progress; settings for reading a dataset behind a URL.

    Raises
    ------
    ConfigError
        When `by` is unknown, or the runs are fewer than two, the same, or differ in data or evaluation settings.
    DataError, StorageError
        When runs or dataset cannot be read or do not fit.
    """
    progress = progress or SilentProgress()
    check_choice("by", by, WAYS)
    members = {run.resolve().name: run for run in runs}
    for run in runs:
        require_finished(run)
    settings = [read_settings(run) for run in members.values()]
    _require_alike(runs, members, settings)
    dataset = Dataset(dataset_folder, reading)
    name = read_evaluation(runs[0]).factors.name
    factors = open_factors(dataset_folder, dataset.tracks, name)
    data_digest = digest([dataset.digest, factors.digest])
    if data_digest != settings[0].data_digest:
        raise DataError(f"{runs[0]} was trained on other data than {dataset_folder} with factors {name!r}.")
    ensemble = EnsembleConfig(
        f"ensemble-{by}",
        by,
        tuple(sorted(members)),
        settings[0].evaluation,
        min(one.seed or 0 for one in settings),
    )
    folder = open_run(out, ensemble.key, config.to_dict(ensemble), data_digest)
    if is_done(folder):
        progress.log(f"{ensemble.key}: done before, in {folder}")
        return folder
    reference = make_reference(dataset.tracks, factors, open_interactions(dataset_folder, factors))
    with locked(folder):
        write_signature(folder, dataset.info, factors.scaler)
        scores = _write_predictions(ensemble, list(members.values()), dataset, factors, reference, folder)
        progress.log(f"{ensemble.key}: evaluating {len(reference.rows['test'])} test tracks")
        evaluator = Evaluator(reference, ensemble.evaluation, ensemble.seed, progress)
        evaluate(ensemble.key, evaluator, dataset, factors, folder, scores)
    done = finish_run(folder)
    progress.log(f"{ensemble.key}: done, in {done}")
    return done


def _require_alike(runs: Sequence[Path], members: dict[str, Path], settings: Sequence[RunSettings]) -> None:
    if len(members) < 2 or len(members) < len(runs):
        raise ConfigError(
            f"An ensemble needs at least two different runs. Received: {', '.join(map(str, runs))}."
        )
    for run, one in zip(members.values(), settings, strict=True):
        if one.data_digest != settings[0].data_digest:
            raise ConfigError(
                f"Runs of an ensemble must be trained on the same data, and {runs[0]} and {run} are not."
            )
        if one.evaluation != settings[0].evaluation:
            raise ConfigError(
                f"Runs of an ensemble must have the same evaluation settings, and {runs[0]} and {run} do not."
            )


def _write_predictions(
    ensemble: EnsembleConfig,
    runs: Sequence[Path],
    dataset: Dataset,
    factors: Factors,
    reference: Reference,
    folder: Path,
) -> Scores | None:
    """Write the mean of the members' predictions, and return the fused scores if the ensemble is by ranks."""
    unseen = np.flatnonzero(~dataset.tracks.in_split("train"))
    ids = dataset.tracks.ids
    predictions = [read_predictions(run) for run in runs]
    each = [one.select(ids[unseen]).scaled_factors for one in predictions]
    scaled = np.mean(each, axis=0, dtype=np.float64).astype(np.float32)
    write_predictions(folder, Predictions(ids[unseen], factors.scaler.inverse(scaled), scaled))
    write_training(folder, _sum_training(ensemble, runs))
    if ensemble.by == "mean":
        return None
    members = [one.select(ids[reference.rows["test"]]) for one in predictions]
    return _fuse(members, factors, ensemble.evaluation.metric)


def _fuse(members: Sequence[Predictions], factors: Factors, metric: Any) -> Scores:
    """Return the fused scores of the members' predictions of test tracks, by positions where there are any."""
    items = [factors.scaler.inverse(one.scaled_factors) for one in members]
    by_kind: dict[Kind, Callable[[], Score]] = {
        "similarity": lambda: fuse_ranks(
            [
                similarity_scores(own, metric)
                if one.positions is None
                else similarity_scores(one.positions, "euclidean")
                for own, one in zip(items, members, strict=True)
            ]
        ),
        "dot": lambda: fuse_ranks([dot_scores(factors.playlist_factors, own) for own in items]),
    }
    score_of = functools.cache(lambda kind: by_kind[kind]())
    return lambda kind, rows: np.asarray(score_of(kind)(rows))


def _sum_training(ensemble: EnsembleConfig, runs: Sequence[Path]) -> Training:
    """Return the sum of the members' training: the ensemble itself is not trained."""
    trained = [read_training(run) for run in runs]
    how = (
        "the mean of scaled predicted factors"
        if ensemble.by == "mean"
        else "reciprocal rank fusion of lists; its losses are those of the mean of scaled predicted factors"
    )
    return Training(
        parameters=sum(one.parameters for one in trained),
        n_train_tracks=max(one.n_train_tracks for one in trained),
        epochs=0,
        best_epoch=0,
        seconds=sum(one.seconds for one in trained),
        notes=(f"it combines {', '.join(ensemble.members)}: {how}",),
    )
