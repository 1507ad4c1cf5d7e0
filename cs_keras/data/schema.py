"""The files of a dataset folder that are not shards: ``dataset.json`` and ``tracks.parquet``."""

import dataclasses
import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_name
from cs_keras.data.folds import SPLITS
from cs_keras.data.splits import Parts, Split, read_split, split_by_folds
from cs_keras.errors import ConfigError, DataError, StorageError, UnreachableError
from cs_keras.parsing import parse_json, parse_parquet
from cs_keras.runs import atomic_write, digest, write_json
from cs_keras.storage.location import Location, list_files, read_bytes
from cs_keras.storage.remote import BadResponseError

SCHEMA_VERSION = 2
DATASET_FILE = "dataset.json"
TRACKS_FILE = "tracks.parquet"
INTERACTIONS_FILE = "interactions.npz"
FACTORS_FOLDER = "factors"
SHARDS_FOLDER = "shards"

TRACK_SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("artist", pa.string()),
        ("title", pa.string()),
        ("album", pa.string()),
        ("isrc", pa.string()),
        ("genres", pa.list_(pa.string())),
        ("duration_s", pa.float64()),
        ("fold", pa.int32()),
        ("shard", pa.string()),
        ("first_frame", pa.int64()),
        ("n_frames", pa.int64()),
        ("artist_from_folder", pa.bool_()),
        ("release_date", pa.string()),
    ]
)
LATER_COLUMNS = ("artist_from_folder", "release_date")  # which tables of earlier releases lack


@dataclasses.dataclass(frozen=True)
class ExcludedTrack:
    """A recording that could not be used, and the reason in one sentence."""

    track_id: str
    reason: str


@dataclasses.dataclass(frozen=True)
class DatasetSettings:
    """Settings of a dataset, wherever its frames come from.

    Attributes
    ----------
    audio
        Content of a frame and settings of the spectrogram.
    dtype
        Dtype of the frames on disk: ``float16`` or ``float32``.
    fold_by
        Unit that a fold keeps together: ``artist`` or ``track``.
    """

    audio: AudioConfig = AudioConfig()
    dtype: str = "float16"
    fold_by: str = "artist"

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float16", "float32"))


@dataclasses.dataclass(frozen=True)
class DatasetInfo(DatasetSettings):
    """Contents of ``dataset.json``; see `DatasetSettings` for the others.

    Attributes
    ----------
    fold_assignment
        How folds were assigned: ``hash``; ``round-robin by artist`` or ``round-robin by track`` where hashing left
        a split empty; or ``given`` with the data.
    left_out
        Recordings that could not be used.
    shards
        Checksum of each shard's block of frames, by its name.
    headers
        Checksum of the rest of each shard's file, by its name.
    """

    fold_assignment: str = "hash"
    left_out: tuple[ExcludedTrack, ...] = ()
    shards: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("folds", self.fold_by, ("artist", "track"))


