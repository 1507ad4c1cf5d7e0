"""Attributes as one vector per item: an encoding fitted on train tracks, saved as JSON, applied to any item.

Numbers are standardised, if wanted after a map of their quantiles to those of a normal distribution; a missing one
is 0, the train tracks' mean, with an indicator if any train track misses it. Categories and labels are one-hot or
multi-hot; those unknown to the train tracks are ignored. Of sequences, the statistics over frames are numbers; or
frames are kept, for models that pool them.

Of joined tables, each is a block with the same total variance among train tracks (block scaling of multiblock
analysis, Westerhuis, Kourti and MacGregor 1998), so that a table of many numbers does not outweigh one of few.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.special

from cs_keras.data.attributes.columns import Column, LabelColumn, NumericColumn, SequenceColumn
from cs_keras.data.attributes.table import AttributeTable
from cs_keras.errors import DataError

ENCODING_VERSION = 1
SCALINGS = ("standardize", "quantile")
N_QUANTILES = 200
MIN_LEVEL = 1e-7  # of a number below or above all of the train tracks: 5.2 standard deviations
MAX_DEVIATION = 1e6  # standard deviations at which numbers are clipped, so that typing errors stay harmless

Matrix = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class NumericEncoding:
    """Encoding of a column of numbers.

    `mean` and `scale` are mean and standard deviation of train tracks, shape (n_numbers,); scale 0 marks
    constant numbers, encoded as 0. `indicators` are the positions of the numbers with an indicator of missing
    values, ascending. `quantiles` are those of train tracks at evenly spaced levels from 0 to 1, shape
    (n_quantiles, n_numbers), which are mapped to those of a normal distribution first, as scikit-learn's
    ``QuantileTransformer`` does; mean and scale are of the mapped numbers.
    """

    name: str
    mean: Numbers
    scale: Numbers
    indicators: tuple[int, ...]
    quantiles: Numbers | None = None

    kind = "numeric"

    @property
    def n_features(self) -> int:
        """Size of an encoded item."""
        return len(self.mean) + len(self.indicators)

    def encode(self, column: Column, where: str) -> Matrix:
        """Return shape (n_items, n_features), float32; DataError for a column of another kind or length."""
        column = column.pool() if isinstance(column, SequenceColumn) else column
        if not isinstance(column, NumericColumn) or column.values.shape[1] != len(self.mean):
            found = f"{column.values.shape[1]} numbers" if isinstance(column, NumericColumn) else column.kind
            raise DataError(
                f"{where}: {self.name!r} must hold {len(self.mean)} numbers, as in training. Received: {found}."
            )
        missing = np.isnan(column.values)
        given = column.values if self.quantiles is None else _map_to_normal(column.values, self.quantiles)
        scaled = (given - self.mean) / np.where(self.scale > 0, self.scale, 1)
        values = np.where(missing | (self.scale == 0), 0, np.clip(scaled, -MAX_DEVIATION, MAX_DEVIATION))
        return np.concatenate([values, missing[:, list(self.indicators)]], axis=1, dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelEncoding:
    """Encoding of a column of labels: sorted ones that are encoded, and the number of rarer ones that are not."""

    name: str
    labels: tuple[str, ...]
    kind: str
    n_rare: int = 0

    @property
    def n_features(self) -> int:
        """Size of an encoded item."""
        return len(self.labels)

    def encode(self, column: Column, where: str) -> Matrix:
        """Return shape (n_items, n_features), float32; DataError for a column of numbers."""
        if not isinstance(column, LabelColumn):
            raise DataError(f"{where}: {self.name!r} must hold text, as in training. Received: numbers.")
        position = {label: number for number, label in enumerate(self.labels)}
        encoded = np.zeros((len(column.values), len(position)), np.float32)
        for row, labels in zip(encoded, column.values, strict=True):
            row[[position[label] for label in labels if label in position]] = 1
        return encoded


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceEncoding:
    """Encoding of a column of frames: `n_frames` of each item, each with a flag, 1 where there is one.

    `mean` and `scale` are those of `NumericEncoding`, over the frames of train tracks. Items with more frames are
    represented by evenly spaced ones.
    """

    name: str
    mean: Numbers
    scale: Numbers
    n_frames: int

    kind = "sequence"

    @property
    def n_features(self) -> int:
        """Size of an encoded item: n_frames * (n_numbers + 1)."""
        return self.n_frames * (len(self.mean) + 1)

    def encode(self, column: Column, where: str) -> Matrix:
        """Return shape (n_items, n_features), float32; DataError for a column of another kind or length."""
        if not isinstance(column, SequenceColumn) or column.frames.shape[1] != len(self.mean):
            found = f"{column.frames.shape[1]} numbers" if isinstance(column, SequenceColumn) else column.kind
            raise DataError(
                f"{where}: {self.name!r} must hold frames of {len(self.mean)} numbers, as in training. Received: "
                f"{found}."
            )
        numbers = NumericEncoding(self.name, self.mean, self.scale, ())
        frames = numbers.encode(NumericColumn(column.frames), where)
        encoded = np.zeros((len(column.offsets) - 1, self.n_frames, len(self.mean) + 1), np.float32)
        for row, own in zip(encoded, SequenceColumn(frames, column.offsets), strict=True):
            n = min(len(own), self.n_frames)
            if n:
                row[:n, :-1] = own[np.linspace(0, len(own) - 1, n).round().astype(int)]
                row[:n, -1] = 1
        return encoded.reshape(len(encoded), -1)


ColumnEncoding: TypeAlias = NumericEncoding | LabelEncoding | SequenceEncoding


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """The concatenated encodings of all columns, each multiplied by its weight; without `weights`, as they are."""

    columns: tuple[ColumnEncoding, ...]
    weights: tuple[float, ...] = ()

    @property
    def n_features(self) -> int:
        """Size of a vector."""
        return sum(column.n_features for column in self.columns)

    @property
    def n_frames(self) -> int:
        """Number of frames of which a vector consists; 0 for one that does not."""
        return sum(column.n_frames for column in self.columns if isinstance(column, SequenceEncoding))

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each column by its name, for reading tables of new items."""
        return {column.name: column.kind for column in self.columns}

    def encode(self, table: AttributeTable) -> Matrix:
        """Return the vectors of all items, shape (n_items, n_features), float32.

        Raises DataError when the table lacks a column, or one has another kind than in training.
        """
        missing = [name for name in self.kinds if name not in table.columns]
        if missing:
            raise DataError(
                f"{table.where} lacks attributes that the model was trained on: expected {', '.join(missing)}. "
                f"Received: {', '.join(table.columns) or 'none'}."
            )
        weights = self.weights or (1.0,) * len(self.columns)
        encoded = [
            column.encode(table.columns[column.name], table.where) * np.float32(weight)
            for column, weight in zip(self.columns, weights, strict=True)
        ]
        return np.concatenate(encoded, axis=1)

    def notes(self) -> tuple[str, ...]:
        """Return notes for reports, a sentence each without its full stop."""
        return tuple(
            f"attribute {column.name!r} has {len(column.labels) + column.n_rare} labels, of which the "
            f"{len(column.labels)} most frequent are used"
            for column in self.columns
            if isinstance(column, LabelEncoding) and column.n_rare
        )

    def document(self) -> dict[str, Any]:
        """Return the encoding as JSON values, which keep float64 exactly."""
        columns = [_describe(column) for column in self.columns]
        weights = {"weights": list(self.weights)} if self.weights else {}
        return {"schema_version": ENCODING_VERSION, "columns": columns, **weights}


