"""The main job: several baselines trained and evaluated on one dataset, each in its own run folder."""

import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from cs_keras.data.attributes.table import AttributeTable, align_tables
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import CsKerasError, StorageError
from cs_keras.factors.store import Factors
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import ERROR_LOG, FAILURE_FILE, MODEL_FILE
from cs_keras.run_files.settings import Failure
from cs_keras.runs import atomic_write, digest, finish_run, is_done, locked, open_run, verify_run
from cs_keras.storage.location import Location
from cs_keras.training.execution import choose_devices
from pipelines.evaluation.all_candidates import require_cross_fitted
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.label_evaluator import LabelEvaluator
from pipelines.evaluation.reference import make_reference, open_true_style
from pipelines.factors.labels import LabelsConfig, open_labelled
from pipelines.factors.open import open_dataset, open_interactions
from pipelines.training.requirements import attributes_digest, require_inputs, warn_of_few_test_tracks
from pipelines.training.run_artifacts import write_signature
from pipelines.training.run_config import RunConfig, identity, resolve, use_loss
from pipelines.training.targets import make_training_data, open_extra_factors
from pipelines.training.train import clean_up, train

# Smaller datasets are verified whole before they are trained on; of others each frame when it is first read.
VERIFIED_BYTES = 1 << 33
FAILURES = (
    CsKerasError,
    tf.errors.OpError,
    ValueError,
    OSError,
)  # a model's own: others are trained all the same


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Finished run folders in the order of the models, and the reason of each model that failed or was left out."""

    runs: tuple[Path, ...]
    failed: Mapping[str, str]
    left_out: Mapping[str, str]


def run_baselines(
    dataset_folder: Location,
    models: Sequence[str],
    runs: Path,
    changes: Mapping[str, Any],
    factors_name: str | None = None,
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
    tables: Mapping[str, AttributeTable] | None = None,
    split_name: str | None = None,
    labels: LabelsConfig | None = None,
) -> Outcome:
    """Train and evaluate `models`; finished runs are not repeated, unfinished ones are resumed.

    Parameters
    ----------
    dataset_folder
        Dataset folder with factors.
    models
        Model keys.
    runs
        Folder for the run folders.
    changes
        Settings laid over the models' own; see `pipelines.training.run_config.resolve`.
    factors_name
        Which of the dataset's factors to predict.
    progress
        Receives the progress.
    reading
        Settings for reading a dataset behind a URL.
    tables
        Attributes of tracks, for models that need them, by the name of their table; "" for the one without a name.
    split_name
        Named split of the dataset; None for the one that the factors were fitted for.
    labels
        Labels to predict and to evaluate instead of factors: by binary cross-entropy, or with `factors_name` by the
        factors of that name, whose playlists are the labels.

    Raises
    ------
    CsKerasError
        When settings or dataset are wrong, or the dataset has no tracks for any of the models. A model that fails,
        or is left out as the dataset has no tracks for it, is an entry of the outcome instead.
    """
    progress = progress or SilentProgress()
    if labels is not None and factors_name is None:
        changes = use_loss("binary_crossentropy", models, changes, tables or ())
    configs = [resolve(key, changes, tables or ()) for key in models]
    for run in configs:
        choose_devices(run.execution, run.training.batch_size)  # refuses what no machine here can do
    source = (dataset_folder, factors_name, split_name, reading)
    dataset, factors, track_labels = (
        open_labelled(labels, *source) if labels else (*open_dataset(*source), None)
    )
    given = align_tables(tables or {}, dataset.tracks, str(dataset_folder))
    left_out = require_inputs(configs, dataset.tracks, given)
    for name, table in (tables or {}).items():
        progress.log(f"attributes of {table.where}{f', table {name}' * bool(name)}: {table.describe()}")
    data_digest = digest([dataset.digest, factors.digest])
    extras = [open_extra_factors(dataset, factors, run.training) for run in configs]
    label_evaluator = track_labels and LabelEvaluator(track_labels, dataset.tracks, factors)
    evaluate_run = (
        label_evaluator.evaluate
        if label_evaluator
        else _prepare_evaluation(configs, dataset, factors, progress)
    )
    finished, failed = [], {}
    verified = False
    for run, extra in zip(configs, extras, strict=True):
        settings = identity(run, attributes_digest(run, dataset.tracks, given), extra, factors.split_name)
        if label_evaluator:
            settings |= {"labels": label_evaluator.digest, "target": factors.name}
        folder = open_run(runs, run.key, settings, data_digest)
        if run.key in left_out:
            failure = Failure(run.key, left_out[run.key], is_left_out=True)
            failure.write(folder)
            progress.log(f"{run.key}: {failure.outcome}")
            continue
        if is_done(folder):
            try:
                verify_run(folder, skip=[MODEL_FILE])  # which is not used
            except StorageError as error:
                failed[run.key] = str(error)
                progress.log(f"{run.key}: failed: {error}")
                continue
            write_signature(folder, dataset.info, factors.scaler)  # runs of earlier releases lack it
            progress.log(f"{run.key}: done before, in {folder}")
            finished.append(folder)
            continue
        if not verified and _is_verified_first(dataset):  # only when there is something to train
            with progress.task("verify", len(dataset)) as advance:
                dataset.verify(advance)
            verified = True
        data = make_training_data(dataset, factors, run.train_fraction, given, extra)
        try:
            with locked(folder), _remembering_failure(run.key, folder):
                write_signature(folder, dataset.info, factors.scaler)
                train(run, data, factors, folder, progress)
                progress.log(f"{run.key}: evaluating test tracks")
                evaluate_run(run, folder)
        except FAILURES as error:
            failed[run.key] = _reason(error, folder)
            progress.log(f"{run.key}: failed: {failed[run.key]}")
            continue
        clean_up(folder)
        finished.append(finish_run(folder))
        progress.log(f"{run.key}: done, in {finished[-1]}")
    return Outcome(tuple(finished), failed, left_out)


def _prepare_evaluation(
    configs: Sequence[RunConfig], dataset: Dataset, factors: Factors, progress: Progress
) -> Callable[[RunConfig, Path], Any]:
    """Return the evaluation of run folders against `factors`; equal settings share reference predictors."""
    if any(run.evaluation.candidates == "all" for run in configs):
        require_cross_fitted(factors)
    reference = make_reference(
        dataset.tracks,
        factors,
        open_interactions(dataset.folder, factors),
        open_true_style(dataset.folder, dataset.tracks.ids),
    )
    names = dataset.tracks.strings("artist")
    ks = {k for run in configs for k in run.evaluation.ks}
    few = warn_of_few_test_tracks([names[row].strip() for row in reference.rows["test"]], sorted(ks))
    if few:
        progress.log(few)
    evaluators: dict[Any, Evaluator] = {}

    def evaluate_run(run: RunConfig, folder: Path) -> None:
        key = (run.evaluation, run.seed)
        evaluator = evaluators.setdefault(key, Evaluator(reference, run.evaluation, run.seed))
        evaluate(run.key, evaluator, dataset, factors, folder)

    return evaluate_run


@contextlib.contextmanager
def _remembering_failure(key: str, folder: Path) -> Iterator[None]:
    """Write the reason to ``failure.json``, for reports, when the block fails; remove an earlier one."""
    (folder / FAILURE_FILE).unlink(missing_ok=True)
    try:
        yield
    except FAILURES as error:
        with contextlib.suppress(OSError):  # the disk itself may be what failed
            if not isinstance(error, CsKerasError):  # unforeseen: keep what a bug report needs
                with atomic_write(folder / ERROR_LOG, "w") as file:
                    file.write(traceback.format_exc())
            Failure(key, _reason(error, folder)).write(folder)
        raise


def _reason(error: Exception, folder: Path) -> str:
    """Return one line on what went wrong, and where to read more if it was unforeseen."""
    line = (str(error).strip().splitlines() or ["no message"])[0]
    if isinstance(error, CsKerasError):
        return line
    return f"{type(error).__name__}: {line} (details: {folder / ERROR_LOG})"


def _is_verified_first(dataset: Dataset) -> bool:
    """Return whether reading everything takes seconds, or training would read it without comparing checksums."""
    small = not dataset.is_remote and dataset.n_bytes <= VERIFIED_BYTES
    return small or dataset.reading.reader == "tfio"
