"""Ingest recordings into a dataset folder: decode, make frames, write shards; complete shards are not redone."""

import dataclasses
import functools
import os
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from cs_keras import config
from cs_keras.audio.decode import load_mono
from cs_keras.audio.file_checksum import file_checksum
from cs_keras.audio.waveform import Frames, Samples, frame_extractor
from cs_keras.config import check_choice, check_range
from cs_keras.data.catalogue import Recording, check_unique
from cs_keras.data.schema import SHARDS_FOLDER
from cs_keras.data.shards import Shard, read_shard, write_shard
from cs_keras.errors import AudioError, CsKerasError, StorageError
from cs_keras.progress import Advance, Progress, SilentProgress
from cs_keras.runs import digest, remove_temporaries
from cs_keras.storage.location import Location
from pipelines.beam.parts import PARALLEL_READS, make_parts
from pipelines.dataset.build import FillConfig, IngestResult, fill_dataset, list_shards, read_if_complete
from pipelines.dataset.shard_plan import ShardPlan


@dataclasses.dataclass(frozen=True)
class IngestConfig(FillConfig):
    """Settings of an ingest; see `FillConfig` for the others.

    Attributes
    ----------
    decoder
        See `cs_keras.audio.decode.decode`.
    workers
        Shards made at a time; 0 is one for each processor core.
    """

    decoder: str = "auto"
    workers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("folds", self.fold_by, ("artist", "track"))
        check_choice("decoder", self.decoder, ("auto", "soundfile", "tfio", "librosa"))
        check_range("workers", self.workers, 0)


def ingest(
    recordings: Sequence[Recording],
    out: Location,
    settings: IngestConfig,
    progress: Progress | None = None,
    beam: Sequence[str] = (),
) -> IngestResult:
    """Add `recordings`, with distinct ids and files, to the dataset `out`.

    Shards are made in parallel and written atomically; ``dataset.json`` comes last. Called again after a kill,
    the ingest keeps complete shards and makes the others: the files end up with the same bytes.

    `beam` are options of Apache Beam, ``--runner=`` first: its workers make the shards. They must see the
    recordings at the same paths as this process.

    Raises ConfigError when `out` holds a dataset with other settings, or is complete and ``append`` is not set;
    DataError when an id or file occurs twice, or fewer than three recordings can be used; StorageError when
    files cannot be read or written.
    """
    progress = progress or SilentProgress()
    check_unique(recordings, "The recordings to ingest")
    make = functools.partial(_make_shards_by_beam, flags=beam) if beam else _make_shards

    logged: dict[str, str] = {}

    def log(left_out: Mapping[str, str]) -> None:
        for track_id, reason in left_out.items():
            if logged.get(track_id) != reason:
                progress.log(f"left out {track_id}: {reason}")
        logged.update(left_out)

    def make_shards(plans: Sequence[ShardPlan]) -> list[Shard]:
        shards = make(plans, out, settings, progress)
        for shard in shards:
            log(shard.left_out)
        return shards

    result = fill_dataset(recordings, out, settings, make_shards)
    log({entry.track_id: entry.reason for entry in result.left_out})  # of an earlier ingest too
    return result


def _make_shards(
    plans: Sequence[ShardPlan], out: Location, settings: IngestConfig, progress: Progress
) -> list[Shard]:
    extract = frame_extractor(settings.audio, settings.dtype)
    stop = threading.Event()
    total = sum(len(plan.recordings) for plan in plans)
    with (
        progress.task("ingest", total) as advance,
        ThreadPoolExecutor(settings.workers or len(os.sched_getaffinity(0))) as pool,
    ):
        futures = [pool.submit(_make_shard, plan, out, settings, extract, advance, stop) for plan in plans]
        try:
            for future in as_completed(futures):  # the first error stops the others
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]


@dataclasses.dataclass(frozen=True)
class ShardMaker:
    """Makes shards in worker processes; see `pipelines.beam.protocols.PartMaker`.

    `digests` has the digest of each plan, by its name, as the planning process saw the recordings.
    """

    out: Location
    settings: IngestConfig
    digests: Mapping[str, str]

    def names(self) -> Collection[str]:
        """Return the names of existing shards."""
        return list_shards(self.out)

    def is_made(self, part: ShardPlan) -> bool:
        """Return whether a shard is complete and made by its plan."""
        return read_if_complete(self.out / part.name, self.digests[part.name]) is not None

    def open(self) -> Callable[[ShardPlan], None]:
        """Return a function that makes one shard, unless it is complete."""
        extract = frame_extractor(self.settings.audio, self.settings.dtype)

        def make(plan: ShardPlan) -> None:
            if _plan_digest(plan, self.settings) != self.digests[plan.name]:
                raise StorageError(
                    f"The worker {socket.gethostname()} does not find the recordings of {plan.name} that this "
                    "command found: expected the same files at the same paths, as on a shared file system."
                )
            _make_shard(plan, self.out, self.settings, extract, lambda n: None, threading.Event())

        return make


def _make_shards_by_beam(
    plans: Sequence[ShardPlan],
    out: Location,
    settings: IngestConfig,
    progress: Progress,
    flags: Sequence[str],
) -> list[Shard]:
    maker = ShardMaker(out, settings, {plan.name: _plan_digest(plan, settings) for plan in plans})
    make_parts(plans, maker, flags, "ingest, in shards", progress)
    remove_temporaries(out / SHARDS_FOLDER)  # of workers that were killed while they wrote
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        return list(pool.map(lambda plan: read_shard(out / plan.name), plans))


def _make_shard(
    plan: ShardPlan,
    out: Location,
    settings: IngestConfig,
    extract: Callable[[Samples], Frames],
    advance: Advance,
    stop: threading.Event,
) -> Shard:
    path, plan_digest = out / plan.name, _plan_digest(plan, settings)
    complete = read_if_complete(path, plan_digest)
    if complete:
        advance(len(plan.recordings))
        return complete
    tracks, left_out = [], {}
    for recording in plan.recordings:
        if stop.is_set():
            raise CsKerasError("Ingest was stopped.")
        try:
            samples = load_mono(recording.path, settings.audio, settings.decoder)
            tracks.append((recording.track_id, extract(samples)))
        except AudioError as error:
            left_out[recording.track_id] = str(error)
        advance(1)
    write_shard(path, tracks, settings.audio, settings.dtype, {"plan": plan_digest}, left_out)
    return read_shard(path)


def _plan_digest(plan: ShardPlan, settings: IngestConfig) -> str:
    """Identify a shard by its input; a recording that has changed makes another shard."""
    files = [[r.track_id, r.path.name, *file_checksum(r.path)] for r in plan.recordings]
    return digest([config.to_dict(settings.audio), settings.dtype, settings.decoder, files])