def fit_encoding(
    train: AttributeTable, max_categories: int, max_frames: int = 0, scaling: str = "standardize"
) -> Encoding:
    """Fit an encoding to the attributes of train tracks only.

    A column encodes at most `max_categories` labels: the most frequent, ties in alphabetical order. Of a sequence,
    `max_frames` are kept, or, if 0, statistics. `scaling` of numbers, other than those of frames, is one of
    `SCALINGS`. Raises DataError when no attribute varies among the train tracks.
    """
    columns = tuple(
        _fit_column(name, column, max_categories, max_frames, scaling)
        for name, column in train.columns.items()
    )
    encoding = Encoding(columns)
    encoded = encoding.encode(train)
    if not np.ptp(encoded, axis=0).any():
        raise DataError(
            f"{train.where}: no attribute varies among the {len(train)} train tracks; expected at least one that "
            "does."
        )
    return dataclasses.replace(encoding, weights=_weigh_blocks(encoding, train.joined, encoded))


def read_encoding(document: Any, where: str) -> Encoding:
    """Return the encoding of a document of `Encoding.document`.

    Raises DataError when it has another version or is invalid.
    """
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != ENCODING_VERSION:
        raise DataError(f"{where} has schema version {version!r}; this release reads {ENCODING_VERSION}.")
    try:
        columns = tuple(_from_description(column) for column in document["columns"])
        weights = tuple(map(float, document.get("weights", ())))
        if weights and len(weights) != len(columns):
            raise ValueError(f"there are {len(weights)} weights of {len(columns)} columns")
        return Encoding(columns, weights)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} is not a file of `cs-keras run-baselines`, or damaged: {error}.") from error


