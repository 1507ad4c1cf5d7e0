"""Cross-validation: folds rotate, and every track is evaluated by the model that was not trained on it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras import config
from cs_keras.config import check_choice
from cs_keras.data.attributes.table import AttributeTable
from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import N_FOLDS
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import Tracks, dataset_digest
from cs_keras.data.splits import Split, rotate_folds, split_by_folds, write_split
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.interactions import Interactions
from cs_keras.factors.store import Factors
from cs_keras.messages import count
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.names import CONFIG_FILE, MODEL_FILE
from cs_keras.run_files.predictions import Predictions, read_predictions, write_predictions
from cs_keras.run_files.queries import read_queries, write_queries
from cs_keras.run_files.settings import CROSS_VALIDATION, ROTATIONS_FOLDER, digest_pooled
from cs_keras.run_files.training import Training
from cs_keras.runs import digest, finish_run, is_done, locked, open_run, read_json, verify_run
from cs_keras.storage.location import Location
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.pooled import Rotation, count_tracks, mean_losses, pool_rotations
from pipelines.evaluation.reference import Reference, make_reference
from pipelines.factors.open import open_dataset, open_interactions
from pipelines.factors.rotation_factors import make_rotation_factors
from pipelines.run_baselines import Outcome, run_baselines
from pipelines.training.run_artifacts import write_signature
from pipelines.training.run_config import RunConfig, resolve

ROTATIONS = (2, 5, 10)
ROTATION_SETTINGS = ("split_name", "data_digest")  # settings of a run that differ between rotations


def cross_validate(
    dataset_folder: Location,
    models: Sequence[str],
    runs: Path,
    changes: Mapping[str, Any],
    factors_name: str | None = None,
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
    tables: Mapping[str, AttributeTable] | None = None,
    n_rotations: int = 5,
) -> Outcome:
    """Train and evaluate `models` once for each rotation of the folds, and pool the results of all test tracks.

    Rotations are named splits of the dataset, ``cv5-1`` to ``cv5-5``, with run folders in ``runs/rotations``. A
    pooled run is a run folder in `runs`. Under the strict protocol each rotation has factors of its own, fitted
    without its test tracks and stored in the dataset as ``NAME-cv5-1`` to ``NAME-cv5-5``; lists are within
    rotations, and their queries are pooled. Other factors are one space, in which all tracks are evaluated at once.
    Finished fits and runs are not repeated, unfinished runs are resumed. Arguments and errors are otherwise those
    of `pipelines.run_baselines.run_baselines`.

    Parameters
    ----------
    n_rotations
        2, 5 or 10. With five, shares are those of the folds: two test, one validates.

    Raises
    ------
    ConfigError
        When `n_rotations` is another number, or factors are of a named split; or, under the strict protocol, when
        factors cannot be fitted for the rotations (see `pipelines.factors.rotation_factors`), or artists have
        tracks in several of them.
    """
    progress = progress or SilentProgress()
    check_choice("rotations", n_rotations, ROTATIONS)
    dataset, factors = open_dataset(dataset_folder, factors_name, reading=reading)
    _require_rotatable(dataset.tracks, factors, n_rotations)
    configs = [resolve(key, changes, tables or ()) for key in models]
    if any(run.evaluation.candidates == "all" for run in configs):
        raise ConfigError(
            "Cross-validation has lists of new tracks only: expected candidates new. Received: all."
        )
    is_strict = factors.protocol == "strict"
    finished: dict[str, list[Path]] = {key: [] for key in models}
    failed: dict[str, str] = {}
    left_out: dict[str, str] = {}
    splits = [_rotation(dataset.tracks, rotation, n_rotations) for rotation in range(n_rotations)]
    for split in splits:
        write_split(dataset_folder, split, dataset.tracks.ids.tolist())
    for rotation, split in enumerate(splits, 1):
        if len(failed | left_out) == len(finished):
            break
        progress.log(f"rotation {rotation} of {n_rotations}: split {split.name}")
        name = factors.name
        if is_strict:
            name = make_rotation_factors(dataset_folder, factors, split.name, progress)
        outcome = run_baselines(
            dataset_folder,
            [key for key in models if key not in failed | left_out],
            runs / ROTATIONS_FOLDER,
            changes,
            name,
            progress,
            reading,
            tables,
            split.name,
        )
        failed |= {key: f"{split.name}: {reason}" for key, reason in outcome.failed.items()}
        left_out |= {key: f"{split.name}: {reason}" for key, reason in outcome.left_out.items()}
        for folder in outcome.runs:
            verify_run(folder, skip=[MODEL_FILE])
            finished[Evaluation.read(folder).model].append(folder)
    reference = None
    if not is_strict:
        reference = _pool_reference(dataset.tracks, factors, open_interactions(dataset_folder, factors))
    pooled = [
        _pool(run, finished[run.key], reference, (dataset, factors), runs, progress)
        for run in configs
        if run.key not in failed | left_out
    ]
    return Outcome(tuple(pooled), failed, left_out)


def _require_rotatable(tracks: Tracks, factors: Factors, n_rotations: int) -> None:
    if factors.split_name is not None:
        raise ConfigError(
            f"Cross-validation rotates the stored folds: expected factors that were fitted for them. Received: "
            f"{factors.name!r}, of split {factors.split_name!r}."
        )
    several = _artists_in_several(tracks.artist_numbers, tracks.numbers("fold") * n_rotations // N_FOLDS)
    if factors.protocol == "strict" and len(several):
        raise ConfigError(
            f"{len(several)} artists have test tracks in several rotations, so intervals of the pooled "
            "queries would be too narrow: expected folds by artist (`cs-keras ingest --folds artist`), or factors "
            "of the thesis protocol, whose tracks are all evaluated at once."
        )


def _artists_in_several(artists: npt.NDArray[np.int64], groups: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the known artists with tracks in several groups."""
    pairs = np.unique(np.stack([artists, groups])[:, artists >= 0], axis=1)
    distinct, n_groups = np.unique(pairs[0], return_counts=True)
    return np.asarray(distinct[n_groups > 1])


