"""Interaction files (CSV, TSV, Parquet, playlists in JSON), read block by block into a matrix of counts."""

import datetime
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse

from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.interactions import Interactions, RowCounts, mark_pairs
from cs_keras.factors.tables import open_table

PLAYLIST_COLUMNS = (
    *("playlist", "playlist_id", "playlistid", "playlist_uri", "pid"),
    *("user", "user_id", "userid", "uid", "listener", "listener_id", "session", "session_id"),
)
TRACK_COLUMNS = (
    *("track", "track_id", "trackid", "track_uri", "tid", "item", "item_id", "itemid", "iid"),
    *("song", "song_id", "songid", "recording", "recording_id", "isrc"),
)
COUNT_COLUMNS = (
    *("count", "counts", "plays", "play_count", "playcount", "listens", "listen_count", "listening_count"),
    *("n", "weight"),
)
FEEDBACK_COLUMNS = ("feedback",)
TIME_COLUMNS = (
    *("timestamp", "time", "datetime", "date", "played_at", "listened_at", "added_at", "ts"),
    *("unix_time", "created_at"),
)
ID_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
COUNT_TYPES = (*ID_TYPES, pa.types.is_floating, pa.types.is_decimal)
MAX_ID_LENGTH = 1000  # ids become fixed-width text: one runaway quotation would fill the memory


