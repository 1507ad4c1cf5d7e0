"""Export of a run's model to forms that load without this package: a SavedModel and a ``.keras`` file."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras import config
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.layers.plain import plain_model
from cs_keras.models.spec import stored_bytes
from cs_keras.run_files.names import MODEL_FILE
from cs_keras.runs import TEMPORARY, environment, require_space, write_json
from cs_keras.training.serving_model import ServingConfig, ServingModel
from pipelines.inference.trained_run import TrainedRun, load_run_model, require_audio

EXPORT_VERSION = 1
SAVED_MODEL = "saved_model"
EXPORT_FILE = "export.json"
TOLERANCE = 1e-4  # relative to the maximum: float32 sums in another order
CHECK_FRAMES = 256  # of models that take any number


def export(run: TrainedRun, out: Path) -> None:
    """Write ``OUT/saved_model``, ``OUT/model.keras`` and ``OUT/export.json``: all of them, or nothing.

    Both models are loaded again and compared with the run's before `out` takes its name.

    Parameters
    ----------
    run
        A finished run.
    out
        Folder to make.

    Raises
    ------
    ConfigError
        When the model takes no audio.
    StorageError
        When `out` exists, or files cannot be read or written.
    DataError
        When the model does not match the run's settings, or needs this package to load.
    """
    if out.exists():
        raise StorageError(f"{out} exists already; expected the name of a new folder.")
    require_audio(run, "An export")
    if run.procedure.pools_between_stages:
        raise ConfigError(
            f"The model of {run.folder} cannot be exported: it averages over sequences between its two stages."
        )
    model = load_run_model(run.folder)
    _check_fit(run, model)
    sequence = None if run.procedure.pools_over_time else run.sequence
    serving = ServingConfig(run.signature.audio, run.signature.dtype, sequence, run.signature.scaler)
    with _written_whole(out) as folder:
        require_space(folder, 3 * stored_bytes(model))
        whole, plain = ServingModel(model, serving), unscaled(plain_model(model), serving)
        try:
            tf.saved_model.save(whole, str(folder / SAVED_MODEL), whole.endpoints)
            plain.save(folder / MODEL_FILE)
        except (OSError, tf.errors.OpError) as error:
            raise StorageError(f"Cannot write {out}: {error}.") from error
        write_json(folder / EXPORT_FILE, _about(run, model, serving))
        _check_written(folder, model, serving)


def unscaled(model: keras.Model, serving: ServingConfig) -> keras.Model:
    """Add a layer to `model` that scales its outputs back to factors."""
    scaler = serving.scaler
    layer = keras.layers.Rescaling(
        scaler.scale.astype(float).tolist(),
        scaler.offset.astype(float).tolist(),
        dtype="float32",
        name="unscaled_factors",
    )
    return keras.Model(model.input, layer(model.output), name=model.name)


def _check_fit(run: TrainedRun, model: keras.Model) -> None:
    """Raise DataError unless the model has the shapes that the run's settings describe."""
    frames = None if run.procedure.pools_over_time else run.sequence.frames
    audio = run.signature.audio
    expected = (frames, audio.frame_size, len(run.signature.scaler.offset))
    received = (*model.input_shape[1:], model.output_shape[1])
    if received != expected:
        raise DataError(
            f"{MODEL_FILE} of {run.folder} does not match its settings: expected {expected[0]} frames, "
            f"{expected[1]} {'samples' if audio.holds_waveforms else 'bins'} and {expected[2]} factors. "
            f"Received: {', '.join(map(str, received))}."
        )


def _about(run: TrainedRun, model: keras.Model, serving: ServingConfig) -> dict[str, Any]:
    """Return the content of ``export.json``, which describes input and output of the models."""
    sequence = config.to_dict(serving.sequence) if serving.sequence else None
    whole = (
        "one whole track"
        if sequence is None
        else "one sequence; a track's factors are the mean over its sequences"
    )
    content = serving.audio.content
    size = "hop_length" if serving.audio.holds_waveforms else "n_bins"
    return {
        "schema_version": EXPORT_VERSION,
        "model": model.name,
        "run_digest": run.digest,
        "audio": config.to_dict(serving.audio),
        f"{content}_dtype": serving.dtype,
        "sequence": sequence,
        "n_factors": len(serving.scaler.offset),
        "scaling": serving.scaler.kind,
        "signatures": {
            "audio": "waveform (n_samples,) float32, mono at audio.sample_rate -> factors (n_factors,)",
            "audio_at": "waveform, and sample_rate, an int32 scalar: any other than audio.sample_rate is refused",
            "frames": f"{content} (n_frames, {size}) float32, of a whole recording -> factors (n_factors,)",
        },
        "keras": f"{content} (batch, frames, {size}) float32 -> factors (batch, n_factors); each is {whole}",
        "packages": environment()["packages"],
    }


@contextlib.contextmanager
def _written_whole(out: Path) -> Iterator[Path]:
    """Create a temporary folder that is renamed to `out` on success, and removed on failure."""
    folder = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        folder.mkdir(parents=True)
        yield folder
        os.replace(folder, out)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot write {out}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_written(folder: Path, model: keras.Model, serving: ServingConfig) -> None:
    """Load both models from `folder` and compare them with `model` on one sequence of noise."""
    frames = serving.sequence.frames if serving.sequence else CHECK_FRAMES
    rng = np.random.default_rng(0)
    noise = rng.lognormal(size=(1, frames, serving.audio.frame_size)).astype(np.float32)
    expected = serving.scaler.inverse(model(noise, training=False).numpy())[0]
    saved = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures["frames"](tf.constant(noise[0]))
    plain = keras.saving.load_model(folder / MODEL_FILE, safe_mode=True)(noise, training=False)
    for name, received in ((SAVED_MODEL, saved["factors"].numpy()), (MODEL_FILE, plain.numpy()[0])):
        difference = float(np.abs(received - expected).max())
        if not difference <= TOLERANCE * float(np.abs(expected).max()):
            raise DataError(
                f"The exported {name} does not reproduce the factors of the run's model: they differ by "
                f"{difference:.2g}."
            )
