"""Recordings to a dataset folder: decode, make frames, write shards; what is already whole is not redone."""

import dataclasses
import functools
import os
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from cs_keras import config
from cs_keras.audio.decode import load_mono
from cs_keras.audio.file_checksum import file_checksum
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.waveform import Frames, Samples, frame_extractor
from cs_keras.config import check_choice, check_range
from cs_keras.data.catalogue import Recording, check_unique
from cs_keras.data.schema import SHARDS_FOLDER, DatasetInfo
from cs_keras.data.shards import Shard, read_shard, write_shard
from cs_keras.errors import AudioError, CsKerasError, StorageError
from cs_keras.progress import Advance, Progress, SilentProgress
from cs_keras.runs import digest, remove_temporaries
from cs_keras.storage.location import Location, list_files
from pipelines.beam.parts import LOOKS, make_parts
from pipelines.dataset.build import FillConfig, IngestResult, ShardPlan, fill_dataset, read_if_whole


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """Settings of an ingest.

    Attributes
    ----------
    audio
        What a frame is, and what magnitudes are made with.
    dtype
        Of the frames on disk: ``float16`` or ``float32``.
    fold_by
        What a fold keeps together: ``artist`` or ``track``.
    decoder
        See `cs_keras.audio.decode.decode`.
    shard_mb
        Megabytes a shard is planned for; the largest part of the work that a kill can cost, for each worker.
    workers
        Shards made at a time; 0 is one for each processor core.
    append
        Add to a dataset that is already whole.
    """

    audio: AudioConfig = AudioConfig()
    dtype: str = "float16"
    fold_by: str = "artist"
    decoder: str = "auto"
    shard_mb: int = 128
    workers: int = 0
    append: bool = False

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float16", "float32"))
        check_choice("folds", self.fold_by, ("artist", "track"))
        check_choice("decoder", self.decoder, ("auto", "soundfile", "tfio", "librosa"))
        check_range("shard_mb", self.shard_mb, 1, 4096)
        check_range("workers", self.workers, 0)


def ingest(
    recordings: Sequence[Recording],
    out: Location,
    settings: IngestConfig,
    progress: Progress | None = None,
    beam: Sequence[str] = (),
) -> IngestResult:
    """Bring `recordings` into the dataset `out`.

    Shards are made in parallel, each whole or not at all; ``dataset.json`` comes last. Called again after a
    kill, it keeps the shards that are there and makes the others: the files end up with the same bytes.

    Parameters
    ----------
    recordings
        With ids and files that differ.
    out
        Dataset folder to make or add to.
    settings
        What the dataset is to be.
    progress
        Where to report.
    beam
        Options of Apache Beam, ``--runner=`` first: its workers make the shards. They must see the recordings at
        the same paths as this process.

    Raises
    ------
    ConfigError
        When `out` holds a dataset with other settings, or one to which nothing may be added without ``append``.
    DataError
        When ids or files stand twice, or fewer than three recordings can be used.
    StorageError
        When files cannot be read or written.
    """
    progress = progress or SilentProgress()
    check_unique(recordings, "The recordings to ingest")
    info = DatasetInfo(settings.audio, settings.dtype, settings.fold_by)
    plan = FillConfig(info, settings.shard_mb, settings.append)

    def make_shards(parts: Sequence[ShardPlan]) -> list[Shard]:
        make = functools.partial(_make_shards_by_beam, flags=beam) if beam else _make_shards
        shards = make(parts, out, settings, progress)
        for track_id, reason in ((i, why) for shard in shards for i, why in shard.left_out.items()):
            progress.log(f"left out {track_id}: {reason}")
        return shards

    return fill_dataset(recordings, out, plan, make_shards)