def read_interactions(
    path: str | os.PathLike[str],
    *,
    playlist_column: str | None = None,
    track_column: str | None = None,
    count_column: str | None = None,
    feedback_column: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Interactions:
    """Read an interactions file: one row for each playlist and track.

    Ids are text with surrounding blanks removed: "007" stays "007". Rows of the same playlist and track are summed.
    The result does not depend on the order of the rows. The file is read block by block: memory holds numbers for
    each row, and each id once.

    A column ``feedback`` holds 1 for a like, 0 or -1 for a dislike, and nothing for neither. A playlist and track
    with a dislike, and no like, are no interaction, whatever else is known of them, but one of the dislikes. Likes
    are interactions with their count, as rows without feedback are.

    Parameters
    ----------
    path : path-like
        CSV, TSV or Parquet. Text may be compressed (``.gz``, ``.bz2``) and may begin with a byte order mark. Or a
        slice of the Million Playlist Dataset, ``{"playlists": [{"pid": 0, "tracks": [{"track_uri": "…"}]}]}``, or a
        folder of such ``.json`` files, which are read one at a time. Each track of a playlist counts as 1.
    playlist_column, track_column, count_column : str, optional
        Column names, in any case. By default the first present of `PLAYLIST_COLUMNS`, `TRACK_COLUMNS` and
        `COUNT_COLUMNS`. A file without a count column counts each row as 1.
    feedback_column : str, optional
        Name of the column of likes and dislikes; by default ``feedback``, if there is one.
    encoding, delimiter : str, optional
        Format of a text file; see `cs_keras.factors.tables.open_table`.

    Returns
    -------
    Interactions
        With sorted ids.

    Raises
    ------
    StorageError
        The file is missing, a folder, or cannot be read.
    DataError
        The file is empty, is not a table, lacks a column, or has a row with an empty id, a count that is not a
        finite number of at least 0, or another feedback. The message names the row, counted from 1 after the
        header.
    ConfigError
        The encoding is unknown or the delimiter is not one character.
    """
    blocks: Iterable[_Block]
    if slices := _find_slices(Path(path)):
        if playlist_column or track_column or count_column or feedback_column or delimiter or encoding:
            raise ConfigError(
                f"{path}: JSON slices have no columns to name, no delimiter and one encoding, UTF-8."
            )
        blocks = map(_read_slice, slices)
    else:
        table = open_table(path, encoding=encoding, delimiter=delimiter)
        columns = find_columns(
            table.column_names, path, playlist_column, track_column, count_column, feedback_column
        )
        blocks = _read_blocks(table.batches(list(columns.values())), columns, path)
    playlists, tracks, counts, feedback = _join(blocks)
    if not len(counts):
        raise DataError(f"{path}: the file holds no rows, only a header.")
    if not counts.any():
        raise DataError(f"{path}: every count is 0; expected at least one above 0.")
    is_disliked = None if feedback is None else _find_dislikes(playlists, tracks, feedback)
    if is_disliked is not None and not counts[~is_disliked].any():
        raise DataError(f"{path}: every interaction is a dislike; expected at least one like or play.")
    return _count_pairs(playlists, tracks, counts, is_disliked)


_Block = tuple[
    pa.DictionaryArray, pa.DictionaryArray, npt.NDArray[np.float64], npt.NDArray[np.float64] | None
]


def _join(blocks: Iterable[_Block]) -> _Block:
    """Return the rows of all blocks, with each id once."""
    playlists: dict[str, int] = {}
    tracks: dict[str, int] = {}
    rows, columns, counts, feedback = [], [], [], []
    for its_playlists, its_tracks, its_counts, its_feedback in blocks:
        rows.append(_number(its_playlists, playlists))
        columns.append(_number(its_tracks, tracks))
        counts.append(its_counts)
        if its_feedback is not None:
            feedback.append(its_feedback)

    def encode(codes: list[npt.NDArray[np.int32]], numbers: dict[str, int]) -> pa.DictionaryArray:
        joined = np.concatenate([np.empty(0, np.int32), *codes])
        return pa.DictionaryArray.from_arrays(joined, pa.array(numbers, pa.large_string()))

    joined = np.concatenate([np.empty(0), *counts])
    return (
        encode(rows, playlists),
        encode(columns, tracks),
        joined,
        np.concatenate(feedback) if feedback else None,
    )


def _number(ids: pa.DictionaryArray, numbers: dict[str, int]) -> npt.NDArray[np.int32]:
    """Return the number of each id, shape (n_rows,), after new ones were added to `numbers`."""
    own = [numbers.setdefault(name, len(numbers)) for name in ids.dictionary.to_pylist()]
    encoded: npt.NDArray[np.int32] = np.array(own, np.int32)[ids.indices.to_numpy()]
    return encoded


def _read_blocks(
    blocks: Iterable[pa.RecordBatch], columns: dict[str, str], path: str | os.PathLike[str]
) -> Iterator[_Block]:
    """Yield the playlists, tracks, counts and feedback of each block of a table."""
    n_before = 0
    for block in blocks:
        data = pa.Table.from_batches([block])
        playlists = _ids(data, columns["playlist"], path, n_before)
        tracks = _ids(data, columns["track"], path, n_before)
        counts = _counts(data, columns["count"], path, n_before) if "count" in columns else np.ones(len(data))
        feedback = _feedback(data, columns["feedback"], path, n_before) if "feedback" in columns else None
        yield playlists, tracks, counts, feedback
        n_before += len(data)


class _Track(msgspec.Struct):
    track_uri: str


class _Playlist(msgspec.Struct):
    pid: int
    tracks: list[_Track]


class _Slice(msgspec.Struct):
    playlists: list[_Playlist]


def _find_slices(path: Path) -> list[Path]:
    """Return the JSON files that `path` is or holds; none for a table."""
    if path.is_dir():
        return sorted(path.glob("*.json"))
    return [path] if path.suffix.lower() == ".json" else []


def _read_slice(path: Path) -> _Block:
    """Return the playlists, tracks and counts of a slice of the Million Playlist Dataset."""
    try:
        playlists = msgspec.json.decode(path.read_bytes(), type=_Slice).playlists
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected a slice of playlists, each with pid and tracks, each with track_uri. "
            f"Received: {str(error).rstrip('.')}."
        ) from error
    ids = [str(playlist.pid) for playlist in playlists for _ in playlist.tracks]
    uris = [track.track_uri.strip() for playlist in playlists for track in playlist.tracks]
    data = pa.table({"pid": pa.array(ids, pa.string()), "track_uri": pa.array(uris, pa.string())})
    return _ids(data, "pid", path), _ids(data, "track_uri", path), np.ones(len(data)), None


def find_columns(
    names: Sequence[str],
    path: str | os.PathLike[str],
    playlist_column: str | None = None,
    track_column: str | None = None,
    count_column: str | None = None,
    feedback_column: str | None = None,
) -> dict[str, str]:
    """Return the names of the columns ``playlist``, ``track`` and, where there are any, ``count`` and ``feedback``.

    See `read_interactions`, which raises the same errors.
    """
    columns = {
        "playlist": _find_column(names, "playlist", playlist_column, PLAYLIST_COLUMNS, path),
        "track": _find_column(names, "track", track_column, TRACK_COLUMNS, path),
    }
    if count_column is not None or _guess(names, COUNT_COLUMNS) is not None:
        columns["count"] = _find_column(names, "count", count_column, COUNT_COLUMNS, path)
    if feedback_column is not None or _guess(names, FEEDBACK_COLUMNS) is not None:
        columns["feedback"] = _find_column(names, "feedback", feedback_column, FEEDBACK_COLUMNS, path)
    return columns


