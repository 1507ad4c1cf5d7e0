"""One model trained on a dataset: its folder gets ``model.keras``, ``training.json`` and ``predictions.npz``."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.data.batches import ArrayBatches, TrainingBatches, prediction_batches, reading
from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import sample_rows
from cs_keras.data.windows import prediction_windows
from cs_keras.errors import DataError, StorageError
from cs_keras.factors.store import Factors
from cs_keras.models import bot, model_module
from cs_keras.models.spec import stored_bytes, trainable_parameters
from cs_keras.progress import Progress
from cs_keras.runs import read_npz, require_space, write_json, write_npz
from cs_keras.training.codebook import fit_codebook
from cs_keras.training.execution import choose_devices, dtype_policy, make_strategy
from cs_keras.training.fit import Epoch, Fitted, fit
from cs_keras.training.predict import apply_to_tracks, predict_tracks, whole_track_function
from pipelines.settings import RunConfig

MODEL_FILE = "model.keras"
TRAINING_FILE = "training.json"
PREDICTIONS_FILE = "predictions.npz"
WORK_FOLDER = "checkpoint"  # what a resumed run needs and a finished one does not

Rows = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model is to learn: a dataset, its targets, and which tracks are for what.

    Attributes
    ----------
    dataset
        Where magnitudes come from.
    targets
        Scaled factors, shape (n_tracks, n_factors), float32; rows without listening are zero and never used.
    train, validation
        Track table rows with factors, shapes (n_train,) and (n_validation,).
    unseen
        All rows of validation and test tracks, with or without factors: what is predicted.
    """

    dataset: Dataset
    targets: Matrix
    train: Rows
    validation: Rows
    unseen: Rows


def make_task(dataset: Dataset, factors: Factors, train_fraction: float) -> Task:
    """Return what to learn from `factors`, on a share of the train tracks.

    Raises
    ------
    DataError
        When no train or no validation track has factors.
    """
    tracks = dataset.tracks
    rows = {}
    for split in ("train", "validation"):
        rows[split] = np.flatnonzero(tracks.in_split(split) & factors.has_factors)
        if not len(rows[split]):
            raise DataError(
                f"No {split} track of {dataset.folder} has listening: at least one is needed, of "
                f"{int(tracks.in_split(split).sum())} tracks in that split."
            )
    train = np.array(sample_rows(tracks.ids.tolist(), rows["train"].tolist(), train_fraction))
    targets = np.where(factors.has_factors[:, None], factors.scaler.transform(factors.item_factors), 0)
    return Task(
        dataset,
        targets.astype(np.float32),
        train,
        rows["validation"],
        np.flatnonzero(~tracks.in_split("train")),
    )


def train(run: RunConfig, task: Task, factors: Factors, folder: Path, progress: Progress) -> None:
    """Train the model that `run` describes and predict all validation and test tracks, unless that is done.

    The same seed gives the same predictions, whether or not the work was interrupted on the way.

    Raises
    ------
    DivergenceError, DataError, StorageError
        When training cannot go on.
    """
    if (folder / PREDICTIONS_FILE).exists():
        return
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    procedure = _PROCEDURES[run.procedure]
    with reading(task.dataset):
        model, fitted, predicted = procedure(run, task, folder, progress)
    _save_model(model, folder / MODEL_FILE)
    write_json(
        folder / TRAINING_FILE,
        {
            "parameters": trainable_parameters(model),
            "n_train_tracks": len(task.train),
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "seconds": fitted.seconds,
            "history": fitted.history,
        },
    )
    write_npz(
        folder / PREDICTIONS_FILE,
        track_ids=task.dataset.tracks.ids[task.unseen],
        factors=factors.scaler.inverse(predicted),
        scaled_factors=predicted,
    )


def clean_up(folder: Path) -> None:
    """Remove what only a resumed run would need."""
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)


