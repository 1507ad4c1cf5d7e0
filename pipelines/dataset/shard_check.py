"""Verify the shards of a dataset in parallel, and find near-duplicate recordings in them."""

import dataclasses
import functools
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.waveform import magnitude_frames
from cs_keras.data.integrity import checks as integrity
from cs_keras.data.integrity import fingerprint
from cs_keras.data.integrity.checks import Finding, Row
from cs_keras.data.integrity.fingerprint import MinHash, Words
from cs_keras.data.reader import read_unverified
from cs_keras.data.schema import SHARDS_FOLDER, DatasetInfo, Tracks
from cs_keras.data.shards import Frames, Shard, ShardTrack, read_shard
from cs_keras.errors import UnreachableError
from cs_keras.progress import Progress
from cs_keras.storage import remote
from cs_keras.storage.location import Location, is_remote, list_files

BLOCK_BYTES = 2**24  # read at a time for the checksum of a block
CACHED_TRACKS = 64  # fingerprints in memory while sorted candidates are compared


@dataclasses.dataclass
class ShardReport:
    """Findings in one shard, its header if readable, and the MinHash of each of its tracks."""

    name: str
    findings: list[Finding]
    damaged: bool = False
    shard: Shard | None = None
    hashes: dict[str, tuple[ShardTrack, MinHash]] = dataclasses.field(default_factory=dict)


def check_shards(
    dataset: Location, info: DatasetInfo | None, tracks: Tracks | None, hashes: bool, progress: Progress
) -> list[ShardReport]:
    """Check the shards that the table names or, without a table, the existing ones."""
    rows_of: dict[str, list[Row]] = defaultdict(list)
    for row in tracks.table.to_pylist() if tracks else ():
        if row["shard"]:  # tracks without audio are in none
            rows_of[row["shard"]].append(row)
    names = sorted(rows_of) if tracks else shards_on_disk(dataset)
    n_threads = remote.DEFAULT.in_flight if is_remote(dataset) else os.cpu_count()
    check = functools.partial(_check_shard, dataset, info, rows_of if tracks else None, hashes)
    with progress.task("check", len(names)) as advance, ThreadPoolExecutor(n_threads) as pool:
        reports = []
        for report in pool.map(check, names):
            reports.append(report)
            advance(1)
        return reports


def find_duplicates(
    reports: Sequence[ShardReport], tracks: Tracks, audio: AudioConfig, bits: int
) -> list[tuple[int, int, float]]:
    """Return rows of near-duplicates and the bit error rates of their fingerprints."""
    located = {
        track_id: (report.shard, *entry)
        for report in reports
        for track_id, entry in report.hashes.items()
        if report.shard
    }
    rows = [(row, track_id) for row, track_id in enumerate(tracks.ids.tolist()) if track_id in located]

    @functools.lru_cache(CACHED_TRACKS)
    def words(track_id: str) -> Words:
        shard, track, _ = located[track_id]
        return _words(read_unverified(shard, track.first_frame, track.n_frames), audio)

    rates: dict[tuple[int, int], float] = {}
    for one, other, lag in fingerprint.find_candidates([located[track_id][2] for _, track_id in rows]):
        (first, first_id), (second, second_id) = rows[one], rows[other]
        rate = fingerprint.bit_error_rate(words(first_id), words(second_id), lag, bits)
        rates[first, second] = min(rate, rates.get((first, second), rate))
    return [(*pair, rate) for pair, rate in rates.items() if rate <= fingerprint.MAX_BIT_ERROR_RATE]


def shards_on_disk(dataset: Location) -> list[str]:
    """Return the names, in the dataset, of all existing shards, sorted."""
    names = list_files(dataset / SHARDS_FOLDER)
    return [f"{SHARDS_FOLDER}/{name}" for name in names if re.fullmatch(r"[^/]+/[^/.][^/]*\.h5", name)]


def try_read(path: Location) -> Shard | None:
    """Return a shard's header, None if it cannot be read."""
    try:
        return read_shard(path)
    except UnreachableError:
        raise
    except Exception:  # as in `_check_shard`, which reports it
        return None


def _check_shard(
    dataset: Location,
    info: DatasetInfo | None,
    rows_of: Mapping[str, Sequence[Row]] | None,
    hashes: bool,
    name: str,
) -> ShardReport:
    report = ShardReport(name, [])
    try:
        report.shard = shard = read_shard(dataset / name)
    except Exception as error:  # h5py raises many kinds of errors for a damaged header
        report.damaged = not isinstance(error, UnreachableError)
        report.findings.append(Finding("error", name, f"it cannot be read: {error}"))
        return report
    rows = rows_of[name] if rows_of is not None else [dataclasses.asdict(track) for track in shard.tracks]
    report.findings += integrity.check_layout(shard, rows, name)
    if info:
        report.findings += integrity.check_parameters(info, shard, name)
    if shard.dtype in (np.float16, np.float32):
        altered = list(_check_block(report, shard, info.audio if info else AudioConfig(), hashes))
        report.findings += altered
        report.damaged = bool(altered)
    return report


def _check_block(report: ShardReport, shard: Shard, audio: AudioConfig, hashes: bool) -> Iterator[Finding]:
    intact = True
    for track in shard.tracks:
        frames = read_unverified(shard, track.first_frame, track.n_frames)
        found = integrity.check_frames(track, frames, audio, report.name)
        yield from found
        intact = intact and not found
        if hashes and not found and shard.shape[1] == audio.frame_size:
            report.hashes[track.track_id] = (track, fingerprint.min_hash(_words(frames, audio)))
    if intact and shard.attributes.get("checksum") != _checksum(shard):
        yield Finding("error", report.name, "its block does not have the checksum it was written with.")


def _words(frames: Frames, audio: AudioConfig) -> Words:
    magnitudes = magnitude_frames(frames, audio) if audio.holds_waveforms else frames
    return fingerprint.extract_words(magnitudes, audio)


def _checksum(shard: Shard) -> str:
    state, n_frames = hashlib.blake2b(digest_size=16), shard.shape[0]
    rows = max(1, BLOCK_BYTES // (shard.shape[1] * shard.dtype.itemsize))
    for first in range(0, n_frames, rows):
        state.update(read_unverified(shard, first, min(rows, n_frames - first)).data)
    return state.hexdigest()
