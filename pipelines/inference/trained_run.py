"""Loading of finished runs, and their models as functions of one track."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras import config
from cs_keras.config import check_range
from cs_keras.data.selection import select_sequences
from cs_keras.data.shards import Frames
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.models import load_model
from cs_keras.models.declaration import PROCEDURES, Procedure
from cs_keras.models.distribution import moments_model
from cs_keras.models.registry import split_key, split_tables
from cs_keras.models.spec import LOSSES_OF_DISTRIBUTIONS
from cs_keras.run_files.names import CONFIG_FILE, MODEL_FILE, RESULT_FILES, SIGNATURE_FILE
from cs_keras.run_files.settings import require_finished
from cs_keras.run_files.training import Training
from cs_keras.runs import digest, read_json
from cs_keras.storage.location import Location, is_file, is_remote, read_bytes
from cs_keras.training.hidden_layers import build_hidden_model
from pipelines.training.run_artifacts import Signature, read_signature

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished run with the settings that predictions need.

    Attributes
    ----------
    folder
        Run folder, or its URL.
    procedure, sequence, batch_size
        Settings of the run.
    signature
        Audio settings of the input, and scaling of the output.
    digest
        Digest of model and settings.
    split_name
        Named split that the model was trained by; None for that of the folds.
    layer
        Hidden layer to stop at, see `pipelines.inference.features.at_layer`; None for the factors.
    table
        Name of the table of attributes that the model takes; "" for the one without a name, or for none.
    predicts_std
        Whether the model predicts a standard deviation with each factor; its outputs are then moments.
    models, functions
        Models that were loaded, by folder, and functions of tracks that were traced, by folder and layer. Copies by
        ``dataclasses.replace``, for hidden layers and branches, share them; those that are pickled have none.
    """

    folder: Location
    procedure: Procedure
    sequence: SequenceConfig
    batch_size: int
    signature: Signature
    digest: str
    split_name: str | None = None
    layer: str | None = None
    table: str = ""
    predicts_std: bool = False
    models: dict[Location, keras.Model] = dataclasses.field(default_factory=dict, repr=False)
    functions: dict[tuple[Location, str | None], Callable[[Frames], Matrix]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    # A run is a `pipelines.inference.prediction_blocks.TrackModel`.
    task: ClassVar[str] = "predict"
    block_tracks: ClassVar[int] = 32

    @property
    def identity(self) -> str:
        """Digest of everything that decides the outputs."""
        return digest([self.digest, self.layer]) if self.layer else self.digest

    @property
    def n_outputs(self) -> int:
        """Number of factors, or of their moments, or of features at a hidden layer."""
        return len(self.signature.scaler.offset) * (1 + self.predicts_std)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "models": {}, "functions": {}}

    def load_model(self, folder: Location | None = None) -> keras.Model:
        """Return the run's model, or that of a branch by its folder, which is loaded once; see `load_run_model`."""
        folder = folder or self.folder
        if folder not in self.models:
            self.models[folder] = load_run_model(folder)
        return self.models[folder]

    def load(self) -> Callable[[Frames], Matrix]:
        """Load the model; return `track_function`, with a row for each track. Both are done once."""
        key = self.folder, self.layer
        if key not in self.functions:
            self.functions[key] = track_function(self)
        predict = self.functions[key]
        return lambda frames: predict(frames)[np.newaxis]


def require_audio(run: TrainedRun, use: str) -> None:
    """Raise ConfigError unless the run's model takes audio, and nothing else; `use` begins the message."""
    takes = run.procedure.takes
    if not run.procedure.takes_audio:
        kind = f"takes {takes.value}" if takes else "joins several models"
        raise ConfigError(f"{use} needs an audio model. Received: that of {run.folder}, which {kind}.")


def source_error(run: TrainedRun, received: str) -> ConfigError:
    """Return the error for sources, named by `received`, that the run's model cannot take."""
    takes = run.procedure.takes
    if takes is None:
        return ConfigError(
            f"The model of {run.folder} joins several models: expected a dataset or recordings, as in `cs-keras "
            f"predict RUN DATASET --features FILE`. Received: {received}."
        )
    if run.procedure.takes_artists:
        return ConfigError(
            f"The model of {run.folder} takes artists, and what its content model takes: expected a dataset, or "
            f"recordings as in `cs-keras predict RUN AUDIO --artist NAME`. Received: {received}."
        )
    if len(names := split_tables(run.table)) > 1:
        given = " ".join(f"--features {name}=FILE" for name in names)
        return ConfigError(
            f"The model of {run.folder} joins the tables {', '.join(names)}: expected recordings, if `cs-keras "
            f"embed` made all of them, or `cs-keras predict RUN DATASET {given}`. Received: {received}."
        )
    return ConfigError(
        f"The model of {run.folder} takes {takes.value}, not audio: expected a table or npz of these, as in "
        f"`cs-keras predict RUN FEATURES`. Received: {received}."
    )


