"""Settings as frozen dataclasses with defaults and checks, changed by TOML files and ``--set``.

A setting is named by its dotted path, as in ``training.epochs``. Unknown names are errors that list the
valid ones.
"""

import dataclasses
import difflib
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cs_keras.errors import ConfigError, StorageError
from cs_keras.parsing import parse_toml

C = TypeVar("C")

RENAMED = {"model.ear": "estimator"}
"""Current names of settings by their group and former name; former names are read from old files only."""

REMOVED = ("evaluation.n_bootstrap",)
"""Settings of earlier versions that nothing uses any more."""

OMIT_IF_DEFAULT = {"later": True}
"""Metadata of a field added later: `to_dict` omits its default, so that older files stay equal."""


BY_NAME = {"by_name": True}
"""Metadata of a field whose value is written as its `name`, and is not a group of settings."""


def to_dict(config: Any) -> dict[str, Any]:
    """Return a frozen dataclass, with nested ones, as JSON values (tuples become lists)."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(config, default=_written_fields)))


def replace(config: C, changes: Mapping[str, Any], prefix: str = "") -> C:
    """Return frozen dataclass `config` with nested `changes` applied, as in ``{"training": {"epochs": 3}}``.

    `prefix` is the dotted path of `config` itself, for messages. Raises ConfigError for an unknown name (the
    message lists the valid ones), or an invalid type or value.
    """
    if not isinstance(changes, Mapping):
        raise ConfigError(
            f"{prefix.rstrip('.') or 'Settings'} must be a group of settings. Received: {changes!r:.80}."
        )
    fields = [f.name for f in dataclasses.fields(config) if f.init]  # type: ignore[arg-type]
    hints = typing.get_type_hints(type(config))
    values: dict[str, Any] = {}
    for name, value in changes.items():
        path = f"{prefix}{name}"
        if name not in fields:
            raise ConfigError(_unknown(path, prefix, fields))
        current = getattr(config, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"Setting {path!r} is a group of settings, not one value. Received: {value!r}."
                )
            values[name] = replace(current, value, f"{path}.")
        else:
            values[name] = _coerce(value, hints[name], path)
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def list_settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield dotted path, value and meaning of each setting of a dataclass, or of an instance of one.

    Meanings are those of the section Attributes of docstrings. Fields without a value are left out.
    """
    meanings = _documented_fields(config if isinstance(config, type) else type(config))
    for field in dataclasses.fields(config):
        if "by_name" in field.metadata or not field.init or not hasattr(config, field.name):
            continue
        value, path = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from list_settings(value, f"{path}.")
        else:
            yield path, value, meanings.get(field.name, "")


def format_value(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    if value is None or isinstance(value, str):
        return value or "none"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def update_names(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Return nested `settings` of an earlier version with the names in `RENAMED` updated."""
    return {
        RENAMED.get(f"{group}.{name}", name): update_names(value, name)
        if isinstance(value, Mapping)
        else value
        for name, value in settings.items()
    }


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``["model.dropout=0.3"]`` into ``{"model": {"dropout": 0.3}}``; values are read as TOML.

    A value that is not TOML (``relu``) is taken as a string. Raises ConfigError when an assignment has no ``=``
    or no name.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"Expected NAME=VALUE, such as training.epochs=3. Received: {assignment!r}.")
        group = changes
        for key in keys[:-1]:
            group = group.setdefault(key, {})
            if not isinstance(group, dict):
                raise ConfigError(
                    f"{assignment!r} sets a group of settings that another assignment sets to one value."
                )
        group[keys[-1]] = _parse_value(text.strip())
    return changes


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mapping `base` updated with `changes`."""
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML settings file.

    Raises StorageError when the file cannot be read, and ConfigError when it is not TOML; the message has the
    line.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe or a device may never end
            raise StorageError(f"Settings file {path} is not a regular file.")
        return parse_toml(path.read_text(encoding="utf-8"))
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot read settings file {path}: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"Settings file {path} is not TOML: {error}.") from error


def check_range(name: str, value: float, low: float | None = None, high: float | None = None) -> None:
    """Raise ConfigError unless ``low <= value <= high`` (either end may be open)."""
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        expected = (
            f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
        )
        raise ConfigError(f"{name} must be {expected}. Received: {value!r}.")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise ConfigError unless `value` is one of `choices`; the message lists them."""
    choices = list(choices)
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}. Received: {value!r}.")


def check_name(what: str, name: str) -> None:
    """Raise ConfigError unless `name` can be the name of a file; `what` it names begins the message."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
        raise ConfigError(
            f"{what} must consist of at most 64 letters, digits, '-', '_' and '.'. Received: {name!r}."
        )


def _documented_fields(kind: type) -> dict[str, str]:
    """Return the descriptions in the sections Attributes of a class and its bases, by name."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes\n----------\n")[2]
        for names, text in re.findall(
            r"^(\w[\w, ]*?)(?: : .*)?\n((?:(?:    .*)?\n?)+)", section, re.MULTILINE
        ):
            found |= dict.fromkeys(names.split(", "), " ".join(text.replace("`", "").split()))
    return found


def _written_fields(config: Any) -> dict[str, Any]:
    return {
        f.name: getattr(config, f.name).name if "by_name" in f.metadata else getattr(config, f.name)
        for f in dataclasses.fields(config)
        if not ("later" in f.metadata and getattr(config, f.name) == f.default)
    }


def _unknown(path: str, prefix: str, valid: list[str]) -> str:
    if path in RENAMED:
        return f"Setting {path!r} was renamed to '{prefix}{RENAMED[path]}'."
    if path in REMOVED:
        return f"Setting {path!r} was removed, since nothing uses it any more; delete it."
    close = difflib.get_close_matches(path.removeprefix(prefix), valid, n=1)
    hint = f" Did you mean {prefix}{close[0]}?" if close else ""
    where = f"under {prefix.rstrip('.')!r}" if prefix else "at the top level"
    return f"Unknown setting {path!r}.{hint} Valid settings {where}: {', '.join(valid)}."


def _parse_value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _coerce(value: Any, hint: Any, path: str) -> Any:
    """Return `value` as type `hint`; an int is valid for a float, a list for a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value in (None, "none") and type(None) in arguments:
            return None
        hint = next(a for a in arguments if a is not type(None))
        return _coerce(value, hint, path)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_coerce(v, arguments[0], path) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"Setting {path!r} must be a finite number. Received: {value}.")
    expected = origin or hint
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise ConfigError(f"Setting {path!r} must be {_type_name(hint)}. Received: {value!r}.")
    return value


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if typing.get_origin(hint) is tuple:
        return f"a list, each {names.get(typing.get_args(hint)[0], 'value')}"
    return names.get(hint, str(hint))