def read_first_times(path: str | os.PathLike[str], *, time_column: str | None = None) -> dict[str, float]:
    """Return the time of each track's first interaction, by track id: numbers as they are, dates in seconds.

    The file is as for `read_interactions`, with a column of times: numbers, or dates such as 2009-05-04 or
    2009-05-04T23:08:57Z. Errors are the same.
    """
    table = open_table(path)
    columns = [
        _find_column(table.column_names, "track", None, TRACK_COLUMNS, path),
        _find_column(table.column_names, "time", time_column, TIME_COLUMNS, path),
    ]
    first: dict[str, float] = {}
    n_before = 0
    for block in table.batches(columns):
        data = pa.Table.from_batches([block])
        tracks = _ids(data, columns[0], path, n_before)
        times = np.full(len(tracks.dictionary), np.inf)
        np.minimum.at(
            times, tracks.indices.to_numpy(), _seconds(data[columns[1]], columns[1], path, n_before)
        )
        for track, time in zip(tracks.dictionary.to_pylist(), times.tolist(), strict=True):
            first[track] = min(time, first.get(track, np.inf))
        n_before += len(data)
    if not first:
        raise DataError(f"{path}: the file holds no rows, only a header.")
    return first


def _seconds(
    column: pa.ChunkedArray, name: str, path: str | os.PathLike[str], n_before: int
) -> npt.NDArray[np.float64]:
    """Return times as numbers: those of a numeric column, or seconds since 1970 of dates."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    text = pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.large_string()), "")).to_pylist()
    seconds = np.array([_parse_time(value) for value in text])
    bad = np.flatnonzero(~np.isfinite(seconds))
    if len(bad):
        raise DataError(
            f"{path}: row {n_before + bad[0] + 1}: {name!r} must be a number or a date such as "
            f"2009-05-04T23:08:57. Received: {text[bad[0]]!r}."
        )
    return seconds


def _parse_time(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        pass
    try:
        time = datetime.datetime.fromisoformat(value)
    except ValueError:
        return float("nan")
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def _find_column(
    names: Sequence[str], what: str, name: str | None, usual: Sequence[str], path: str | os.PathLike[str]
) -> str:
    found = _guess(names, usual if name is None else (name,))
    if found is None:
        expected = f"one of {', '.join(usual)} (or name yours)" if name is None else f"{name!r}"
        raise DataError(f"{path}: no {what} column: expected {expected}. Received: {', '.join(names)}.")
    if list(names).count(found) > 1:
        raise DataError(f"{path}: the {what} column {found!r} must be unique, but the header names it twice.")
    return found


def _guess(names: Sequence[str], usual: Sequence[str]) -> str | None:
    present = {name.strip().casefold(): name for name in reversed(names)}
    return next((present[name] for name in (n.strip().casefold() for n in usual) if name in present), None)


def _ids(data: pa.Table, name: str, path: str | os.PathLike[str], n_before: int = 0) -> pa.DictionaryArray:
    ids = _text(data, name, ID_TYPES, path)
    length = pc.utf8_length(ids)
    _refuse_rows(pc.equal(length, 0), f"an empty {name!r}", path, n_before)
    too_long = f"over {MAX_ID_LENGTH} characters as {name!r}"
    _refuse_rows(pc.greater(length, MAX_ID_LENGTH), too_long, path, n_before)
    return ids.combine_chunks().dictionary_encode()


def _text(
    data: pa.Table, name: str, types: Sequence[Callable[[pa.DataType], bool]], path: str | os.PathLike[str]
) -> pa.ChunkedArray:
    """Return a column as text without surrounding blanks; a missing value is empty text."""
    column = data[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not any(is_type(column.type) for is_type in types):
        expected = "ids, as text or integers" if types is ID_TYPES else "numbers"
        raise DataError(f"{path}: {name!r} must hold {expected}. Received: {column.type}.")
    return pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.large_string()), ""))


def _counts(
    data: pa.Table, name: str, path: str | os.PathLike[str], n_before: int
) -> npt.NDArray[np.float64]:
    text = _text(data, name, COUNT_TYPES, path)
    try:
        counts: npt.NDArray[np.float64] = text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        counts = np.array([_parse_count(value) for value in text.to_pylist()])
    bad = np.flatnonzero(~((counts >= 0) & (counts <= np.finfo(np.float32).max)))
    if len(bad):
        raise DataError(
            f"{path}: row {n_before + bad[0] + 1}: {name!r} must be a finite number of at least 0. "
            f"Received: {text[int(bad[0])].as_py()!r}."
        )
    return counts


def _feedback(
    data: pa.Table, name: str, path: str | os.PathLike[str], n_before: int
) -> npt.NDArray[np.float64]:
    text = _text(data, name, COUNT_TYPES, path).combine_chunks().dictionary_encode()
    values = np.array([_parse_feedback(value) for value in text.dictionary.to_pylist()], np.float64)
    feedback: npt.NDArray[np.float64] = values[text.indices.to_numpy()]
    bad = np.flatnonzero(np.isnan(feedback))
    if len(bad):
        raise DataError(
            f"{path}: row {n_before + bad[0] + 1}: {name!r} must be 1 for a like, 0 or -1 for a dislike, or empty. "
            f"Received: {text[int(bad[0])].as_py()!r}."
        )
    return feedback


def _find_dislikes(
    playlists: pa.DictionaryArray, tracks: pa.DictionaryArray, feedback: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which rows are of a playlist and track with a dislike and no like."""
    playlist, track = (column.indices.to_numpy().astype(np.int64) for column in (playlists, tracks))
    pairs = playlist * len(tracks.dictionary) + track
    return np.isin(pairs, np.setdiff1d(pairs[feedback < 0], pairs[feedback > 0]))


