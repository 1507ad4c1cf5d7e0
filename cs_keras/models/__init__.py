"""Baselines, one module per architecture, found through the registry and imported when they are first used."""

import dataclasses
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cs_keras.errors import ConfigError, StorageError
from cs_keras.models.registry import REGISTRY, check_key, join_key, split_key
from cs_keras.storage.location import require_regular

if TYPE_CHECKING:
    import keras

    from cs_keras.models.declaration import ModelFile
    from cs_keras.models.spec import Baseline

__all__ = ["REGISTRY", "check_key", "expand_tables", "get_baseline", "load_model", "model_module"]


def model_module(key: str) -> "ModelFile":
    """Import the module of a baseline.

    Raises
    ------
    ConfigError
        When there is no such key; the message lists all keys.
    """
    check_key(key)
    module: Any = importlib.import_module(f"cs_keras.models.{REGISTRY[split_key(key)[0]].module}")
    return cast("ModelFile", module)


def get_baseline(key: str) -> "Baseline":
    """Return a baseline with its default settings, on the table of attributes that `key` names, if any.

    The content model of a model of artists is then on that table.

    Raises
    ------
    ConfigError
        When there is no such key, or it names a table and the baseline takes none.
    """
    name, table = split_key(key)
    baseline = model_module(key).VARIANTS[name]
    if table and not _takes_table(baseline):
        raise ConfigError(f"{name} takes no table of attributes of its own. Received: {key!r}.")
    model = baseline.model
    if table and baseline.procedure.takes_artists:
        model = dataclasses.replace(model, content=join_key(model.content, table))
    return dataclasses.replace(baseline, key=key, model=model)


def _takes_table(baseline: "Baseline") -> bool:
    """Return whether a baseline, or its content model, takes a table of attributes."""
    content = baseline.model.branches if baseline.procedure.takes_artists else ()
    return baseline.takes_table or any(get_baseline(key).takes_table for key in content)


def expand_tables(keys: Iterable[str], tables: Iterable[str]) -> tuple[str, ...]:
    """Return `keys`, with a baseline that takes a table of attributes repeated for each of the names `tables`.

    Keys stay as they are where no tables are given, and where they name their table.
    """
    names = tuple(tables) or ("",)
    expanded = []
    for key in keys:
        is_open = _takes_table(get_baseline(key)) and not split_key(key)[1]
        expanded += [join_key(key, name) for name in names] if is_open else [key]
    return tuple(expanded)


def load_model(path: Path) -> "keras.Model":
    """Load the model of a run, which maps its input to scaled factors, shape (batch, n_factors).

    Raises
    ------
    StorageError
        When there is no model at `path`, or it cannot be read, or has weights that are not finite.
    """
    import keras

    from cs_keras.layers.front_end import narrow_bands

    require_regular(path)
    try:
        with narrow_bands():
            model = keras.saving.load_model(path, safe_mode=True)
        is_finite = all(np.isfinite(weight).all() for weight in model.get_weights())
    except Exception as error:  # Keras, h5py and zipfile raise whatever a damaged file provokes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StorageError(f"Cannot load the model {path}: {reason}") from error
    if not is_finite:
        raise StorageError(f"{path} is damaged: expected finite weights.")
    return model
