"""JSON objects as dataclasses, checked: every value is there and of the type that its field says."""

import dataclasses
import reprlib
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from cs_keras.errors import DataError

Record = TypeVar("Record")


def check_version(content: Any, path: Path, expected: int) -> None:
    """Raise DataError unless `content`, read from `path`, is an object of schema version `expected`."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != expected:
        raise DataError(
            f"{path} cannot be read by this version: expected schema_version {expected}. "
            f"Received: {reprlib.repr(version)}."
        )


def to_record(kind: type[Record], value: Any, path: Path, prefix: str = "") -> Record:
    """Return a JSON object as dataclass `kind`; keys that it does not name are ignored, some may be missing.

    Parameters
    ----------
    kind
        Its fields are scalars, ``X | None``, ``tuple[X, ...]``, ``dict[str, X]``, Any, or such dataclasses.
    value
        As `json.loads` returns it.
    path, prefix
        File and dotted path of the object in it, for messages.

    Raises
    ------
    DataError
        When a value without a default is missing, or one is of another type or not finite.
    """
    if not isinstance(value, dict):
        raise mismatch(path, prefix.rstrip("."), "an object", value)
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for field in fields:
        if field.name not in value and field.default is dataclasses.MISSING:
            raise DataError(f"{path} lacks {prefix}{field.name}.")
    names = [field.name for field in fields if field.name in value]
    return kind(**{name: _typed(hints[name], value[name], path, prefix + name) for name in names})


def _typed(kind: Any, value: Any, path: Path, name: str) -> Any:
    """Return a JSON value as `kind`: a dataclass, ``X | None``, ``tuple[X, ...]``, ``dict[str, X]`` or a scalar."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return to_record(typing.cast(type[Any], kind), value, path, f"{name}.")
    if origin is types.UnionType:
        return None if value is None else _typed(arguments[0], value, path, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], item, path, f"{name}.{i}") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _typed(arguments[1], item, path, f"{name}.{key}") for key, item in value.items()}
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind is float or type(value) is not kind:
        raise mismatch(path, name, _EXPECTED[origin or kind], value)
    return value


_EXPECTED = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "text",
    tuple: "a list",
    dict: "an object",
}


def mismatch(path: Path, name: str, expected: str, value: Any) -> DataError:
    """Return the error that says what `name` in a file must be and what it is."""
    what = f"{path}: {name}" if name else str(path)
    return DataError(f"{what} must be {expected}. Received: {reprlib.repr(value)}.")
