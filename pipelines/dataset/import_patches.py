"""Patch files of others to a dataset folder: survey, plan, copy track by track, verify what was written."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from cs_keras import config
from cs_keras.audio.file_checksum import stream_checksum
from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.data.catalogue import Recording
from cs_keras.data.folds import N_FOLDS
from cs_keras.data.patches.layout import survey
from cs_keras.data.patches.read import (
    PatchFile,
    PatchFormat,
    PatchTrack,
    open_hdf5,
    open_url,
    read_track,
)
from cs_keras.data.reader import read_unverified
from cs_keras.data.schema import DatasetInfo, read_tracks
from cs_keras.data.shards import Shard, read_shard, verify_track, write_shard
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.tables import open_table
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import digest
from cs_keras.storage.location import Location
from pipelines.dataset.build import FillConfig, IngestResult, ShardPlan, fill_dataset, read_if_whole

DESCRIPTION_COLUMNS = ("artist", "title", "album", "isrc", "genres")


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """Settings of an import.

    Attributes
    ----------
    audio
        What the magnitudes were made with; n_fft gives the number of bins that the files must have.
    dtype
        Of the magnitudes on disk: ``float16`` or ``float32``.
    fold_by
        ``artist`` or ``track``, as in an ingest; ``file``: ten files are the ten folds, in the order named.
    format
        Layout of the files and names inside them.
    shard_mb
        Megabytes a shard is planned for; the largest part of the work that a kill can cost.
    append
        Add to a dataset that is already whole.
    """

    audio: AudioConfig = AudioConfig()
    dtype: str = "float16"
    fold_by: str = "artist"
    format: PatchFormat = PatchFormat()
    shard_mb: int = 128
    append: bool = False

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float16", "float32"))
        check_choice("folds", self.fold_by, ("artist", "track", "file"))
        check_range("shard_mb", self.shard_mb, 1, 4096)
        if self.append and self.fold_by == "file":
            raise ConfigError("Folds by file are those of ten files; nothing can be appended to them.")


@dataclasses.dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes
    ----------
    dataset
        Tracks in it, new ones, and those left out with the reason.
    n_tracks, n_rows
        In the patch files, counted by their indexes.
    n_frames
        In the dataset, padding dropped.
    n_described
        Tracks of the files that the table of descriptions knows.
    """

    dataset: IngestResult
    n_tracks: int
    n_rows: int
    n_frames: int
    n_described: int


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where a track comes from."""

    file: PatchFile
    track: PatchTrack


_Sources = Mapping[str, _Source]  # by track id


def import_patches(
    urls: Sequence[str],
    out: Location,
    settings: ImportConfig,
    descriptions: Mapping[str, Recording] | None = None,
    progress: Progress | None = None,
) -> ImportResult:
    """Bring the tracks of patch files into the dataset `out`.

    One track at a time is in memory, and the shard being made. Each shard is whole or not there; called again after
    a kill, the import verifies and keeps those that are there and makes the others, with the same bytes.

    Parameters
    ----------
    urls
        Local paths or fsspec URLs of HDF5 files.
    out
        Dataset folder to make or add to.
    settings
        See `ImportConfig`.
    descriptions
        Artist, title and so on by track id, as `read_descriptions` gives them.
    progress
        GenrePredictions the rows that are done.

    Raises
    ------
    ConfigError
        When ``fold_by`` is ``file`` and there are not ten files, or `out` holds another dataset.
    DataError
        When a file does not hold what it must, or two files hold the same track.
    StorageError
        When files cannot be read or written, or what was written is not what was read.
    """
    progress = progress or SilentProgress()
    if settings.fold_by == "file" and len(urls) != N_FOLDS:
        raise ConfigError(f"Folds by file need {N_FOLDS} files, one a fold. Received: {len(urls)}.")
    files = [survey(url, settings.audio, settings.format) for url in urls]
    sources = _by_track(files)
    recordings = _describe(sources, descriptions or {}, settings.audio)
    by_file = settings.fold_by == "file"
    plan = FillConfig(
        DatasetInfo(settings.audio, settings.dtype, "track" if by_file else settings.fold_by),
        settings.shard_mb,
        settings.append,
        {t.track_id: fold for fold, file in enumerate(files) for t in file.tracks} if by_file else None,
    )
    done = fill_dataset(
        recordings, out, plan, lambda parts: _make_shards(parts, out, sources, settings, progress)
    )
    return ImportResult(
        done,
        len(sources),
        sum(file.n_rows for file in files),
        int(read_tracks(out).numbers("n_frames").sum()),
        sum(track_id in sources for track_id in descriptions or {}),
    )


def read_descriptions(path: Path, encoding: str | None = None) -> dict[str, Recording]:
    """Read what is known about tracks: a table with a column ``track_id``, then one track a row.

    Parameters
    ----------
    path
        CSV, TSV or Parquet. Other columns: ``artist``, ``title``, ``album``, ``isrc``, and ``genres`` (separated by
        ``|`` or ``;``). More are ignored.
    encoding
        Of a text file; default: UTF-8, or UTF-16 where a byte-order mark says so.

    Raises
    ------
    StorageError
        When the file cannot be read.
    DataError
        When it is no table, has no ``track_id``, or names a track twice.
    """
    table = open_table(path, encoding=encoding)
    names = {name.strip().casefold(): name for name in table.column_names}
    if "track_id" not in names:
        raise DataError(
            f"{path} has no column 'track_id'. Columns understood: track_id, {', '.join(DESCRIPTION_COLUMNS)}. "
            f"Received: {', '.join(table.column_names)}."
        )
    known = [name for name in ("track_id", *DESCRIPTION_COLUMNS) if name in names]
    columns = table.read([names[name] for name in known])
    described: dict[str, Recording] = {}
    for values in columns.rename_columns(known).to_pylist():
        row = {name: str(value or "").strip() for name, value in values.items()}
        track_id = row["track_id"]
        if track_id in described:
            raise DataError(f"{path}: track_id {track_id!r} stands twice; every track needs its own.")
        genres = (genre.strip() for genre in row.pop("genres", "").replace(";", "|").split("|"))
        described[track_id] = Recording(path, genres=tuple(filter(None, genres)), **row)  # type: ignore[arg-type]
    return described


def _by_track(files: Sequence[PatchFile]) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    for file in files:
        for track in file.tracks:
            other = sources.setdefault(track.track_id, _Source(file, track))
            if other.track is not track:
                raise DataError(
                    f"Track {track.track_id!r} is in {other.file.url} and in {file.url}; expected each track once."
                )
    return sources


def _describe(
    sources: _Sources, descriptions: Mapping[str, Recording], audio: AudioConfig
) -> list[Recording]:
    """Return a recording for each track, in the order of the files; its length plans the shards."""
    recordings = []
    for track_id, source in sources.items():
        path = Path(source.file.url)
        known = descriptions.get(track_id) or Recording(path, track_id)
        seconds = source.track.n_rows * source.file.frames_per_row / audio.frames_per_second
        recordings.append(
            dataclasses.replace(known, path=path, title=known.title or track_id, duration_s=seconds)
        )
    return recordings


def _make_shards(
    parts: Sequence[ShardPlan], out: Location, sources: _Sources, settings: ImportConfig, progress: Progress
) -> list[Shard]:
    """Make the shards one after the other: the HDF5 library reads in one thread at a time anyway."""
    checksums = {url: _url_checksum(url) for url in {source.file.url for source in sources.values()}}
    total = sum(sources[recording.track_id].track.n_rows for part in parts for recording in part.recordings)
    shards = []
    with progress.task("import patches", total) as advance:
        for part in parts:
            inside = [sources[recording.track_id] for recording in part.recordings]
            path, plan = out / part.name, _plan_digest(inside, checksums, settings)
            shard = read_if_whole(path, plan)
            if shard is None or not _is_sound(shard, inside):
                _write(path, inside, settings, plan)
                shard = read_shard(path)
                if not _is_sound(shard, inside):
                    raise StorageError(
                        f"{path} does not hold what was written to it: frames or checksums differ; the disk may be "
                        "failing."
                    )
            for track_id, reason in shard.left_out.items():
                progress.log(f"left out {track_id}: {reason}")
            shards.append(shard)
            advance(sum(source.track.n_rows for source in inside))
    return shards


def _write(path: Location, sources: Sequence[_Source], settings: ImportConfig, plan: str) -> None:
    tracks, left_out = [], {}
    for url, group in itertools.groupby(sources, lambda source: source.file.url):
        with open_hdf5(url) as file:
            for source in group:
                track_id = source.track.track_id
                try:
                    frames = read_track(file, source.file, source.track, settings.audio, settings.dtype)
                    tracks.append((track_id, frames))
                except DataError as error:
                    left_out[track_id] = f"{url}: {error}"
    write_shard(path, tracks, settings.audio, settings.dtype, {"plan": plan}, left_out)


def _is_sound(shard: Shard, sources: Sequence[_Source]) -> bool:
    """Tell whether a shard has every track, whole, with the checksum it was written with."""
    wanted = {source.track.track_id: source for source in sources}
    return {track.track_id for track in shard.tracks} | set(shard.left_out) == set(wanted) and all(
        wanted[track.track_id].file.can_be(wanted[track.track_id].track, track.n_frames)
        and verify_track(track, read_unverified(shard, track.first_frame, track.n_frames))
        for track in shard.tracks
    )


def _plan_digest(
    sources: Sequence[_Source], checksums: Mapping[str, Sequence[int]], settings: ImportConfig
) -> str:
    """Identify a shard by what goes into it: files (not where they lie), rows, and how they are read."""
    rows = [
        [s.track.track_id, s.track.first_row, s.track.n_rows, s.file.patches_name, s.file.layout]
        for s in sources
    ]
    files = [[Path(url).name, *checksums[url]] for url in dict.fromkeys(s.file.url for s in sources)]
    return digest([config.to_dict(settings.audio), settings.dtype, rows, files])


def _url_checksum(url: str) -> list[int]:
    with open_url(url) as file:
        return stream_checksum(file)