@dataclasses.dataclass(frozen=True)
class Tracks:
    """The track table, columns as in `TRACK_SCHEMA`; row i is track i everywhere in the project.

    A track without audio has no frames and no shard. With a named `split`, tracks train, validate and test by it
    instead of by their folds.
    """

    table: pa.Table
    split: Split | None = dataclasses.field(default=None, compare=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def strings(self, column: str) -> list[str]:
        """Return a text column; missing values are empty."""
        return [value or "" for value in self.table[column].to_pylist()]

    def numbers(self, column: str) -> npt.NDArray[Any]:
        """Return a numeric column, shape (n_tracks,)."""
        return np.asarray(self.table[column].to_numpy())

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """Track ids, shape (n_tracks,)."""
        return np.array(self.strings("track_id"), dtype=np.str_)

    @property
    def artist_names(self) -> npt.NDArray[np.str_]:
        """Artist of each track, "" where unknown, shape (n_tracks,)."""
        return np.array([name.strip() for name in self.strings("artist")], dtype=np.str_)

    @property
    def artist_numbers(self) -> npt.NDArray[np.int64]:
        """A number for the artist of each track, -1 where the artist is unknown, shape (n_tracks,)."""
        names = self.artist_names
        numbers, is_known = np.full(len(names), -1, np.int64), names != ""
        numbers[is_known] = np.unique(names[is_known], return_inverse=True)[1]
        return numbers

    @property
    def has_audio(self) -> npt.NDArray[np.bool_]:
        """Flags of the tracks that have frames, shape (n_tracks,)."""
        return np.asarray(self.numbers("n_frames") > 0)

    def in_split(self, split: str) -> npt.NDArray[np.bool_]:
        """Return flags of the tracks in `split` (``train``, ``validation`` or ``test``), shape (n_tracks,)."""
        check_choice("split", split, SPLITS)
        return np.asarray(self.parts == split)

    @functools.cached_property
    def parts(self) -> Parts:
        """Split of each track, shape (n_tracks,): ``train``, ``validation``, ``test``, or empty text for none."""
        return split_by_folds(self.numbers("fold")) if self.split is None else self.split.parts


def make_tracks(rows: Iterable[Mapping[str, Any]]) -> Tracks:
    """Return a track table from rows with the columns of `TRACK_SCHEMA`; DataError for bad ids."""
    tracks = Tracks(pa.Table.from_pylist([dict(row) for row in rows], schema=TRACK_SCHEMA))
    check_ids(tracks.strings("track_id"), TRACKS_FILE)
    return tracks


def write_dataset(folder: Location, info: DatasetInfo, tracks: Tracks) -> None:
    """Write the track table, then ``dataset.json``, which marks the dataset as complete.

    ``dataset.json`` has a checksum of the table and one of itself.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(tracks.table, sink)
    content = sink.getvalue().to_pybytes()
    with atomic_write(folder / TRACKS_FILE) as file:
        file.write(content)
    document = {"schema_version": SCHEMA_VERSION, **config.to_dict(info)}
    document["decibel"] = "10*log10(magnitude / 1.0), as kapre.MagnitudeToDecibel gives it"
    document["splits"] = {name: list(folds) for name, folds in SPLITS.items()}
    document["n_tracks"] = len(tracks)
    document["tracks_checksum"] = _checksum(content)
    write_json(folder / DATASET_FILE, add_checksum(document))


def add_checksum(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``dataset.json`` with its checksum."""
    rest = {name: value for name, value in document.items() if name != "checksum"}
    return {**rest, "checksum": digest(rest)}


def read_info(folder: Location) -> DatasetInfo:
    """Read ``dataset.json``.

    Raises StorageError when it does not exist, cannot be read, or was altered, and DataError when it has another
    schema version or invalid settings.
    """
    path, document = folder / DATASET_FILE, read_document(folder)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version!r}; this release reads {SCHEMA_VERSION}.")
    try:
        return DatasetInfo(
            audio=config.replace(AudioConfig(), document["audio"], "audio."),
            dtype=document["dtype"],
            fold_by=document["fold_by"],
            fold_assignment=_read_assignment(document),
            left_out=tuple(ExcludedTrack(**entry) for entry in document["left_out"]),
            **{
                kind: {str(name): str(checksum) for name, checksum in document[kind].items()}
                for kind in ("shards", "headers")
            },
        )
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(f"{path} is not a file of `cs-keras ingest`, or damaged: {error}.") from error


def read_document(folder: Location) -> Any:
    """Return the content of ``dataset.json``, after verifying its checksum if it is of this schema version.

    Raises StorageError when it does not exist, cannot be read, or was altered.
    """
    try:
        return parse_json(read_bytes(folder / DATASET_FILE, _check_document))
    except FileNotFoundError as error:
        raise StorageError(
            f"{folder} is not a cs-keras dataset: expected a folder with {DATASET_FILE}, "
            "as `cs-keras ingest` or `cs-keras demo-data` creates."
        ) from error


def read_tracks(folder: Location, split_name: str | None = None) -> Tracks:
    """Read ``tracks.parquet``, with a named split where one is wanted.

    Raises StorageError when it cannot be read, or its checksum is not that in ``dataset.json``, and DataError
    when columns are missing, ids occur twice, numbers are impossible, or there is no split of that name.
    """
    path, expected = folder / TRACKS_FILE, _tracks_checksum(folder)

    def check(content: bytes) -> None:
        if expected is not None and _checksum(content) != expected:
            raise BadResponseError(
                f"its checksum is not the one in {DATASET_FILE}; if the table is correct, "
                "`cs-keras check --repair` accepts it"
            )

    try:
        table = parse_parquet(read_bytes(path, check))
    except FileNotFoundError as error:
        raise StorageError(f"There is no track table {path}.") from error
    except StorageError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path} is damaged or not a Parquet file.") from error
    missing = [name for name in TRACK_SCHEMA.names if name not in (*table.column_names, *LATER_COLUMNS)]
    if missing:
        raise DataError(
            f"{path} lacks columns: expected {', '.join(missing)}; it has {', '.join(table.column_names)}."
        )
    try:
        tracks = Tracks(as_track_table(table))
    except pa.ArrowException as error:
        raise DataError(f"{path} has a column of the wrong type: {error}.") from error
    check_ids(tracks.strings("track_id"), path)
    for name in ("fold", "first_frame", "n_frames"):
        if tracks.table[name].null_count:
            raise DataError(f"{path}: column {name!r} has empty cells.")
    folds = tracks.numbers("fold")
    outside = np.flatnonzero(~np.isin(folds, sum(SPLITS.values(), ())))
    if len(outside):
        raise DataError(
            f"{path}: track {str(tracks.ids[outside[0]])!r} is in fold {folds[outside[0]]}; folds are 0 to 9."
        )
    _check_positions(tracks, path)
    return assign_split(folder, tracks, split_name)


