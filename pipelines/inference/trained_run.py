"""A finished run, and its model as a function of one track."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras import config
from cs_keras.data.shards import Frames
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.models import load_model
from cs_keras.models.spec import ANY, NEEDS, POOLED_BETWEEN, WHOLE_TRACKS
from cs_keras.run_files.names import CONFIG_FILE, MODEL_FILE, SIGNATURE_FILE
from cs_keras.run_files.settings import require_finished
from cs_keras.runs import digest, read_json
from cs_keras.storage.location import Location, is_remote, read_bytes
from cs_keras.training.hidden_layers import build_hidden_model
from pipelines.training.run_artifacts import Signature, read_signature

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Hidden:
    """A layer whose output takes the place of the factors.

    Attributes
    ----------
    layer
        Its name; see `cs_keras.training.hidden_layers`.
    run_digest
        Digest of the run that it is of.
    """

    layer: str
    run_digest: str


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedRun:
    """What of a finished run its model is used with.

    Attributes
    ----------
    folder
        Run folder, or its URL.
    procedure, sequence, batch_size
        Of its settings: how a track is given to the model.
    signature
        Audio settings of its input, and the way from its output back to factors.
    digest
        Of model and settings, and of what is hidden.
    hidden
        Layer to stop at, see `pipelines.inference.features.at_layer`; None for the factors.
    """

    folder: Location
    procedure: str
    sequence: SequenceConfig
    batch_size: int
    signature: Signature
    digest: str
    hidden: Hidden | None = None

    @property
    def needs(self) -> str:
        """What the model takes in; see `cs_keras.models.spec.Baseline.needs`."""
        return NEEDS.get(self.procedure, "sound")


def require_audio(run: TrainedRun, use: str) -> None:
    """Raise ConfigError unless the run's model hears, and nothing else: `use` of others there is none."""
    if run.needs != "sound":
        kind = "joins several models" if run.needs == ANY else f"knows tracks by their {run.needs}"
        raise ConfigError(f"{use} needs a model that hears. Received: that of {run.folder}, which {kind}.")


def require_sound(run: TrainedRun, received: str = "sound") -> None:
    """Raise ConfigError unless the run's model hears; its message says what was `received` instead."""
    if run.needs == ANY:
        raise no_dataset(run, received)
    if run.needs != "sound":
        raise ConfigError(
            f"The model of {run.folder} does not hear, it knows tracks by their {run.needs}: expected a table or "
            f"npz of these, as `cs-keras predict RUN FEATURES` takes them. Received: {received}."
        )


def no_dataset(run: TrainedRun, received: str) -> ConfigError:
    """Return the error of a fusion that is given something else than a dataset."""
    return ConfigError(
        f"The model of {run.folder} joins what several models make of a track: expected a dataset, as "
        f"`cs-keras predict RUN DATASET --features FILE` takes it. Received: {received}."
    )


def require_attributes(run: TrainedRun) -> None:
    """Raise ConfigError unless the run's model knows tracks by a table."""
    if run.needs == "sound":
        raise ConfigError(
            f"The model of {run.folder} hears: expected a dataset or recordings. Received: attributes."
        )


def read_run(folder: Location) -> TrainedRun:
    """Read what of a finished run its model is used with.

    Raises
    ------
    ConfigError
        When it is an ensemble.
    StorageError
        When `folder` is not a finished run, or cannot be read.
    DataError
        When its settings are not valid, or an earlier release trained it.
    """
    require_finished(folder)
    path = folder / CONFIG_FILE
    settings = read_json(path)
    if isinstance(settings, dict) and "members" in settings:
        raise ConfigError(
            f"{folder} is an ensemble, which has no model of its own; name one of its members: "
            f"{', '.join(map(str, settings['members']))}."
        )
    try:
        procedure = str(settings["procedure"])
        sequence = config.replace(SequenceConfig(), settings["sequence"], "sequence.")
        batch_size = int(settings["training"]["batch_size"])
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path} is not as `cs-keras run-baselines` writes it: {error}.") from error
    model = hashlib.blake2b(_model_bytes(folder), digest_size=16).hexdigest()
    return TrainedRun(
        folder, procedure, sequence, batch_size, read_signature(folder), digest([model, settings])
    )


def track_function(run: TrainedRun) -> Callable[[Frames], Matrix]:
    """Load a run's model and return a function of a track's frames to its scaled factors.

    The frames have shape (n_frames, frame_size), any length; the factors have shape (n_factors,), float32: the mean
    over the sequences that cover the track, unless the model pools over time itself or between its stages.

    Raises
    ------
    ConfigError
        When the model does not hear.
    StorageError, DataError
        When the model cannot be loaded, or is not the one of the run's signature.
    """
    require_sound(run)
    model = load_run_model(run.folder)
    if run.hidden:
        model = build_hidden_model(model, run.hidden.layer)
    n_factors = len(run.signature.scaler.offset)
    if model.output_shape[1] != n_factors:
        raise DataError(
            f"{MODEL_FILE} and {SIGNATURE_FILE} of {run.folder} are not of one run: they have "
            f"{model.output_shape[1]} and {n_factors} factors."
        )
    is_staged = run.procedure in POOLED_BETWEEN and not run.hidden
    model, head = model.layers[-2:] if is_staged else (model, None)
    frames = None if run.procedure in WHOLE_TRACKS else run.sequence.frames
    frame_size = run.signature.audio.frame_size
    # One signature for batches of any size: a graph made for one size could round otherwise than one made for all.
    apply = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec((None, frames, frame_size), tf.float32)],
    )

    def predict(track: Frames) -> Matrix:
        total, n = np.zeros(model.output_shape[1]), 0  # float64, as in training
        for batch in _batches(track, run):
            outputs = apply(tf.constant(batch)).numpy()
            total += outputs.sum(axis=0, dtype=np.float64)
            n += len(outputs)
        mean = (total / n).astype(np.float32)
        return mean if head is None else np.asarray(head(mean[np.newaxis], training=False))[0]

    return predict


def _batches(track: Frames, run: TrainedRun) -> Iterator[npt.NDArray[np.float32]]:
    """Yield what the model is given of one track, shape (batch, frames, frame_size)."""
    if run.procedure in WHOLE_TRACKS:
        yield track[np.newaxis].astype(np.float32)
        return
    length = np.array([len(track)])
    starts = prediction_windows(np.zeros(1, np.int64), length, run.sequence, run.signature.audio).start
    for first in range(0, len(starts), run.batch_size):
        chosen = starts[first : first + run.batch_size]
        batch = np.zeros((len(chosen), run.sequence.frames, track.shape[1]), np.float32)
        for window, start in zip(batch, chosen.tolist(), strict=True):
            stretch = track[start : start + run.sequence.frames]
            window[: len(stretch)] = stretch
        yield batch


def load_run_model(folder: Location) -> keras.Model:
    """Load a run's model, by a temporary file where it is behind a URL: Keras reads local ones only.

    Raises
    ------
    StorageError, DataError
        When there is none, or it cannot be loaded.
    """
    path = folder / MODEL_FILE
    if not is_remote(path):
        return load_model(path)
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary) / MODEL_FILE
        local.write_bytes(_model_bytes(folder))
        return load_model(local)


def _model_bytes(folder: Location) -> bytes:
    try:
        return read_bytes(folder / MODEL_FILE)
    except FileNotFoundError as error:
        raise StorageError(f"{folder} has no {MODEL_FILE}.") from error
