"""Baselines, one module per architecture, found through the registry and imported when they are first used."""

import dataclasses
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cs_keras.errors import ConfigError, StorageError
from cs_keras.models.registry import REGISTRY, check_key, join_key, split_key

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

    Raises
    ------
    ConfigError
        When there is no such key, or it names a table and the baseline takes none.
    """
    name, table = split_key(key)
    baseline = model_module(key).VARIANTS[name]
    if table and not baseline.takes_table:
        raise ConfigError(f"{name} takes no table of attributes of its own. Received: {key!r}.")
    return dataclasses.replace(baseline, key=key)


def expand_tables(keys: Iterable[str], tables: Iterable[str]) -> tuple[str, ...]:
    """Return `keys`, with a baseline that takes a table of attributes repeated for each of the names `tables`.

    Keys stay as they are where no tables are given, and where they name their table.
    """
    names = tuple(tables) or ("",)
    expanded = []
    for key in keys:
        is_open = get_baseline(key).takes_table and not split_key(key)[1]
        expanded += [join_key(key, name) for name in names] if is_open else [key]
    return tuple(expanded)


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
        artists,
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