def _train_regression(
    run: RunConfig, task: Task, folder: Path, progress: Progress
) -> tuple[keras.Model, Fitted, Matrix]:
    """Sequences to factors; a track's prediction is the mean over the sequences that cover it."""
    batch_size = run.training.batch_size
    strategy = make_strategy(choose_devices(run.execution, batch_size))
    with strategy.scope(), dtype_policy(run.execution.dtype_policy):
        model = model_module(run.key).build(run, task.targets.shape[1], task.dataset.info.audio)
    batches = TrainingBatches(task.dataset, task.train, task.targets, run.sequence, batch_size, run.seed)
    inputs, windows = prediction_batches(task.dataset, task.validation, run.sequence, batch_size)
    targets = tf.constant(task.targets)
    outputs = tf.data.Dataset.from_tensor_slices(windows.row).batch(batch_size)
    outputs = outputs.map(lambda rows: tf.gather(targets, rows))
    validation = tf.data.Dataset.zip((inputs, outputs))
    fitted = _fit_with_progress(run, model, batches, validation, folder, progress)
    n_frames = task.dataset.n_frames[task.unseen]
    covering = prediction_windows(task.unseen, n_frames, run.sequence, task.dataset.info.audio)
    with progress.task(f"{run.key}: predict", len(covering)) as advance:
        predicted = predict_tracks(model, task.dataset, task.unseen, run.sequence, batch_size, advance)
    return model, fitted, predicted


def _train_codebook(
    run: RunConfig, task: Task, folder: Path, progress: Progress
) -> tuple[keras.Model, Fitted, Matrix]:
    """Frames to a codebook, tracks to histograms, histograms to factors.

    On one device: a batch of histograms is too little work to share.
    """
    with dtype_policy(run.execution.dtype_policy):
        model = bot.build(run, task.targets.shape[1], task.dataset.info.audio)
        features, codebook, head = model.layers[-3:]
        regressor = keras.Model(head.input, head.output, name=run.key)  # so that `model` gets no optimizer
    frames_of = whole_track_function(features)

    def make_codebook() -> Matrix:
        with progress.task(f"{run.key}: codebook", run.model.max_passes * len(task.train)) as advance:

            def read(row: int) -> Matrix:
                advance(1)
                return frames_of(task.dataset.read_track(row))

            return fit_codebook(read, task.train, run.model, run.seed)

    def make_histograms() -> Matrix:
        tones = keras.Model(model.input, codebook(features(model.input)))
        rows = np.concatenate([task.train, task.unseen])
        with progress.task(f"{run.key}: histograms", len(rows)) as advance:
            return apply_to_tracks(tones, task.dataset, rows, advance)

    codebook.get_layer("bag_of_tones").set_codebook(
        _kept(folder / WORK_FOLDER / "codebook.npz", make_codebook)
    )
    histograms = _kept(folder / WORK_FOLDER / "histograms.npz", make_histograms)
    train, unseen = np.split(histograms, [len(task.train)])
    is_validation = np.isin(task.unseen, task.validation)
    batch_size = run.training.batch_size
    batches = ArrayBatches(train, task.targets[task.train], batch_size, run.seed)
    pairs = (unseen[is_validation], task.targets[task.validation])
    validation = tf.data.Dataset.from_tensor_slices(pairs).batch(batch_size)
    fitted = _fit_with_progress(run, regressor, batches, validation, folder, progress)
    return model, fitted, regressor.predict(unseen, batch_size, verbose=0)


_PROCEDURES: dict[str, Callable[..., tuple[keras.Model, Fitted, Matrix]]] = {
    "regression": _train_regression,
    "codebook": _train_codebook,
}


def _fit_with_progress(
    run: RunConfig, model: keras.Model, batches: Any, validation: Any, folder: Path, progress: Progress
) -> Fitted:
    unit = "tracks" if run.procedure == "codebook" else "sequences"

    def tell(number: int, epoch: Epoch) -> None:
        progress.say(
            f"{run.key}: epoch {number} of {run.training.epochs}, loss {epoch['loss']:.4f}, "
            f"validation loss {epoch['val_loss']:.4f}, {epoch['seconds']:.1f} s, "
            f"{epoch['sequences_per_s']:.0f} {unit}/s, {epoch['mb_per_s']:.1f} MB/s, "
            f"{epoch['input_wait_share']:.0%} of training waiting for input"
        )

    return fit(model, batches, validation, run.training, folder, tell, run.execution.jit)


def _kept(path: Path, make: Callable[[], Matrix]) -> Matrix:
    """Return the array at `path`, making it where there is none."""
    if not path.exists():
        write_npz(path, values=make())
    return read_npz(path, "values")["values"]


def _save_model(model: keras.Model, path: Path) -> None:
    """Write what predicts: without the optimizer, which is twice as large and of which Keras cannot load all."""
    bare = keras.Model(model.input, model.output, name=model.name)
    temporary = path.with_name(f"partial-{path.name}")
    require_space(path.parent, 2 * stored_bytes(bare))  # Keras writes weights apart before it packs them
    try:
        bare.save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error}.") from error