def as_track_table(table: pa.Table) -> pa.Table:
    """Return a table with the columns of `TRACK_SCHEMA`; pa.ArrowException or KeyError when it cannot have them."""
    for name in LATER_COLUMNS:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), TRACK_SCHEMA.field(name).type))
    return table.select(TRACK_SCHEMA.names).cast(TRACK_SCHEMA)


def assign_split(folder: Location, tracks: Tracks, name: str | None) -> Tracks:
    """Return tracks with a named split of their dataset, None for that of their folds; errors as `read_split`."""
    split = None if name is None else read_split(folder, name, tracks.strings("track_id"))
    return Tracks(tracks.table, split)


def dataset_digest(info: DatasetInfo, tracks: Tracks) -> str:
    """Return the SHA-256 over tables, named split and audio, which changes whenever training on them could."""
    positions = hashlib.sha256()
    for name in ("track_id", "fold", "shard", "first_frame", "n_frames"):
        positions.update(repr(tracks.table[name].to_pylist()).encode())
    named = [] if tracks.split is None else [tracks.parts.tolist()]
    return digest([positions.hexdigest(), config.to_dict(info.audio), dict(info.shards), *named])


def factors_path(dataset: Location, name: str) -> Location:
    """Return the path of the factors called `name` in a dataset.

    Raises ConfigError when the name has characters that a file name should not have.
    """
    check_name("A factors' name", name)
    return dataset / FACTORS_FOLDER / f"{name}.npz"


def factors_names(dataset: Location) -> list[str]:
    """Return the sorted names of the factors in a dataset."""
    names = list_files(dataset / FACTORS_FOLDER)
    return [name.removesuffix(".npz") for name in names if re.fullmatch(r"[^./][^/]*\.npz", name)]


def _check_positions(tracks: Tracks, path: Location) -> None:
    """Raise DataError for impossible positions; a track without audio has no shard and position 0."""
    n_frames, first = tracks.numbers("n_frames"), tracks.numbers("first_frame")
    shards = tracks.strings("shard")
    if len(tracks) and (n_frames.min() < 0 or first.min() < 0):
        raise DataError(f"{path} contains a track without frames or with a negative position.")
    for row in np.flatnonzero((n_frames == 0) | (np.array(shards, np.str_) == "")).tolist():
        if n_frames[row]:
            raise DataError(
                f"{path}: track {str(tracks.ids[row])!r} has {n_frames[row]} frames and no shard."
            )
        if shards[row] or first[row]:
            raise DataError(
                f"{path} contains a track without frames that has a position: {str(tracks.ids[row])!r}."
            )


def _tracks_checksum(folder: Location) -> str | None:
    """Return the table's checksum in ``dataset.json``; None if that is unreadable, which `read_info` reports."""
    try:
        document = read_document(folder)
    except UnreachableError:
        raise
    except StorageError:
        return None
    return document.get("tracks_checksum") if isinstance(document, dict) else None


def _read_assignment(document: Mapping[str, Any]) -> str:
    """Return how folds were assigned; earlier releases had another key and another word before "by artist"."""
    if "fold_assignment" in document:
        return str(document["fold_assignment"])
    method, by, unit = str(document["dealing"]).partition(" by ")
    return f"round-robin by {unit}" if by else method


def _check_document(content: bytes) -> None:
    try:
        document = parse_json(content)
        current = isinstance(document, dict) and document.get("schema_version") == SCHEMA_VERSION
        as_written = not current or document == add_checksum(document)
    except ValueError as error:
        raise BadResponseError(f"it is not valid JSON: {error}") from error
    if not as_written:
        raise BadResponseError("its checksum does not match")


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def is_valid_id(text: str) -> bool:
    """Return whether text can be a track id: it is not empty and has no control characters."""
    return bool(text) and not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def check_ids(ids: Sequence[str], where: object) -> None:
    """Raise DataError when an id is empty or occurs twice; the message names the row, from 1, of `where`."""
    seen: set[str] = set()
    for row, track_id in enumerate(ids, 1):
        if not track_id:
            raise DataError(f"{where}: row {row} has no track_id.")
        if track_id in seen:
            raise DataError(f"{where}: track_id {track_id!r} occurs twice; ids must be unique.")
        seen.add(track_id)