def read_run(folder: Location) -> TrainedRun:
    """Open a finished run for predictions.

    Raises
    ------
    ConfigError
        When it is an ensemble.
    StorageError
        When `folder` is not a finished run, or cannot be read.
    DataError
        When its settings are invalid, or an incompatible earlier release trained it.
    """
    require_finished(folder, skip=RESULT_FILES)
    _refuse_ensemble(folder)
    path = folder / CONFIG_FILE
    settings = read_json(path)
    try:
        procedure = PROCEDURES[settings["procedure"]]
        sequence = config.replace(SequenceConfig(), settings["sequence"], "sequence.")
        batch_size = int(settings["training"]["batch_size"])
        check_range("training.batch_size", batch_size, 1)
        predicts_std = settings["training"].get("loss") in LOSSES_OF_DISTRIBUTIONS
        run_digest = digest([hashlib.blake2b(_model_bytes(folder), digest_size=16).hexdigest(), settings])
    except StorageError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        raise DataError(f"{path} is not as `cs-keras run-baselines` writes it: {error}.") from error
    return TrainedRun(
        folder,
        procedure,
        sequence,
        batch_size,
        read_signature(folder),
        run_digest,
        settings.get("split_name"),
        table=split_key(str(settings.get("key", "")))[1],
        predicts_std=predicts_std,
    )


def track_function(run: TrainedRun) -> Callable[[Frames], Matrix]:
    """Load a run's model and return a function from a track's frames to its scaled factors.

    Frames have shape (n_frames, frame_size), any length; factors have shape (n_factors,), float32: the mean over
    the sequences of the track, unless the model pools over time itself or between its stages. The function is
    traced before it is returned, so that no thread is running meanwhile.

    Raises
    ------
    ConfigError
        When the model takes no audio.
    StorageError, DataError
        When the model cannot be loaded, or does not match the run's signature.
    """
    if not run.procedure.takes_audio:
        raise source_error(run, "audio")
    model = run.load_model()
    if run.layer:
        model = build_hidden_model(model, run.layer)
    elif run.predicts_std:
        model = moments_model(model)
    if model.output_shape[1] != run.n_outputs:
        raise DataError(
            f"{MODEL_FILE} and {SIGNATURE_FILE} of {run.folder} are from different runs: they have "
            f"{model.output_shape[1]} and {run.n_outputs} factors."
        )
    is_staged = run.procedure.pools_between_stages and not run.layer
    model, head = model.layers[-2:] if is_staged else (model, None)
    frames = None if run.procedure.pools_over_time else run.sequence.frames
    frame_size = run.signature.audio.frame_size
    # One signature for all batch sizes: graphs for different sizes could round differently.
    try:
        apply = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((None, frames, frame_size), tf.float32)],
            autograph=False,
        ).get_concrete_function()
    except Exception as error:  # each layer has its own errors for input of another shape
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{MODEL_FILE} of {run.folder} cannot be applied to frames of size {frame_size}: {reason}"
        ) from error

    def predict(track: Frames) -> Matrix:
        total, n = np.zeros(model.output_shape[1]), 0  # float64, as in training
        for batch in _batches(track, run):
            outputs = apply(tf.constant(batch)).numpy()
            total += outputs.sum(axis=0, dtype=np.float64)
            n += len(outputs)
        mean = (total / n).astype(np.float32)
        predicted = mean if head is None else np.asarray(head(mean[np.newaxis], training=False))[0]
        if not np.isfinite(predicted).all():
            raise DataError(f"The model of {run.folder} predicts numbers that are not finite.")
        return predicted

    return predict


def _batches(track: Frames, run: TrainedRun) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the input of the model for one track, shape (batch, frames, frame_size)."""
    if run.procedure.pools_over_time:
        yield track[np.newaxis].astype(np.float32)
        return
    length = np.array([len(track)])
    starts = prediction_windows(np.zeros(1, np.int64), length, run.sequence, run.signature.audio).start
    for first in range(0, len(starts), run.batch_size):
        chosen = starts[first : first + run.batch_size]
        batch = np.zeros((len(chosen), run.sequence.excerpt_frames, track.shape[1]), np.float32)
        for window, start in zip(batch, chosen.tolist(), strict=True):
            part = track[start : start + len(window)]
            window[: len(part)] = part
        yield select_sequences(tf.constant(batch), length - chosen, run.sequence).numpy()


def load_run_model(folder: Location) -> keras.Model:
    """Load a run's model, from a temporary local copy if it is behind a URL.

    Raises
    ------
    ConfigError
        When the run is an ensemble.
    StorageError, DataError
        When it does not exist, or cannot be loaded.
    """
    _refuse_ensemble(folder)
    path = folder / MODEL_FILE
    if is_remote(path):
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary) / MODEL_FILE
            local.write_bytes(_model_bytes(folder))
            model = load_model(local)
    else:
        model = load_model(path)
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise StorageError(f"{path} is damaged: expected one vector as output.")
    return model


def _refuse_ensemble(folder: Location) -> None:
    """Raise ConfigError where a run is an ensemble; name the member that it chose, or all of them."""
    settings = read_json(folder / CONFIG_FILE) if is_file(folder / CONFIG_FILE) else None
    if not isinstance(settings, dict) or "members" not in settings:
        return
    members = [str(one) for one in settings["members"]]
    if settings.get("by") == "best":  # the settings are known before the choice
        weights = Training.read(folder).weights or {}
        members = [one for one in members if weights.get(one)] or members
    named = f"its choice is {members[0]}" if len(members) == 1 else f"its members are {', '.join(members)}"
    raise ConfigError(f"{folder} is an ensemble, which has no model of its own; name a member: {named}.")


def _model_bytes(folder: Location) -> bytes:
    try:
        return read_bytes(folder / MODEL_FILE)
    except FileNotFoundError as error:
        raise StorageError(f"{folder} has no {MODEL_FILE}.") from error
