"""A search for factors as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cs_keras.factors.selection import Averaging, Failure, Mean, Result, Selection
from cs_keras.factors.wmf import WmfConfig
from cs_keras.runs import write_json
from cs_keras.storage.location import Location

SCHEMA = 1


def save_selection(path: Location, selection: Selection) -> None:
    """Write a selection as JSON, whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    write_json(path, {"schema_version": SCHEMA, **asdict(selection)})


def parse_outcome(document: Mapping[str, Any]) -> Result | Failure:
    """Return the outcome that `dataclasses.asdict` made a document of; KeyError or TypeError for others."""
    setting = WmfConfig(**document["setting"])
    if "reason" in document:
        return Failure(setting, document["reason"])
    return Result(**{**_means(document), "setting": setting})


def parse_averaging(document: Mapping[str, Any]) -> Averaging:
    """Return what `dataclasses.asdict` made a document of; KeyError or TypeError for others."""
    return Averaging(**_means(document))


def _means(document: Mapping[str, Any]) -> dict[str, Any]:
    is_mean = {name: isinstance(value, dict) and "error" in value for name, value in document.items()}
    return {name: Mean(**value) if is_mean[name] else value for name, value in document.items()}