def _weigh_blocks(encoding: Encoding, tables: Sequence[str], encoded: Matrix) -> tuple[float, ...]:
    """Return a weight for each column, by which joined `tables` have equal total variances; none without tables.

    The mean variance of features is then 1.
    """
    if not tables:
        return ()
    owners = [column.name.partition(".")[0] for column in encoding.columns]
    of_feature = np.repeat(owners, [column.n_features for column in encoding.columns])
    variances = encoded.var(axis=0, dtype=np.float64)
    totals = {table: float(variances[of_feature == table].sum()) for table in tables}
    share = len(variances) / sum(total > 0 for total in totals.values())
    weights = {table: float(np.sqrt(share / total)) if total else 1.0 for table, total in totals.items()}
    return tuple(weights[owner] for owner in owners)


def _fit_column(
    name: str, column: Column, max_categories: int, max_frames: int, scaling: str
) -> ColumnEncoding:
    if isinstance(column, SequenceColumn):
        if not max_frames:
            return _fit_numbers(name, column.pool().values, scaling)
        numbers = _fit_numbers(name, column.frames, "standardize")
        return SequenceEncoding(name, numbers.mean, numbers.scale, max_frames)
    if isinstance(column, NumericColumn):
        return _fit_numbers(name, column.values, scaling)
    counts = Counter(label for labels in column.values for label in labels)
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    used = tuple(sorted(ranked[:max_categories]))
    return LabelEncoding(name, used, column.kind, len(ranked) - len(used))


def _fit_numbers(name: str, values: npt.NDArray[Any], scaling: str) -> NumericEncoding:
    missing, quantiles = np.isnan(values), None
    if scaling == "quantile":
        levels = np.linspace(0, 1, min(N_QUANTILES, len(values)))
        quantiles = np.nanquantile(np.where(missing.all(axis=0), 0, values), levels, axis=0)
        quantiles = np.maximum.accumulate(quantiles)  # despite rounding
        values = _map_to_normal(values, quantiles)
    n = np.maximum((~missing).sum(axis=0), 1)
    mean = np.where(missing, 0, values).sum(axis=0, dtype=np.float64) / n
    variance = np.square(np.where(missing, 0, values - mean)).sum(axis=0, dtype=np.float64) / n
    same = np.where(missing, -np.inf, values).max(axis=0) == np.where(missing, np.inf, values).min(axis=0)
    scale = np.where(same | missing.all(axis=0), 0, np.sqrt(variance))  # despite rounding of the mean
    some = missing.any(axis=0) & ~missing.all(axis=0)
    return NumericEncoding(name, mean, scale, tuple(np.flatnonzero(some).tolist()), quantiles)


def _map_to_normal(values: npt.NDArray[Any], quantiles: Numbers) -> Numbers:
    """Map each column by its quantiles to a normal distribution; where several are equal, to the middle level."""
    levels = np.linspace(0, 1, len(quantiles))
    mapped = np.empty(values.shape)
    for number, (own, ends) in enumerate(zip(values.T, quantiles.T, strict=True)):
        below, above = np.interp(own, ends, levels), 1 - np.interp(-own, -ends[::-1], levels)
        mapped[:, number] = (below + above) / 2
    return np.asarray(scipy.special.ndtri(np.clip(mapped, MIN_LEVEL, 1 - MIN_LEVEL)))


def _describe(column: ColumnEncoding) -> dict[str, Any]:
    described = {"name": column.name, "kind": column.kind}
    if isinstance(column, LabelEncoding):
        return {**described, "n_rare": column.n_rare, "labels": list(column.labels)}
    numbers = {"mean": column.mean.tolist(), "scale": column.scale.tolist()}
    if isinstance(column, SequenceEncoding):
        return {**described, **numbers, "n_frames": column.n_frames}
    if column.quantiles is not None:
        numbers["quantiles"] = column.quantiles.tolist()
    return {**described, **numbers, "indicators": list(column.indicators)}


def _from_description(column: Mapping[str, Any]) -> ColumnEncoding:
    name = str(column["name"])
    if column["kind"] not in ("numeric", "sequence"):
        labels = tuple(map(str, column["labels"]))
        return LabelEncoding(name, labels, str(column["kind"]), int(column["n_rare"]))
    mean, scale = (np.array(column[part], np.float64) for part in ("mean", "scale"))
    indicators = tuple(map(int, column.get("indicators", ())))
    if mean.ndim != 1 or mean.shape != scale.shape or any(not 0 <= i < len(mean) for i in indicators):
        raise ValueError(f"mean and scale of {name!r} have shapes {mean.shape} and {scale.shape}")
    if column["kind"] == "sequence":
        return SequenceEncoding(name, mean, scale, int(column["n_frames"]))
    quantiles = np.array(column["quantiles"], np.float64) if "quantiles" in column else None
    if quantiles is not None and (
        quantiles.ndim != 2 or quantiles.shape[1:] != mean.shape or not len(quantiles)
    ):
        raise ValueError(f"quantiles of {name!r} have shape {quantiles.shape}")
    return NumericEncoding(name, mean, scale, indicators, quantiles)
