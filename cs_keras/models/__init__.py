"""Baselines, one module per architecture, found through the registry and imported when they are first used."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cs_keras.errors import StorageError
from cs_keras.models.registry import REGISTRY, check_key

if TYPE_CHECKING:
    import keras

    from cs_keras.models.declaration import ModelFile
    from cs_keras.models.spec import Baseline

__all__ = ["REGISTRY", "check_key", "get_baseline", "load_model", "model_module"]


def model_module(key: str) -> "ModelFile":
    """Import the module of a baseline.

    Raises
    ------
    ConfigError
        When there is no such key; the message lists all keys.
    """
    check_key(key)
    module: Any = importlib.import_module(f"cs_keras.models.{REGISTRY[key].module}")
    return cast("ModelFile", module)


def get_baseline(key: str) -> "Baseline":
    """Return a baseline with its default settings; see `model_module` for errors."""
    return model_module(key).VARIANTS[key]


def load_model(path: Path) -> "keras.Model":
    """Load the model of a run, which maps its input to scaled factors, shape (batch, n_factors).

    Raises
    ------
    StorageError
        When there is no model at `path`, or it cannot be read.
    """
    import kapre  # noqa: F401  (registers its layers)
    import keras

    from cs_keras.layers import (  # noqa: F401  (registers ours)
        augmentation,
        bag_of_tones,
        batch_norm,
        branches,
        front_end,
        kernel_regression,
        stochastic_pooling,
    )

    try:
        with front_end.narrow_bands():
            return keras.saving.load_model(path, safe_mode=True)
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"Cannot load the model {path}: {str(error).splitlines()[0]}") from error
