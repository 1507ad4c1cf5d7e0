"""The results of a study: the best trial's settings as a file, and trials for TensorBoard's HParams plugin."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api

from cs_keras.models.registry import TABLE_MARK
from cs_keras.run_files.names import BEST_FILE
from cs_keras.run_files.study import TrialRecord
from cs_keras.runs import atomic_write
from cs_keras.storage.location import is_folder, is_remote, write_bytes
from tuning.study import Study

HPARAMS_FOLDER = "hparams"


def find_best(study: Study, trials: list[str]) -> TrialRecord | None:
    """Return the record of the best completed trial, or None.

    For hyperband only trials with the most epochs count: the others were stopped early.
    """
    records = [record for record in map(study.read_trial, trials) if record and record.status == "completed"]
    longest = max(map(_epochs, records), default=0)
    final = [record for record in records if _epochs(record) == longest]
    sign = -1 if study.goal.direction == "max" else 1
    return min(final, key=lambda record: (sign * (record.score or 0), record.trial), default=None)


def write_best(study: Study, record: TrialRecord) -> None:
    """Write the settings of a trial for ``cs-keras run-baselines --config``."""
    search = study.search
    heading = (
        f"# Trial {record.trial} of a search of {search.model}: {search.objective} {record.score:.4f}, seed "
        f"{search.seed}.\n"
    )
    with atomic_write(study.folder / BEST_FILE, "w") as file:
        file.write(heading + to_toml({"models": {search.model: record.settings}}))


def to_toml(settings: Mapping[str, Any], path: str = "") -> str:
    """Return nested settings as TOML; None, which TOML lacks, as the text ``none``."""
    values = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    groups = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    heading = f"\n[{path}]\n" if path and values else ""
    lines = (f"{name} = {json.dumps('none' if value is None else value)}\n" for name, value in values.items())
    keys = {name: json.dumps(name) if TABLE_MARK in name else name for name in groups}
    nested = (
        to_toml(group, f"{path}.{keys[name]}" if path else keys[name]) for name, group in groups.items()
    )
    return "".join([heading, *lines, *nested])


def is_logged(study: Study, trial: str) -> bool:
    """Return whether `log_trial` has begun to write a trial."""
    return is_folder(study.folder / HPARAMS_FOLDER / trial)


def log_trial(study: Study, record: TrialRecord) -> None:
    """Write a trial's parameters and, if it completed, its metrics for TensorBoard."""
    folder = study.folder / HPARAMS_FOLDER / record.trial
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary) if is_remote(folder) else Path(folder)
        writer = tf.summary.create_file_writer(str(local))
        with writer.as_default():
            api.hparams(dict(record.parameters), trial_id=record.trial)
            for execution in record.executions:
                for metric, value in execution.metrics.items():
                    tf.summary.scalar(metric, value, step=execution.seed)
        writer.close()
        if is_remote(folder):
            for path in local.iterdir():
                write_bytes(folder / path.name, path.read_bytes())


def _epochs(record: TrialRecord) -> int:
    return record.hyperband.epochs if record.hyperband else 0