def _rotation(tracks: Tracks, rotation: int, n_rotations: int) -> Split:
    parts = split_by_folds(tracks.numbers("fold"), *rotate_folds(rotation, n_rotations))
    return Split(f"cv{n_rotations}-{rotation + 1}", parts)


def _pool_reference(tracks: Tracks, factors: Factors, interactions: Interactions | None) -> Reference:
    """Return a reference of which all tracks are test tracks, each predicted by a model trained on others.

    An artist whose tracks are in several folds is known to the models. There are no artist means: they would
    be other ones in each rotation.
    """
    everything = Tracks(tracks.table, Split("", np.full(len(tracks), "test", "<U10")))
    reference = make_reference(everything, factors, interactions)
    rows, folds = reference.rows["test"], tracks.numbers("fold")
    return dataclasses.replace(
        reference,
        rows=dict.fromkeys(("train", "validation", "test"), rows),
        train_artists=_artists_in_several(reference.artists, folds[rows]),
    )


def _pool(
    run: RunConfig,
    members: Sequence[Path],
    reference: Reference | None,
    data: tuple[Dataset, Factors],
    runs: Path,
    progress: Progress,
) -> Path:
    """Return the run folder of the pooled results of `members`, one run for each rotation.

    With a reference, all tracks are evaluated at once; without one, the results of the rotations are pooled.
    """
    (dataset, factors), key = data, run.key
    stored = [read_json(member / CONFIG_FILE) for member in members]
    settings = {name: value for name, value in stored[0].items() if name not in ROTATION_SETTINGS}
    pooled = {**settings, CROSS_VALIDATION: len(members), "members": [member.name for member in members]}
    # Not the digest of any one split: pooled runs are compared with each other alone.
    if reference is None:
        of_all = digest(["cross-validation", *(one["data_digest"] for one in stored)])
    else:
        of_all = digest_pooled(dataset_digest(dataset.info, dataset.tracks), factors.digest, len(members))
    evaluation_settings = {"evaluation": config.to_dict(run.evaluation)}
    folder = open_run(runs, key, {**pooled, **evaluation_settings}, of_all)
    if is_done(folder):
        verify_run(folder, skip=[MODEL_FILE])
        progress.log(f"{key}: pooled before, in {folder}")
        return folder
    with locked(folder):
        if reference is None:
            _pool_results(members, (dataset, factors), run, folder)
        else:
            write_signature(folder, dataset.info, factors.scaler)
            _sum_training(members, "similarity is by predicted factors").write(folder)
            write_predictions(folder, _pool_predictions(members, dataset.tracks, factors))
            progress.log(
                f"{key}: evaluating {count(len(reference.rows['test']), 'track')}, each predicted out of fold"
            )
            evaluator = Evaluator(reference, run.evaluation, run.seed, progress)
            at_once = evaluate(key, evaluator, dataset, factors, folder)
            _with_rotations(at_once, [Evaluation.read(member) for member in members]).write(folder)
    done = finish_run(folder)
    progress.log(f"{key}: pooled, in {done}")
    return done


