"""The registry of baselines: a key names a variant of one model file, which is imported when first asked for."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cs_keras.errors import ConfigError, StorageError

if TYPE_CHECKING:
    import keras

    from cs_keras.models.spec import Baseline

MODEL_FILES = {
    "bot": "bot",
    "bot-wide": "bot",
    "bot-linear": "bot",
    "mlr": "mlr",
    "multiscale": "multiscale",
    "multiscale-gaussian": "multiscale",
    "multiscale-laplacian": "multiscale",
    "cnn": "cnn",
    "cnn-bn": "cnn",
    "cnn-bn-10": "cnn",
    "cnn-deep-dense": "cnn",
    "cnn-wide-dense": "cnn",
    "cnn-deep-conv": "cnn",
    "cnn-freq": "cnn1d",
    "cnn-time": "cnn1d",
    "cnn-18s": "cnn",
    "cnn-60s": "cnn",
    "cnn-best": "cnn",
    "dieleman": "dieleman",
    "dieleman-3s": "dieleman",
    "dieleman-30s": "dieleman",
    "raw": "raw",
    "raw-1024-512": "raw",
    "raw-512-512": "raw",
    "raw-512-256": "raw",
    "raw-256-256": "raw",
    "raw-l2": "raw",
    "raw-mel": "raw",
    "lstm": "lstm",
    "lstm-18s": "lstm",
    "lstm-60s": "lstm",
    "lstm-best": "lstm",
    "xception": "xception",
    "xception-finetune": "xception",
    "xception-random": "xception",
    "choi": "choi",
    "choi-finetune": "choi",
    "choi-60s": "choi",
    "choi-features": "choi_features",
    "choi-best": "choi_features",
    "triplet": "triplet",
    "triplet-best": "triplet",
    "attributes": "attributes",
    "attributes-linear": "attributes",
    "estimated-attributes": "estimated_attributes",
    "genre-space": "genre_space",
    "genre-space-30s": "genre_space",
    "genre-label": "attributes",
    "genre-label-linear": "attributes",
    "fusion": "fusion",
    "fusion-genres": "fusion",
    "fusion-estimated": "fusion",
}


def model_module(key: str) -> ModuleType:
    """Return the module of a baseline.

    Raises
    ------
    ConfigError
        When there is no such key; the message lists those there are.
    """
    check_key(key)
    return importlib.import_module(f"cs_keras.models.{MODEL_FILES[key]}")


def get_baseline(key: str) -> "Baseline":
    """Return the settings of a baseline as its source gives them; see `model_module` for errors."""
    baseline: Baseline = model_module(key).VARIANTS[key]
    return baseline


def load_model(path: Path) -> "keras.Model":
    """Return a model that a run stored, (batch, frames, frame_size) sound to (batch, n_factors) scaled factors.

    Raises
    ------
    StorageError
        When there is none at `path`, or it cannot be read.
    """
    import kapre  # noqa: F401  (registers its layers with Keras)
    import keras

    from cs_keras.layers import (  # noqa: F401  (registered likewise)
        augmentation,
        bag_of_tones,
        branches,
        fixed_statistics,
        front_end,
        kernel_regression,
        stochastic_pooling,
    )

    try:
        with front_end.narrow_bands():
            return keras.saving.load_model(path, safe_mode=True)
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(
            f"{path} is not a model that can be loaded: {str(error).splitlines()[0]}"
        ) from error


def check_key(key: str) -> None:
    """Raise ConfigError unless `key` names a baseline."""
    if key not in MODEL_FILES:
        raise ConfigError(f"There is no model {key!r}. Models: {', '.join(MODEL_FILES)}.")