def _make_shards(
    parts: Sequence[ShardPlan], out: Location, settings: IngestConfig, progress: Progress
) -> list[Shard]:
    make_frames = frame_extractor(settings.audio, settings.dtype)
    stop = threading.Event()
    done: dict[str, Shard] = {}
    total = sum(len(part.recordings) for part in parts)
    with (
        progress.task("ingest", total) as advance,
        ThreadPoolExecutor(settings.workers or len(os.sched_getaffinity(0))) as pool,
    ):
        futures = {
            pool.submit(_make_shard, part, out, settings, make_frames, advance, stop): part.name
            for part in parts
        }
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [done[part.name] for part in parts]


@dataclasses.dataclass(frozen=True)
class PlannedPart:
    """A part, and the digest of what goes into it as whoever planned it saw the recordings."""

    part: ShardPlan
    plan: str

    @property
    def name(self) -> str:
        """Name of the shard in the dataset."""
        return self.part.name


@dataclasses.dataclass(frozen=True)
class ShardMaker:
    """Makes shards in worker processes; see `pipelines.beam.protocols.PartMaker`.

    Attributes
    ----------
    out
        Dataset folder.
    settings
        What the dataset is to be.
    """

    out: Location
    settings: IngestConfig

    def names(self) -> Collection[str]:
        """Return the names of the shards there are."""
        return [f"{SHARDS_FOLDER}/{name}" for name in list_files(self.out / SHARDS_FOLDER)]

    def is_made(self, part: PlannedPart) -> bool:
        """Tell whether a shard is whole and made by its plan."""
        return read_if_whole(self.out / part.name, part.plan) is not None

    def open(self) -> Callable[[PlannedPart], None]:
        """Return a function that makes one shard, unless it is whole."""
        make_frames = frame_extractor(self.settings.audio, self.settings.dtype)

        def make(planned: PlannedPart) -> None:
            if _plan_digest(planned.part, self.settings) != planned.plan:
                raise StorageError(
                    f"The worker {socket.gethostname()} does not see the recordings of {planned.name} that this "
                    "command saw: expected the same files at the same paths, as on a shared file system."
                )
            _make_shard(planned.part, self.out, self.settings, make_frames, lambda n: None, threading.Event())

        return make


def _make_shards_by_beam(
    parts: Sequence[ShardPlan],
    out: Location,
    settings: IngestConfig,
    progress: Progress,
    flags: Sequence[str],
) -> list[Shard]:
    planned = [PlannedPart(part, _plan_digest(part, settings)) for part in parts]
    make_parts(planned, ShardMaker(out, settings), flags, "ingest, in shards", progress)
    remove_temporaries(out / SHARDS_FOLDER)  # of workers that were killed while they wrote
    with ThreadPoolExecutor(LOOKS) as pool:
        return list(pool.map(lambda part: read_shard(out / part.name), parts))


def _make_shard(
    part: ShardPlan,
    out: Location,
    settings: IngestConfig,
    make_frames: Callable[[Samples], Frames],
    advance: Advance,
    stop: threading.Event,
) -> Shard:
    path, plan = out / part.name, _plan_digest(part, settings)
    whole = read_if_whole(path, plan)
    if whole:
        advance(len(part.recordings))
        return whole
    tracks, left_out = [], {}
    for recording in part.recordings:
        if stop.is_set():
            raise CsKerasError("Ingest was stopped.")
        try:
            samples = load_mono(recording.path, settings.audio, settings.decoder)
            tracks.append((recording.track_id, make_frames(samples)))
        except AudioError as error:
            left_out[recording.track_id] = str(error)
        advance(1)
    write_shard(path, tracks, settings.audio, settings.dtype, {"plan": plan}, left_out)
    return read_shard(path)


def _plan_digest(part: ShardPlan, settings: IngestConfig) -> str:
    """Identify a shard by what goes into it; a recording that has changed makes another shard."""
    files = [[r.track_id, r.path.name, *file_checksum(r.path)] for r in part.recordings]
    return digest([config.to_dict(settings.audio), settings.dtype, settings.decoder, files])
