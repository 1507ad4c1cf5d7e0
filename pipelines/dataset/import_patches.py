"""Import patch files of other tools into a dataset folder: survey, plan, copy track by track, verify."""

import dataclasses
import itertools
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cs_keras import config
from cs_keras.audio.file_checksum import stream_checksum
from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice
from cs_keras.data.catalogue import Recording
from cs_keras.data.folds import N_FOLDS
from cs_keras.data.patches.layout import survey
from cs_keras.data.patches.read import PatchFile, PatchFormat, PatchTrack, open_hdf5, open_url, read_track
from cs_keras.data.reader import read_unverified
from cs_keras.data.schema import SHARDS_FOLDER, read_tracks
from cs_keras.data.shards import Shard, read_shard, verify_track, write_shard
from cs_keras.errors import ConfigError, DataError, StorageError, UnreachableError
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import digest, remove_temporaries
from cs_keras.storage.location import Location
from pipelines.beam.parts import make_parts
from pipelines.dataset.build import FillConfig, IngestResult, fill_dataset, list_shards, read_if_complete
from pipelines.dataset.shard_plan import ShardPlan


@dataclasses.dataclass(frozen=True)
class ImportConfig(FillConfig):
    """Settings of an import; see `FillConfig` for the others.

    Attributes
    ----------
    fold_by
        ``artist`` or ``track``, as in an ingest; ``file``: ten files are the ten folds, in the order given.
    format
        Layout of the files and names of their arrays.
    """

    format: PatchFormat = PatchFormat()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("folds", self.fold_by, ("artist", "track", "file"))
        if self.append and self.fold_by == "file":
            raise ConfigError("With folds by file, nothing can be appended to a dataset.")


@dataclasses.dataclass(frozen=True)
class ImportResult:
    """The filled dataset; tracks and rows of the patch files; frames without padding; tracks with a description."""

    dataset: IngestResult
    n_tracks: int
    n_rows: int
    n_frames: int
    n_described: int


_Source = tuple[PatchFile, PatchTrack]  # a track and its file


def import_patches(
    urls: Sequence[str],
    out: Location,
    settings: ImportConfig,
    descriptions: Sequence[Recording] = (),
    progress: Progress | None = None,
    beam: Sequence[str] = (),
) -> ImportResult:
    """Add the tracks of patch files, local paths or fsspec URLs of HDF5 files, to the dataset `out`.

    Memory holds one track and the shard being made. Shards are written atomically; called again after a kill,
    the import verifies existing ones and makes the others, with the same bytes. `descriptions` have artist,
    title and so on of tracks, as `pipelines.dataset.ingest_items.read_items` reads them. `beam` are options of
    Apache Beam, ``--runner=`` first: its workers make the shards. They must reach the files under the same names.

    Raises ConfigError when ``fold_by`` is ``file`` and there are not ten files, or `out` holds another dataset;
    DataError when a file has invalid content, or two files hold the same track; StorageError when files cannot
    be read or written, or a written shard differs from what was read.
    """
    by_file = settings.fold_by == "file"
    if by_file and len(urls) != N_FOLDS:
        raise ConfigError(f"Folds by file need {N_FOLDS} files, one per fold. Received: {len(urls)}.")
    files = [survey(url, settings.audio, settings.format) for url in urls]
    sources = _by_track(files)
    described = {recording.track_id: recording for recording in descriptions}
    done = fill_dataset(
        [_describe(*source, described, settings.audio) for source in sources.values()],
        out,
        dataclasses.replace(settings, fold_by="track") if by_file else settings,
        lambda plans: _make_shards(plans, out, sources, settings, progress or SilentProgress(), beam),
        {t.track_id: fold for fold, file in enumerate(files) for t in file.tracks} if by_file else None,
    )
    return ImportResult(
        done,
        len(sources),
        sum(file.n_rows for file in files),
        int(read_tracks(out).numbers("n_frames").sum()),
        len(sources.keys() & described.keys()),
    )


def _by_track(files: Sequence[PatchFile]) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    for file in files:
        for track in file.tracks:
            other, found = sources.setdefault(track.track_id, (file, track))
            if found is not track:
                raise DataError(
                    f"Track {track.track_id!r} is in {other.url} and in {file.url}; expected each track once."
                )
    return sources


def _describe(
    file: PatchFile, track: PatchTrack, described: Mapping[str, Recording], audio: AudioConfig
) -> Recording:
    """Return a track as a recording, with the duration that plans its shard."""
    path = Path(file.url)
    known = described.get(track.track_id) or Recording(path, track.track_id)
    seconds = track.n_rows * file.frames_per_row / audio.frames_per_second
    return dataclasses.replace(known, path=path, title=known.title or track.track_id, duration_s=seconds)


