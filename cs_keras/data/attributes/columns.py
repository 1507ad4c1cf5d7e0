"""Columns of attribute tables; their kinds are given or inferred from the values.

Numbers and booleans are ``numeric``; so is a column of a text file all of whose values are numbers. Other text is
``labels`` where any value has a ``|``, which separates labels, and else ``categorical``. Lists of text are
``labels``. Lists of numbers, all of one length, are ``numeric``, a number for each list element. Empty values and
NA, N/A, NaN and null, in any case, are missing. Frames of `cs-keras embed --sequences` are a ``sequence``.
"""

# pyarrow says it is typed, but its compiled modules carry no types.

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cs_keras.config import check_choice
from cs_keras.errors import DataError

KINDS = ("numeric", "categorical", "labels")
MISSING = ("", "na", "n/a", "nan", "null")
SEPARATOR = "|"
LARGEST = np.float64(1e100)  # whose square is finite too; no float32 overflows when compared with it

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class NumericColumn:
    """Numbers of items, shape (n_items, n_numbers), float32 or float64; NaN where missing, never infinite."""

    values: npt.NDArray[Any]

    @property
    def kind(self) -> str:
        """Kind of the column."""
        return "numeric"

    @property
    def is_missing(self) -> Flags:
        """Flags of items without any number, shape (n_items,)."""
        missing: Flags = np.isnan(self.values).all(axis=1)
        return missing

    def take(self, rows: Integers) -> "NumericColumn":
        """Return the rows of some items; -1 gives missing values."""
        taken = self.values[rows]
        taken[rows < 0] = np.nan
        return NumericColumn(taken)

    def content(self) -> bytes:
        """Return bytes that identify the values."""
        canonical = np.where(np.isnan(self.values), np.nan, self.values)  # one bit pattern for all NaNs
        return f"{canonical.shape} {canonical.dtype}".encode() + canonical.tobytes()


