"""Attributes as one vector an item: an encoding fitted on train tracks alone, kept as JSON, applied to any item.

Numbers are standardised; a missing one is 0, the train tracks' mean, and where any train track misses it an
indicator beside it is 1. A category or label is 1 at its place among those that train tracks have; one that none of
them has is nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cs_keras.data.attributes.columns import Column, LabelColumn, NumericColumn
from cs_keras.data.attributes.table import AttributeTable
from cs_keras.errors import DataError

ENCODING_VERSION = 1
FARTHEST = 1e6  # standard deviations from the mean that a number can be: a slip of the pen stays finite

Matrix = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class NumericEncoding:
    """How a column of numbers is encoded.

    Attributes
    ----------
    name
        Of the column.
    mean, scale
        Of train tracks, shape (n_numbers,); scale is the standard deviation, or 0 for numbers that do not vary
        among them, which are encoded as 0.
    indicators
        Which of the numbers have an indicator of being missing: places, ascending.
    """

    name: str
    mean: Numbers
    scale: Numbers
    indicators: tuple[int, ...]

    kind = "numeric"

    @property
    def n_features(self) -> int:
        """Numbers in an encoded item."""
        return len(self.mean) + len(self.indicators)

    def encode(self, column: Column, where: str) -> Matrix:
        """Return shape (n_items, n_features), float32; raise DataError for a column of another kind or length."""
        if not isinstance(column, NumericColumn) or column.values.shape[1] != len(self.mean):
            found = f"{column.values.shape[1]} numbers" if isinstance(column, NumericColumn) else column.kind
            raise DataError(
                f"{where}: {self.name!r} must hold {len(self.mean)} numbers, as in training. Received: {found}."
            )
        missing = np.isnan(column.values)
        scaled = (column.values - self.mean) / np.where(self.scale > 0, self.scale, 1)
        values = np.where(missing | (self.scale == 0), 0, np.clip(scaled, -FARTHEST, FARTHEST))
        return np.concatenate([values, missing[:, list(self.indicators)]], axis=1, dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelEncoding:
    """How a column of labels is encoded.

    Attributes
    ----------
    name
        Of the column.
    labels
        Those that have a place, sorted.
    kind
        ``labels`` or ``categorical``, as the column was read.
    n_rare
        Labels of train tracks that got no place because there were too many.
    """

    name: str
    labels: tuple[str, ...]
    kind: str
    n_rare: int = 0

    @property
    def n_features(self) -> int:
        """Numbers in an encoded item."""
        return len(self.labels)

    def encode(self, column: Column, where: str) -> Matrix:
        """Return shape (n_items, n_features), float32; raise DataError for a column of numbers."""
        if not isinstance(column, LabelColumn):
            raise DataError(f"{where}: {self.name!r} must hold text, as in training. Received: numbers.")
        place = {label: number for number, label in enumerate(self.labels)}
        encoded = np.zeros((len(column.values), len(place)), np.float32)
        for row, labels in zip(encoded, column.values, strict=True):
            row[[place[label] for label in labels if label in place]] = 1
        return encoded


ColumnEncoding: TypeAlias = NumericEncoding | LabelEncoding


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """How items become vectors: the encodings of all columns, side by side."""

    columns: tuple[ColumnEncoding, ...]

    @property
    def n_features(self) -> int:
        """Numbers in a vector."""
        return sum(column.n_features for column in self.columns)

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each column by its name: how the table of new items is to be read."""
        return {column.name: column.kind for column in self.columns}

    def encode(self, table: AttributeTable) -> Matrix:
        """Return the vectors of all items, shape (n_items, n_features), float32.

        Raises
        ------
        DataError
            When the table lacks a column, or one holds other things than in training.
        """
        missing = [name for name in self.kinds if name not in table.columns]
        if missing:
            raise DataError(
                f"{table.where} lacks attributes that the model was trained on: expected {', '.join(missing)}. "
                f"Received: {', '.join(table.columns) or 'none'}."
            )
        return np.concatenate(
            [column.encode(table.columns[column.name], table.where) for column in self.columns], axis=1
        )

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of results must know, a sentence each without its full stop."""
        return tuple(
            f"attribute {column.name!r} has {len(column.labels) + column.n_rare} labels, of which the "
            f"{len(column.labels)} most frequent are used"
            for column in self.columns
            if isinstance(column, LabelEncoding) and column.n_rare
        )

    def document(self) -> dict[str, Any]:
        """Return the encoding as JSON values; float64 loses nothing by its decimals."""
        return {"schema_version": ENCODING_VERSION, "columns": [_describe(column) for column in self.columns]}


def fit_encoding(train: AttributeTable, max_categories: int) -> Encoding:
    """Return an encoding of the columns of train tracks' attributes.

    Parameters
    ----------
    train
        Of train tracks that have attributes, and of no others.
    max_categories
        Labels of a column that get a place; of more the most frequent do, and of equals the first by alphabet.

    Raises
    ------
    DataError
        When nothing varies among the train tracks.
    """
    columns = tuple(_fit_column(name, column, max_categories) for name, column in train.columns.items())
    encoding = Encoding(columns)
    if not np.ptp(encoding.encode(train), axis=0).any():
        raise DataError(
            f"{train.where} says the same of all {len(train)} train tracks that it knows: there is nothing to "
            "learn from."
        )
    return encoding


def read_encoding(document: Any, where: str) -> Encoding:
    """Return the encoding that `Encoding.document` made `document` of.

    Raises
    ------
    DataError
        When it is of another version or not valid.
    """
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != ENCODING_VERSION:
        raise DataError(f"{where} has schema version {version!r}; this release reads {ENCODING_VERSION}.")
    try:
        return Encoding(tuple(_from_description(column) for column in document["columns"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} is not as `cs-keras run-baselines` writes it: {error}.") from error


def _fit_column(name: str, column: Column, max_categories: int) -> ColumnEncoding:
    if isinstance(column, NumericColumn):
        return _fit_numbers(name, column.values)
    counts = Counter(label for labels in column.values for label in labels)
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    kept = tuple(sorted(ranked[:max_categories]))
    return LabelEncoding(name, kept, column.kind, len(ranked) - len(kept))


def _fit_numbers(name: str, values: npt.NDArray[Any]) -> NumericEncoding:
    missing = np.isnan(values)
    n = np.maximum((~missing).sum(axis=0), 1)
    mean = np.where(missing, 0, values).sum(axis=0, dtype=np.float64) / n
    variance = np.square(np.where(missing, 0, values - mean)).sum(axis=0, dtype=np.float64) / n
    same = np.where(missing, -np.inf, values).max(axis=0) == np.where(missing, np.inf, values).min(axis=0)
    scale = np.where(same | missing.all(axis=0), 0, np.sqrt(variance))  # rounding of the mean is no variation
    some = missing.any(axis=0) & ~missing.all(axis=0)
    return NumericEncoding(name, mean, scale, tuple(np.flatnonzero(some).tolist()))


def _describe(column: ColumnEncoding) -> dict[str, Any]:
    if isinstance(column, LabelEncoding):
        labels = list(column.labels)
        return {"name": column.name, "kind": column.kind, "n_rare": column.n_rare, "labels": labels}
    return {
        "name": column.name,
        "kind": column.kind,
        "mean": column.mean.tolist(),
        "scale": column.scale.tolist(),
        "indicators": list(column.indicators),
    }


def _from_description(column: Mapping[str, Any]) -> ColumnEncoding:
    name = str(column["name"])
    if column["kind"] != "numeric":
        return LabelEncoding(name, _texts(column["labels"]), str(column["kind"]), int(column["n_rare"]))
    mean, scale = (np.array(column[part], np.float64) for part in ("mean", "scale"))
    indicators = tuple(int(place) for place in column["indicators"])
    if mean.ndim != 1 or mean.shape != scale.shape or any(not 0 <= place < len(mean) for place in indicators):
        raise ValueError(f"mean and scale of {name!r} have shapes {mean.shape} and {scale.shape}")
    return NumericEncoding(name, mean, scale, indicators)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