def _make_shards(
    plans: Sequence[ShardPlan],
    out: Location,
    sources: Mapping[str, _Source],
    settings: ImportConfig,
    progress: Progress,
    beam: Sequence[str],
) -> list[Shard]:
    """Make the shards: here one after the other, since the HDF5 library reads in one thread at a time."""
    checksums = {url: _url_checksum(url) for url in {file.url for file, _ in sources.values()}}
    parts = []
    for plan in plans:
        inside = tuple(sources[recording.track_id] for recording in plan.recordings)
        parts.append(PatchShard(plan.name, inside, _plan_digest(inside, checksums, settings)))
    maker = PatchShardMaker(out, settings)
    if beam:
        make_parts(
            [part.without_other_tracks() for part in parts], maker, beam, "import, in shards", progress
        )
        remove_temporaries(out / SHARDS_FOLDER)  # of workers that were killed while they wrote
    else:
        make = maker.open()
        with progress.task("import patches", sum(part.n_rows for part in parts)) as advance:
            for part in parts:
                make(part)
                advance(part.n_rows)
    shards = [read_shard(out / part.name) for part in parts]
    for shard in shards:
        for track_id, reason in shard.left_out.items():
            progress.log(f"left out {track_id}: {reason}")
    return shards


@dataclasses.dataclass(frozen=True)
class PatchShard:
    """A shard to make: its name in the dataset, its tracks with their files, and the digest of its input."""

    name: str
    sources: tuple[_Source, ...]
    digest: str

    @property
    def n_rows(self) -> int:
        """Rows to read."""
        return sum(track.n_rows for _, track in self.sources)

    def without_other_tracks(self) -> "PatchShard":
        """Return the shard for a worker, without the list of all tracks of each file."""
        files = {file.url: dataclasses.replace(file, tracks=()) for file, _ in self.sources}
        return dataclasses.replace(
            self, sources=tuple((files[file.url], track) for file, track in self.sources)
        )


@dataclasses.dataclass(frozen=True)
class PatchShardMaker:
    """Makes shards of patch files in any process; see `pipelines.beam.protocols.PartMaker`."""

    out: Location
    settings: ImportConfig

    def names(self) -> list[str]:
        """Return the names of existing shards."""
        return list_shards(self.out)

    def is_made(self, part: PatchShard) -> bool:
        """Return whether a shard is complete, made by its plan, and has the data that were written."""
        shard = read_if_complete(self.out / part.name, part.digest)
        return shard is not None and _is_intact(shard, part.sources)

    def open(self) -> Callable[[PatchShard], None]:
        """Return a function that makes one shard, unless it is complete."""
        checksums: dict[str, list[int]] = {}

        def make(part: PatchShard) -> None:
            if self.is_made(part):
                return
            self._require_same_files(part, checksums)
            path = self.out / part.name
            _write(path, part.sources, self.settings, part.digest)
            if not _is_intact(read_shard(path), part.sources):
                raise StorageError(
                    f"{path} does not contain the data that were written: frames or checksums differ; the disk "
                    "may be failing."
                )

        return make

    def _require_same_files(self, part: PatchShard, checksums: dict[str, list[int]]) -> None:
        try:
            for file, _ in part.sources:
                if file.url not in checksums:
                    checksums[file.url] = _url_checksum(file.url)
        except UnreachableError:
            raise
        except StorageError as error:
            raise StorageError(
                f"The worker {socket.gethostname()} cannot make {part.name}: {error}"
            ) from error
        if _plan_digest(part.sources, checksums, self.settings) != part.digest:
            raise StorageError(
                f"The worker {socket.gethostname()} does not find the files of {part.name} that this command "
                "found: expected the same files under the same names, as on a shared file system or in a bucket."
            )


def _write(path: Location, sources: Sequence[_Source], settings: ImportConfig, plan_digest: str) -> None:
    tracks, left_out = [], {}
    for url, group in itertools.groupby(sources, lambda source: source[0].url):
        with open_hdf5(url) as opened:
            for file, track in group:
                try:
                    frames = read_track(opened, file, track, settings.audio, settings.dtype)
                    tracks.append((track.track_id, frames))
                except DataError as error:
                    left_out[track.track_id] = f"{url}: {error}"
    write_shard(path, tracks, settings.audio, settings.dtype, {"plan": plan_digest}, left_out)


def _is_intact(shard: Shard, sources: Sequence[_Source]) -> bool:
    """Return whether a shard has every track, complete, with the checksum it was written with."""
    wanted = {track.track_id: (file, track) for file, track in sources}
    return {track.track_id for track in shard.tracks} | set(shard.left_out) == set(wanted) and all(
        PatchFile.can_have(*wanted[track.track_id], track.n_frames)
        and verify_track(track, read_unverified(shard, track.first_frame, track.n_frames))
        for track in shard.tracks
    )


def _plan_digest(
    sources: Sequence[_Source], checksums: Mapping[str, Sequence[int]], settings: ImportConfig
) -> str:
    """Identify a shard by its input: files (without their folders), rows, and how they are read."""
    rows = [
        [track.track_id, track.first_row, track.n_rows, file.patches_name, file.layout]
        for file, track in sources
    ]
    files = [[Path(url).name, *checksums[url]] for url in dict.fromkeys(file.url for file, _ in sources)]
    return digest([config.to_dict(settings.audio), settings.dtype, rows, files])


def _url_checksum(url: str) -> list[int]:
    with open_url(url) as file:
        return stream_checksum(file)
