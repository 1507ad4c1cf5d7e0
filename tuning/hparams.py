"""Ended trials as TensorBoard's HParams plugin shows them."""

import tempfile
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import api

from cs_keras.run_files.study import TrialRecord
from cs_keras.storage.location import is_folder, is_remote, write_bytes
from tuning.study import Study

FOLDER = "hparams"


def is_logged(study: Study, trial: str) -> bool:
    """Tell whether `log_trial` has begun to write of a trial."""
    return is_folder(study.folder / FOLDER / trial)


def log_trial(study: Study, record: TrialRecord) -> None:
    """Write a trial's parameters and, if it completed, its metrics."""
    name, folder = record.trial, study.folder / FOLDER / record.trial
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary) if is_remote(folder) else Path(folder)
        writer = tf.summary.create_file_writer(str(local))
        with writer.as_default():
            api.hparams(dict(record.parameters), trial_id=name)
            for execution in record.executions:
                for metric, value in execution.metrics.items():
                    tf.summary.scalar(metric, value, step=execution.seed)
        writer.close()
        if is_remote(folder):
            for path in local.iterdir():
                write_bytes(folder / path.name, path.read_bytes())
