"""Cross-validation: folds rotate, and every track is evaluated by the model that was not trained on it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.config import check_choice
from cs_keras.data.attributes.table import AttributeTable
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import Tracks, dataset_digest
from cs_keras.data.splits import Split, rotate_folds, split_by_folds, write_split
from cs_keras.errors import ConfigError
from cs_keras.factors.store import Factors
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.evaluation import Evaluation, RegressionLosses, SplitLosses, TrackCounts
from cs_keras.run_files.names import CONFIG_FILE
from cs_keras.run_files.predictions import Predictions, read_predictions, write_predictions
from cs_keras.run_files.training import Training
from cs_keras.runs import digest, finish_run, is_done, locked, open_run, read_json
from cs_keras.storage.location import Location
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Reference, make_reference
from pipelines.factors.open import open_dataset, open_interactions
from pipelines.run_baselines import Outcome, run_baselines
from pipelines.training.run_artifacts import write_signature
from pipelines.training.run_config import resolve

ROTATIONS = (2, 5, 10)
ROTATIONS_FOLDER = "rotations"  # of run folders, which are in no table
OF_ROTATION = ("split_name", "data_digest")  # settings of a run that differ between rotations


def cross_validate(
    dataset_folder: Location,
    models: Sequence[str],
    runs: Path,
    changes: Mapping[str, Any],
    factors_name: str | None = None,
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
    table: AttributeTable | None = None,
    n_rotations: int = 5,
) -> Outcome:
    """Train and evaluate `models` once for each rotation of the folds, and pool the predictions of all test tracks.

    Rotations are named splits of the dataset, ``cv5-1`` to ``cv5-5``, with run folders in ``runs/rotations``. A
    pooled run is a run folder in `runs`, evaluated on all tracks at once in the one space of the factors. Finished
    runs are not repeated, unfinished ones are resumed. Arguments and errors are otherwise those of
    `pipelines.run_baselines.run_baselines`.

    Parameters
    ----------
    n_rotations
        2, 5 or 10. With five, shares are those of the folds: two test, one validates.

    Raises
    ------
    ConfigError
        When `n_rotations` is another number, or factors are of the strict protocol or of a named split.
    """
    progress = progress or SilentProgress()
    check_choice("rotations", n_rotations, ROTATIONS)
    dataset, factors = open_dataset(dataset_folder, factors_name, reading=reading)
    _require_one_space(factors)
    finished: dict[str, list[Path]] = {key: [] for key in models}
    failed: dict[str, str] = {}
    for rotation in range(n_rotations):
        split = _rotation(dataset.tracks, rotation, n_rotations)
        write_split(dataset_folder, split, dataset.tracks.ids.tolist())
        progress.log(f"rotation {rotation + 1} of {n_rotations}: split {split.name}")
        outcome = run_baselines(
            dataset_folder,
            [key for key in models if key not in failed],
            runs / ROTATIONS_FOLDER,
            changes,
            factors.name,
            progress,
            reading,
            table,
            split.name,
        )
        failed |= {key: f"{split.name}: {reason}" for key, reason in outcome.failed.items()}
        for folder in outcome.runs:
            finished[Evaluation.read(folder).model].append(folder)
    reference = _pool_reference(dataset.tracks, factors, open_interactions(dataset_folder, factors))
    pooled = [
        _pool(key, finished[key], reference, (dataset, factors), runs, changes, progress)
        for key in models
        if key not in failed
    ]
    return Outcome(tuple(pooled), failed)


def _require_one_space(factors: Factors) -> None:
    if factors.split_name is not None:
        raise ConfigError(
            f"Cross-validation rotates the stored folds: expected factors that were fitted for them. Received: "
            f"{factors.name!r}, of split {factors.split_name!r}."
        )
    if factors.protocol == "strict":
        raise ConfigError(
            f"Factors {factors.name!r} were fitted without the test tracks of one rotation only; cross-validation "
            "needs factors of the thesis protocol (`cs-keras factors --protocol thesis`) or imported ones."
        )


def _rotation(tracks: Tracks, rotation: int, n_rotations: int) -> Split:
    parts = split_by_folds(tracks.numbers("fold"), *rotate_folds(rotation, n_rotations))
    return Split(f"cv{n_rotations}-{rotation + 1}", parts)


def _pool_reference(tracks: Tracks, factors: Factors, interactions: Any) -> Reference:
    """Return a reference of which all tracks are test tracks, each predicted by a model trained on others.

    An artist whose tracks are in several folds is known to the models. There are no artist means: they would
    be other ones in each rotation.
    """
    everything = Tracks(tracks.table, Split("", np.full(len(tracks), "test", "<U10")))
    reference = make_reference(everything, factors, interactions)
    rows, folds = reference.rows["test"], tracks.numbers("fold")
    pairs = np.unique(np.stack([reference.artists, folds[rows]]), axis=1)
    artists, n_folds = np.unique(pairs[0], return_counts=True)
    return dataclasses.replace(
        reference,
        rows=dict.fromkeys(("train", "validation", "test"), rows),
        train_artists=artists[n_folds > 1],
    )


def _pool(
    key: str,
    members: Sequence[Path],
    reference: Reference,
    data: tuple[Dataset, Factors],
    runs: Path,
    changes: Mapping[str, Any],
    progress: Progress,
) -> Path:
    """Return the run folder of the pooled predictions of `members`, one run for each rotation."""
    (dataset, factors), run = data, resolve(key, changes)
    stored = read_json(members[0] / CONFIG_FILE)
    settings = {name: value for name, value in stored.items() if name not in OF_ROTATION}
    pooled = {**settings, "cross_validation": len(members), "members": [member.name for member in members]}
    # Not the digest of any one split: pooled runs are compared with each other alone.
    of_all = digest(
        [dataset_digest(dataset.info, dataset.tracks), factors.digest, "cross-validation", len(members)]
    )
    folder = open_run(runs, key, {**pooled, "evaluation": config.to_dict(run.evaluation)}, of_all)
    if is_done(folder):
        progress.log(f"{key}: pooled before, in {folder}")
        return folder
    with locked(folder):
        write_signature(folder, dataset.info, factors.scaler)
        _sum_training(members).write(folder)
        write_predictions(folder, _pool_predictions(members, dataset.tracks, factors))
        progress.log(f"{key}: evaluating {len(reference.rows['test'])} tracks, each predicted out of fold")
        evaluator = Evaluator(reference, run.evaluation, run.seed, progress)
        pooled_evaluation = evaluate(key, evaluator, dataset, factors, folder)
        _with_rotations(pooled_evaluation, [Evaluation.read(member) for member in members]).write(folder)
    done = finish_run(folder)
    progress.log(f"{key}: pooled, in {done}")
    return done


def _pool_predictions(members: Sequence[Path], tracks: Tracks, factors: Factors) -> Predictions:
    """Return the prediction of each track by the model that tested it, scaled by all factors alike.

    Positions in spaces of the models' own are left out, since each rotation has another space.
    """
    values = np.zeros_like(factors.item_factors)
    for rotation, member in enumerate(members):
        is_test = _rotation(tracks, rotation, len(members)).parts == "test"
        values[is_test] = read_predictions(member).select(tracks.ids[is_test]).factors
    return Predictions(tracks.ids, values, factors.scaler.transform(values))


def _sum_training(members: Sequence[Path]) -> Training:
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
            "its fold; similarity is by predicted factors",
        ),
    )


def _with_rotations(pooled: Evaluation, rotations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation with the mean number of train and validation tracks, and losses over rotations."""
    n_tracks = TrackCounts(
        train=round(float(np.mean([one.n_tracks.train for one in rotations]))),
        validation=round(float(np.mean([one.n_tracks.validation for one in rotations]))),
        test=pooled.n_tracks.test,
    )
    return dataclasses.replace(
        pooled,
        n_tracks=n_tracks,
        losses=_mean_losses([(one.losses, one.n_tracks) for one in rotations]),
        mean_predictor=_mean_losses([(one.mean_predictor, one.n_tracks) for one in rotations]),
    )


def _mean_losses(rotations: Sequence[tuple[SplitLosses, TrackCounts]]) -> SplitLosses:
    """Return the mean of losses over the tracks of all rotations; R² by its mean over rotations."""

    def mean(split: str) -> RegressionLosses:
        losses = [getattr(losses, split) for losses, _ in rotations]
        weights = [getattr(n_tracks, split) for _, n_tracks in rotations]
        values: dict[str, Any] = {}
        for field in dataclasses.fields(RegressionLosses):
            each = [getattr(one, field.name) for one in losses]
            values[field.name] = None if None in each else float(np.average(each, weights=weights))
        return RegressionLosses(**values)

    return SplitLosses(mean("validation"), mean("test"))