def _pool_results(
    members: Sequence[Path], data: tuple[Dataset, Factors], run: RunConfig, folder: Path
) -> None:
    """Write the pooled results of rotations with spaces of their own."""
    (dataset, factors), rotations = data, []
    for member in members:
        evaluation = Evaluation.read(member)
        queries = read_queries(member, evaluation)
        if queries is None:
            raise DataError(
                f"{member} has no results of single queries, as runs of an early release; remove it."
            )
        rotations.append(Rotation(evaluation, queries))
    pooled, queries = pool_rotations(rotations, run.evaluation.n_permutations)
    quality = {name: value for name, value in factors.quality.items() if name != "ceiling"}  # of one rotation
    training = _sum_training(members, "lists hold tracks of one rotation")
    training.write(folder)
    write_queries(folder, queries)
    dataclasses.replace(
        pooled,
        training=dataclasses.replace(training, history=()),
        factors=dataclasses.replace(pooled.factors, name=factors.name, quality=quality),
        left_out=dataclasses.replace(
            pooled.left_out, n_tracks_without_interactions=len(dataset) - pooled.n_tracks.test
        ),
    ).write(folder)


def _pool_predictions(members: Sequence[Path], tracks: Tracks, factors: Factors) -> Predictions:
    """Return the prediction of each track by the model that tested it, scaled by all factors alike.

    Positions in spaces of the models' own are left out, since each rotation has another space.
    """
    values = np.zeros_like(factors.item_factors)
    for rotation, member in enumerate(members):
        is_test = _rotation(tracks, rotation, len(members)).parts == "test"
        values[is_test] = read_predictions(member).select(tracks.ids[is_test]).factors
    return Predictions(tracks.ids, values, factors.scaler.transform(values))


def _sum_training(members: Sequence[Path], how: str) -> Training:
    trained = [Training.read(member) for member in members]
    return Training(
        parameters=trained[0].parameters,
        n_train_tracks=round(float(np.mean([one.n_train_tracks for one in trained]))),
        epochs=max(one.epochs for one in trained),
        best_epoch=max(one.best_epoch for one in trained),
        seconds=sum(one.seconds for one in trained),
        notes=(
            *trained[0].notes,
            f"{len(members)} models were trained, and each track is predicted by the one that was trained without "
            f"its fold; {how}",
        ),
    )


def _with_rotations(at_once: Evaluation, rotations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation with the mean number of train and validation tracks, and losses over rotations."""
    return dataclasses.replace(
        at_once,
        n_tracks=count_tracks(rotations, at_once.n_tracks.test),
        losses=mean_losses([(one.losses, one.n_tracks) for one in rotations]),
        mean_predictor=mean_losses([(one.mean_predictor, one.n_tracks) for one in rotations]),
    )
