"""The main job: several baselines trained and judged on one dataset, each in a run folder of its own."""

import contextlib
import dataclasses
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import CsKerasError
from cs_keras.progress import Progress, Silent
from cs_keras.runs import digest, finish_run, is_done, locked, open_run
from cs_keras.storage.location import Location
from cs_keras.training.execution import choose_devices
from pipelines.evaluate import Judge, evaluate
from pipelines.factors import open_factors
from pipelines.settings import identity, resolve
from pipelines.signature import write_signature
from pipelines.train import clean_up, make_task, train

DEFAULT_MODELS = ("bot", "cnn-bn", "lstm")
# Smaller datasets are verified whole before they are trained on; of others each frame when it is first read.
VERIFIED_BYTES = 1 << 33


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The finished run folders, in the order asked for, and the models that failed, with the reason."""

    runs: tuple[Path, ...]
    failed: Mapping[str, str]


def run_baselines(
    dataset_folder: Location,
    models: Sequence[str],
    runs: Path,
    changes: Mapping[str, Any],
    factors_name: str | None = None,
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
) -> Outcome:
    """Train and judge `models`; what is finished is not done again, what was begun goes on.

    Parameters
    ----------
    dataset_folder
        With factors.
    models
        Model keys.
    runs
        Folder for the run folders.
    changes
        Settings laid over the models' own; see `pipelines.settings.resolve`.
    factors_name
        Which of the dataset's factors to predict.
    progress
        Where to report.
    reading
        How a dataset behind a URL is read.

    Raises
    ------
    CsKerasError
        When settings or dataset are wrong. A model that fails on its own is an entry of the outcome instead.
    """
    progress = progress or Silent()
    configs = [resolve(key, changes) for key in models]
    for run in configs:
        choose_devices(run.execution, run.training.batch_size)  # refuses what no machine here can do
    dataset = Dataset(dataset_folder, reading)
    factors = open_factors(dataset_folder, dataset.tracks, factors_name)
    data_digest = digest([dataset.digest, factors.digest])
    judges: dict[Any, Judge] = {}
    finished, failed = [], {}
    verified = False
    for run in configs:
        key = (run.evaluation, run.seed)
        judge = judges.get(key) or judges.setdefault(
            key, Judge(dataset.tracks, factors, run.evaluation, run.seed)
        )
        folder = open_run(runs, run.key, identity(run), data_digest)
        if is_done(folder):
            write_signature(folder, dataset.info, factors.scaler)  # runs of earlier releases lack it
            progress.say(f"{run.key}: done before, in {folder}")
            finished.append(folder)
            continue
        if not verified and _is_verified_first(dataset):  # only when there is something to train
            with progress.task("verify", len(dataset)) as advance:
                dataset.verify(advance)
            verified = True
        task = make_task(dataset, factors, run.train_fraction)
        try:
            with locked(folder):
                write_signature(folder, dataset.info, factors.scaler)
                train(run, task, factors, folder, progress)
                progress.say(f"{run.key}: judging {len(judge.rows['test'])} test tracks")
                evaluate(run, judge, dataset, factors, folder)
        except (CsKerasError, tf.errors.OpError, ValueError, OSError) as error:
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            if not isinstance(error, CsKerasError):  # unforeseen: keep what a bug report needs
                with contextlib.suppress(OSError):  # the disk itself may be what failed
                    (folder / "error.log").write_text(traceback.format_exc(), encoding="utf-8")
                reason = f"{type(error).__name__}: {reason} (details: {folder / 'error.log'})"
            progress.say(f"{run.key}: failed: {reason}")
            failed[run.key] = reason
            continue
        clean_up(folder)
        finished.append(finish_run(folder))
        progress.say(f"{run.key}: done, in {finished[-1]}")
    return Outcome(tuple(finished), failed)


def _is_verified_first(dataset: Dataset) -> bool:
    """Tell whether reading everything takes seconds, or training would read it without comparing checksums."""
    small = not dataset.is_remote and dataset.n_bytes <= VERIFIED_BYTES
    return small or dataset.reading.reader == "tfio"