def _parse_feedback(value: str) -> float:
    """Return 1 for a like, -1 for a dislike, 0 for neither, and NaN for anything else."""
    likes = {1.0: 1.0, 0.0: -1.0, -1.0: -1.0}
    return likes.get(_parse_count(value), float("nan")) if value else 0.0


def _parse_count(value: str) -> float:
    try:
        return float(pa.scalar(value).cast(pa.float64()).as_py())
    except pa.ArrowInvalid:
        return float("nan")


def _refuse_rows(is_bad: pa.ChunkedArray, what: str, path: str | os.PathLike[str], n_before: int) -> None:
    row = pc.index(is_bad, True).as_py()
    if row >= 0:
        raise DataError(f"{path}: row {n_before + row + 1} has {what}; expected an id.")


def _count_pairs(
    playlists: pa.DictionaryArray,
    tracks: pa.DictionaryArray,
    counts: npt.NDArray[np.float64],
    is_disliked: npt.NDArray[np.bool_] | None,
) -> Interactions:
    is_left_out = np.zeros(len(counts), np.bool_) if is_disliked is None else is_disliked
    is_positive = (counts > 0) & ~is_left_out
    playlist_ids, rows = _sorted_codes(playlists, is_positive)
    track_ids, columns = _sorted_codes(tracks, is_positive)
    positive = counts[is_positive]
    # Sorted by count too, so that merged rows are added in the same order for any order of the file.
    order = np.lexsort((positive, columns, rows))
    matrix = scipy.sparse.csr_matrix(
        (positive[order], (rows[order], columns[order])), shape=(len(playlist_ids), len(track_ids))
    )
    tally = RowCounts(
        n_rows=len(counts),
        n_merged_rows=len(positive) - matrix.nnz,
        n_zero_rows=int(np.count_nonzero((counts == 0) & ~is_left_out)),
        n_disliked_rows=int(np.count_nonzero(is_left_out)),
    )
    dislikes = None
    if is_disliked is not None:
        disliking, disliked = (
            _positions(ids, is_disliked, known)
            for ids, known in ((playlists, playlist_ids), (tracks, track_ids))
        )
        dislikes = mark_pairs(disliking, disliked, matrix.shape)
    return Interactions(playlist_ids, track_ids, matrix.astype(np.float32), tally, dislikes)


def _positions(
    ids: pa.DictionaryArray, keep: npt.NDArray[np.bool_], known: npt.NDArray[np.str_]
) -> npt.NDArray[np.int64]:
    """Return the position of the id of each row in `keep` among `known` ids, -1 where it is not among them."""
    found = pc.index_in(ids.dictionary.cast(pa.large_string()), value_set=pa.array(known, pa.large_string()))
    positions = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return np.asarray(positions[ids.indices.to_numpy()[keep]], np.int64)


def _sorted_codes(
    ids: pa.DictionaryArray, keep: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.intp]]:
    """Return the distinct ids of the rows in `keep`, sorted, and the position of each of these rows among them."""
    used, codes = np.unique(ids.indices.to_numpy()[keep], return_inverse=True)
    names = np.array(ids.dictionary.take(pa.array(used)).to_pylist(), dtype=np.str_)
    order = np.argsort(names)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return names[order], rank[codes]