@dataclasses.dataclass(frozen=True, eq=False)
class LabelColumn:
    """Distinct labels of each item, none where missing; a ``categorical`` column has at most one label per item."""

    values: tuple[tuple[str, ...], ...]
    kind: str = "labels"

    @property
    def is_missing(self) -> Flags:
        """Flags of items without label, shape (n_items,)."""
        return np.array([not labels for labels in self.values], np.bool_)

    def take(self, rows: Integers) -> "LabelColumn":
        """Return the rows of some items; -1 gives no label."""
        return LabelColumn(tuple(self.values[row] if row >= 0 else () for row in rows.tolist()), self.kind)

    def content(self) -> bytes:
        """Return bytes that identify the labels."""
        return repr((self.kind, self.values)).encode()


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceColumn:
    """Frames of items, as many as each has; an item without frames is missing.

    Those of item i are ``frames[offsets[i]:offsets[i + 1]]``: `frames` has shape (n_frames, n_numbers), float32,
    `offsets` (n_items + 1,), int64.
    """

    frames: npt.NDArray[np.float32]
    offsets: Integers

    @property
    def kind(self) -> str:
        """Kind of the column."""
        return "sequence"

    @property
    def is_missing(self) -> Flags:
        """Flags of items without frames, shape (n_items,)."""
        missing: Flags = np.diff(self.offsets) == 0
        return missing

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the frames of each item."""
        return (self.frames[first:last] for first, last in itertools.pairwise(self.offsets.tolist()))

    def take(self, rows: Integers) -> "SequenceColumn":
        """Return the rows of some items; -1 gives no frames."""
        first, last = (np.where(rows < 0, 0, ends[rows]) for ends in (self.offsets[:-1], self.offsets[1:]))
        offsets = np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64)
        source = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
        return SequenceColumn(self.frames[source], offsets)

    def pool(self) -> NumericColumn:
        """Return mean, standard deviation and maximum over the frames of each item, 3 * n_numbers, float32."""
        pooled = np.full((len(self.offsets) - 1, 3 * self.frames.shape[1]), np.nan, np.float32)
        for row, frames in zip(pooled, self, strict=True):
            if len(frames):
                wide = frames.astype(np.float64)
                row[:] = np.concatenate([wide.mean(axis=0), wide.std(axis=0), wide.max(axis=0)])
        return NumericColumn(pooled)

    def content(self) -> bytes:
        """Return bytes that identify the frames."""
        return f"{self.frames.shape}".encode() + self.offsets.tobytes() + self.frames.tobytes()


Column: TypeAlias = NumericColumn | LabelColumn | SequenceColumn


def read_column(name: str, data: pa.ChunkedArray, kind: str | None, is_text_file: bool, where: str) -> Column:
    """Return a column of a table; `kind` is one of `KINDS`, inferred if None.

    Numbers are text if `is_text_file`, as in CSV. `name` and `where`, the file, are for messages. Raises
    DataError when the values fit no kind, or not `kind` (the message names the row, from 1), and ConfigError
    when `kind` is unknown.
    """
    if kind is not None:
        check_choice(f"The kind of attribute {name!r}", kind, (*KINDS, "ignore"))
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if _is_list(data.type):
        return _read_lists(name, data.combine_chunks(), kind, where)
    if _is_number(data.type):
        if kind in (None, "numeric"):
            return NumericColumn(check_finite(_floats(data), name, where)[:, np.newaxis])
    elif not (_is_text(data.type) or pa.types.is_null(data.type)):
        raise DataError(
            f"{where}: {name!r} must hold numbers, text or lists of either. Received: {data.type}; leave it out "
            f"with --attribute {name}=ignore."
        )
    text = pc.utf8_trim_whitespace(pc.fill_null(data.cast(pa.large_string()), ""))
    text = pc.if_else(pc.is_in(pc.utf8_lower(text), pa.array(MISSING, pa.large_string())), "", text)
    if kind == "numeric" or (kind is None and is_text_file):
        numbers = _parse(text, name, where, strict=kind == "numeric")
        if numbers is not None:
            return NumericColumn(numbers[:, np.newaxis])
    values = text.to_pylist()
    kind = kind or ("labels" if any(SEPARATOR in value for value in values) else "categorical")
    if kind == "categorical":
        return LabelColumn(tuple((value,) if value else () for value in values), kind)
    return LabelColumn(tuple(_unique(value.split(SEPARATOR)) for value in values), kind)


def _parse(text: pa.ChunkedArray, name: str, where: str, strict: bool) -> npt.NDArray[np.float64] | None:
    """Parse numbers; None if a value is not a number or all are missing, unless `strict`."""
    given = pc.if_else(pc.equal(text, ""), None, text)
    if given.null_count == len(given) and not strict:
        return None
    try:
        return check_finite(_floats(given.cast(pa.float64())), name, where)
    except pa.ArrowInvalid:
        if not strict:
            return None
    rows = enumerate(given.to_pylist(), 1)
    row, value = next((row, value) for row, value in rows if value is not None and not _is_float(value))
    raise DataError(f"{where}: row {row}: {name!r} must be a number. Received: {value!r}.")


def _is_float(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _read_lists(name: str, data: Any, kind: str | None, where: str) -> Column:
    value_type = data.type.value_type
    if _is_text(value_type) and kind in (None, "labels"):
        return LabelColumn(tuple(_unique(labels or ()) for labels in data.to_pylist()))
    if not _is_number(value_type) or kind not in (None, "numeric"):
        raise DataError(
            f"{where}: {name!r} holds {data.type}; expected lists of text as labels, or lists of numbers as "
            f"numeric. Received: {kind or value_type}."
        )
    lengths = pc.fill_null(pc.list_value_length(data), -1).to_numpy()
    known = np.flatnonzero(lengths >= 0)
    length = int(lengths[known[0]]) if len(known) else 0
    ragged = known[lengths[known] != length]
    if len(ragged):
        raise DataError(
            f"{where}: row {ragged[0] + 1}: {name!r} has {lengths[ragged[0]]} numbers; expected {length}, as row "
            f"{known[0] + 1} has."
        )
    numbers = _floats(data.flatten())  # of those that are not null
    values = np.full((len(data), length), np.nan, numbers.dtype)
    values[known] = numbers.reshape(len(known), length)
    return NumericColumn(check_finite(values, name, where))


def _floats(data: Any) -> npt.NDArray[Any]:
    """Return numbers with NaN where missing; float32 stays float32."""
    is_single = data.type == pa.float32()
    if pa.types.is_boolean(data.type):
        data = data.cast(pa.int8())
    numbers = data.cast(pa.float32() if is_single else pa.float64(), safe=False).to_numpy(
        zero_copy_only=False
    )
    return np.array(numbers, np.float32 if is_single else np.float64)


def check_finite(values: npt.NDArray[Any], name: str, where: str) -> npt.NDArray[Any]:
    """Return numbers, one row per item, unchanged; raise DataError for infinite or huge ones."""
    rows = np.flatnonzero((np.abs(values.reshape(len(values), -1)) > LARGEST).any(axis=1))
    if len(rows):
        raise DataError(
            f"{where}: row {rows[0] + 1}: {name!r} must be finite, at most {LARGEST:g}; leave a missing "
            "number empty."
        )
    return values


def _unique(labels: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.strip() for label in labels if label and label.strip()))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    is_one = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in is_one)


def _is_list(kind: Any) -> bool:
    is_one = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in is_one)
