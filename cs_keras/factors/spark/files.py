"""Interactions in Parquet, read by Spark into a matrix of counts that begins with a dataset's part."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cs_keras.errors import DataError
from cs_keras.factors.interaction_files import MAX_ID_LENGTH, find_columns
from cs_keras.factors.interactions import N_EXAMPLES, RowCounts
from cs_keras.factors.spark.counts import SparkCounts

Ids = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class SparkInteractions:
    """Interactions with all tracks.

    Attributes
    ----------
    counts
        Its first columns are the dataset's tracks, its first rows the playlists with any of these.
    playlist_ids
        Of these playlists, sorted.
    tally
        Rows read, merged and left out, as if the other tracks were.
    """

    counts: SparkCounts
    playlist_ids: Ids
    tally: RowCounts


def read_spark_interactions(
    spark: Any,
    path: str,
    track_ids: Ids,
    *,
    playlist_column: str | None = None,
    track_column: str | None = None,
    count_column: str | None = None,
) -> SparkInteractions:
    """Read a Parquet file, or a folder of them, as `cs_keras.factors.interaction_files.read_interactions` does.

    Parameters
    ----------
    spark
        SparkSession whose workers read `path`, a path or a URL of Hadoop's file systems.
    track_ids
        The dataset's tracks, in order.
    playlist_column, track_column, count_column
        See `read_interactions`.

    Raises
    ------
    DataError
        There are no rows, a column is missing or of another type, a row has an empty id or a count that is not a
        finite number of at least 0, or no track is in the dataset.
    """
    from pyspark.sql import functions as F

    rows = spark.read.parquet(path)
    named = find_columns(rows.columns, path, playlist_column, track_column, count_column)
    if "feedback" in named:
        raise DataError(
            f"{path}: likes and dislikes are read by the engine implicit alone: expected no column "
            f"{named['feedback']!r}. Received: {', '.join(rows.columns)}."
        )
    _check_types(rows, named, path)
    count = F.col(f"`{named['count']}`").cast("double") if "count" in named else F.lit(1.0)
    rows = rows.select(
        _trim(named["playlist"]).alias("playlist"), _trim(named["track"]).alias("track"), count.alias("count")
    )
    n_rows, n_positive = _check_rows(rows, path)

    pairs = rows.where("count > 0").groupBy("playlist", "track").agg(F.sum("count").alias("count"))
    tracks = _strings(pairs.select("track").distinct())
    if not np.isin(tracks, track_ids).any():
        raise DataError(
            f"the interactions and the dataset have no track in common: the dataset holds "
            f"{', '.join(map(repr, track_ids[:3].tolist()))}, the interactions "
            f"{', '.join(map(repr, tracks[:3].tolist()))}."
        )
    others = np.setdiff1d(tracks, track_ids)
    pairs = _number(pairs, "track", np.concatenate([track_ids, others]), "column").cache()
    playlists = pairs.groupBy("playlist").agg((F.min("column") < len(track_ids)).alias("own")).cache()
    own, rest = (_strings(playlists.where(which).select("playlist")) for which in ("own", "not own"))
    pairs = _number(pairs, "playlist", np.concatenate([own, rest]), "row")
    frame = pairs.select("row", "column", F.col("count").cast("float")).cache()

    n_pairs = frame.count()
    shape = len(own) + len(rest), len(track_ids) + len(others)
    rows, columns = (np.arange(size, dtype=np.int32) for size in shape)
    tally = RowCounts(
        n_rows,
        n_merged_rows=n_positive - n_pairs,
        n_zero_rows=n_rows - n_positive,
        n_unknown_tracks=len(others),
        n_unknown_pairs=frame.where(F.col("column") >= len(track_ids)).count(),
        unknown_tracks=tuple(others[:N_EXAMPLES].tolist()),
        n_empty_playlists=len(rest),
    )
    return SparkInteractions(SparkCounts(frame, n_pairs, rows, columns, shape), own, tally)


def _check_types(rows: Any, named: dict[str, str], path: str) -> None:
    from pyspark.sql import types

    ids = (types.StringType, types.IntegralType)
    for what, name in named.items():
        found = rows.schema[name].dataType
        if not isinstance(found, ids if what != "count" else (*ids, types.NumericType)):
            expected = "numbers" if what == "count" else "ids, as text or integers"
            raise DataError(f"{path}: {name!r} must hold {expected}. Received: {found.simpleString()}.")


def _trim(name: str) -> Any:
    """Return a column as text without surrounding blanks; a missing value is empty text."""
    from pyspark.sql import functions as F

    text = F.coalesce(F.col(f"`{name}`").cast("string"), F.lit(""))
    return F.regexp_replace(text, r"(?U)^\s+|\s+$", "")


def _check_rows(rows: Any, path: str) -> tuple[int, int]:
    """Return the numbers of rows and of counts above 0; raise DataError for invalid ones."""
    from pyspark.sql import functions as F

    count = F.col("count")
    is_valid = (count >= 0) & (count <= float(np.finfo(np.float32).max))  # NaN is above all numbers to Spark
    checks = {
        name: F.count_if(condition)
        for name, condition in {
            "an empty id": (F.col("playlist") == "") | (F.col("track") == ""),
            f"an id over {MAX_ID_LENGTH} characters": (F.length("playlist") > MAX_ID_LENGTH)
            | (F.length("track") > MAX_ID_LENGTH),
            "a count that is not a finite number of at least 0": ~F.coalesce(is_valid, F.lit(False)),
            "a count above 0": is_valid & (count > 0),
        }.items()
    }
    n_rows, *found = rows.agg(F.count("*"), *checks.values()).first()
    *invalid, n_positive = zip(checks, found, strict=True)
    for problem, number in invalid:
        if number:
            raise DataError(f"{path}: {number} of {n_rows} rows have {problem}.")
    if not n_positive[1]:
        problem = "every count is 0; expected at least one above 0" if n_rows else "the file holds no rows"
        raise DataError(f"{path}: {problem}.")
    return n_rows, n_positive[1]


def _number(pairs: Any, name: str, ids: Ids, number: str) -> Any:
    """Replace ids by their positions in `ids`."""
    numbers = pa.table(
        {name: pa.array(ids.tolist(), pa.string()), number: np.arange(len(ids), dtype=np.int32)}
    )
    return pairs.join(pairs.sparkSession.createDataFrame(numbers), name).drop(name)


def _strings(frame: Any) -> Ids:
    """Collect a column of text, sorted."""
    return np.sort(np.array(frame.toArrow().column(0).to_pylist(), np.str_))
