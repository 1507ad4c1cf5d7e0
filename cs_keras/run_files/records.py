"""JSON files as records: dataclasses whose types are checked when a file is read."""

import math
import re
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from cs_keras.errors import DataError
from cs_keras.runs import read_json, write_json
from cs_keras.storage.location import Location

Record = TypeVar("Record")
Where = tuple[str | int, ...]  # keys and indices that lead to a value

_TYPES = {
    "int": "a whole number",
    "float": "a finite number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|(?P<key>\[\.\.\.\])")


class StoredRecord:
    """A dataclass with a JSON file of its own in the folder of a run, a study, a trial or an execution."""

    FILE: ClassVar[str]
    VERSIONS: ClassVar[
        tuple[int, ...]
    ] = ()  # schema versions that can be read; none for a file without a version

    def write(self, folder: Location) -> None:
        """Write the file of a folder, atomically."""
        write_record(folder / self.FILE, self)

    @classmethod
    def read(cls, folder: Location) -> Self:
        """Read the file of a folder; errors as for `read_record`."""
        return read_record(folder / cls.FILE, cls, cls.VERSIONS)


def write_record(path: Location, record: Any) -> None:
    """Write a record as JSON, atomically, with its fields in order; NaN and infinity raise ValueError."""
    write_json(path, msgspec.to_builtins(record))


def read_record(path: Location, kind: type[Record], versions: Sequence[int] = ()) -> Record:
    """Read a JSON file as a record of type `kind`.

    Parameters
    ----------
    path
        The file.
    kind
        A dataclass. Keys that it does not name are ignored; fields with a default may be missing.
    versions
        Schema versions that can be read; none for a file without a version.

    Raises
    ------
    StorageError
        When the file cannot be read or is not JSON.
    DataError
        When it has another schema version, lacks a value, or has a value of another type or a number that is not
        finite.
    """
    content = read_json(path)
    if versions:
        check_version(content, path, versions)
    return to_record(kind, content, path)


def check_version(content: Any, path: Location, versions: Sequence[int]) -> None:
    """Raise DataError unless `content`, read from `path`, is an object of one of these schema versions."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in versions:
        raise DataError(
            f"{path} cannot be read by this version: expected schema_version {' or '.join(map(str, versions))}. "
            f"Received: {reprlib.repr(version)}."
        )


def to_record(kind: type[Record], content: Any, path: Location) -> Record:
    """Return the JSON value `content`, read from `path`, as a record; see `read_record`."""
    for where, number in _numbers(content, ()):
        if not math.isfinite(number):
            raise mismatch(path, _dotted(where), "a finite number", number)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise _explain(error, content, path) from error


def mismatch(path: Location, name: str, expected: str, received: Any) -> DataError:
    """Return the error that names the file, the dotted path of a value in it, what it must be and what it is."""
    value = f"{path}: {name}" if name else str(path)
    return DataError(f"{value} must be {expected}. Received: {reprlib.repr(received)}.")


def _numbers(value: Any, where: Where) -> Iterator[tuple[Where, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(item, (*where, key))


def _explain(error: msgspec.ValidationError, content: Any, path: Location) -> DataError:
    """Turn msgspec's message, such as "Expected `int`, got `str` - at `$.a[...][0].b`", into one sentence."""
    text, _, place = str(error).partition(" - at `$")
    found = list(_find(content, list(_STEP.finditer(place)), ())) or [((), content)]
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", text):
        where = next((own for own, value in found if isinstance(value, dict) and missing[1] not in value), ())
        return DataError(f"{path} lacks {_dotted((*where, missing[1]))}.")
    if types := re.fullmatch(r"Expected `(.*)`, got `(.*)`", text):
        expected = " or ".join(_TYPES.get(name, name) for name in types[1].split(" | "))
        own, received = next((one for one in found if _type_name(one[1]) == types[2]), found[0])
        return mismatch(path, _dotted(own), expected, received)
    if text == "Number out of range":
        own, received = next((one for one in found if _type_name(one[1]) == "int"), found[0])
        return mismatch(path, _dotted(own), "a finite number", received)
    return DataError(f"{path}: {text}")


def _find(value: Any, steps: list[re.Match[str]], where: Where) -> Iterator[tuple[Where, Any]]:
    """Yield every value that a path of msgspec may mean, which does not name the keys of mappings."""
    if not steps:
        yield where, value
        return
    items = dict(enumerate(value)) if isinstance(value, list) else value if isinstance(value, dict) else {}
    keys: list[Any] = list(items) if steps[0]["key"] else [steps[0]["field"] or int(steps[0]["index"])]
    for key in filter(items.__contains__, keys):
        yield from _find(items[key], steps[1:], (*where, key))


def _dotted(where: Where) -> str:
    return ".".join(map(str, where))


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), type(value).__name__)
