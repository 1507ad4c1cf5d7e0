"""A whole dataset verified: every file read, every checksum compared, near-duplicates looked for."""

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
from cs_keras.data.integrity.checks import Finding, Leakage, Row
from cs_keras.data.integrity.fingerprint import Sketch, Words
from cs_keras.data.reader import read_unverified
from cs_keras.data.schema import (
    DATASET_FILE,
    FACTORS_FOLDER,
    INTERACTIONS_FILE,
    SHARDS_FOLDER,
    TRACKS_FILE,
    DatasetInfo,
    Tracks,
    factors_names,
    read_document,
    read_info,
    read_tracks,
)
from cs_keras.data.shards import Frames, Shard, ShardTrack, read_shard
from cs_keras.errors import CsKerasError, StorageError, UnreachableError
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.store import Factors, load_factors
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import is_temporary
from cs_keras.storage import remote
from cs_keras.storage.location import Location, is_file, is_folder, is_remote, list_files

BLOCK_BYTES = 2**24  # read at a time for the checksum of a block
CACHED_TRACKS = 64  # fingerprints kept while candidates, which are sorted, are compared


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes
    ----------
    findings
        Errors and notices, in the order of the checks.
    leakage
        What each two splits share; empty where the track table cannot be read.
    damaged
        Shards to be made again.
    n_tracks, n_shards, n_frames
        Of what could be read.
    factors
        Names of the sets of factors that could be read.
    """

    findings: tuple[Finding, ...]
    leakage: tuple[Leakage, ...]
    damaged: tuple[str, ...]
    n_tracks: int
    n_shards: int
    n_frames: int
    factors: tuple[str, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings by which the dataset is not as it must be."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


@dataclasses.dataclass
class _ShardReport:
    """What was found in one shard: its header where readable, and a sketch of each sound track."""

    name: str
    findings: list[Finding]
    damaged: bool = False
    shard: Shard | None = None
    sketches: dict[str, tuple[ShardTrack, Sketch]] = dataclasses.field(default_factory=dict)


def check_dataset(
    dataset: Location, progress: Progress | None = None, audio_duplicates: bool = True
) -> CheckResult:
    """Verify a dataset; whatever is wrong with it becomes a finding.

    Every byte of every shard is read once or twice, one track or block at a time, in as many threads as there are
    cores. Memory holds the tables and, for duplicates, 4 kB a track.

    Parameters
    ----------
    dataset
        Dataset folder.
    progress
        Where to report.
    audio_duplicates
        Look for near-duplicate audio.

    Raises
    ------
    StorageError
        When the folder does not exist.
    """
    if not is_folder(dataset):
        raise StorageError(f"There is no folder {dataset}.")
    info, tracks, findings = check_tables(dataset)
    bits = fingerprint.word_bits(info.audio) if info and tracks and audio_duplicates else 0
    reports = _check_shards(dataset, info, tracks, bits >= fingerprint.MIN_BITS, progress or SilentProgress())
    findings += [finding for report in reports for finding in report.findings]
    findings += _check_files(dataset, tracks)
    factors: list[str] = []
    leakage: list[Leakage] = []
    if info and tracks:
        if 0 < bits < fingerprint.MIN_BITS:
            message = f"n_fft = {info.audio.n_fft} is too short to look for near-duplicate audio."
            findings.append(Finding("notice", DATASET_FILE, message))
        pairs = _find_duplicates(reports, tracks, info.audio, bits)
        findings += integrity.check_duplicates(tracks, pairs, TRACKS_FILE)
        leakage = integrity.measure_leakage(tracks, pairs)
        factors = _check_listening(dataset, tracks, findings)
    return CheckResult(
        tuple(findings),
        tuple(leakage),
        tuple(report.name for report in reports if report.damaged),
        len(tracks) if tracks else 0,
        len(reports),
        sum(report.shard.shape[0] for report in reports if report.shard),
        tuple(factors),
    )


def check_factors(factors: Factors, tracks: Tracks, where: str) -> list[Finding]:
    """Check that factors are of the dataset's tracks, and that no track has factors of zeros."""
    empty = factors.has_factors & ~factors.item_factors.any(axis=1)
    zeros = factors.track_ids[empty].tolist()
    return [
        *check_order(factors.track_ids.tolist(), tracks, where),
        *integrity.errors(where, (f"track {i!r} is said to have factors and has zeros." for i in zeros)),
    ]


def check_order(track_ids: list[str], tracks: Tracks, where: str) -> list[Finding]:
    """Check that the tracks of a file are the dataset's, in the same order."""
    if track_ids == tracks.ids.tolist():
        return []
    message = f"its {len(track_ids)} tracks are not the {len(tracks)} of the table in their order"
    return [Finding("error", where, f"{message}; make it again with `cs-keras factors`.")]


def check_tables(dataset: Location) -> tuple[DatasetInfo | None, Tracks | None, list[Finding]]:
    """Return ``dataset.json`` and ``tracks.parquet``, None where unreadable, and what is wrong with them."""
    info, tracks, findings = None, None, []
    try:
        info = read_info(dataset)
    except CsKerasError as error:
        findings.append(Finding("error", DATASET_FILE, str(error)))
    try:
        tracks = read_tracks(dataset)
    except CsKerasError as error:
        findings.append(Finding("error", TRACKS_FILE, str(error)))
    if info and tracks:
        n_tracks = read_document(dataset).get("n_tracks")
        findings += integrity.check_document(info, tracks, n_tracks, DATASET_FILE)
        findings += integrity.check_folds(info, tracks, TRACKS_FILE)
    return info, tracks, findings


def _check_shards(
    dataset: Location, info: DatasetInfo | None, tracks: Tracks | None, sketch: bool, progress: Progress
) -> list[_ShardReport]:
    """Check the shards that the table names and, where there is no table, those that are there."""
    rows_of: dict[str, list[Row]] = defaultdict(list)
    for row in tracks.table.to_pylist() if tracks else ():
        if row["shard"]:  # tracks without sound are in none
            rows_of[row["shard"]].append(row)
    names = sorted(rows_of) if tracks else shards_on_disk(dataset)
    n_threads = remote.DEFAULT.in_flight if is_remote(dataset) else os.cpu_count()
    with progress.task("check", len(names)) as advance, ThreadPoolExecutor(n_threads) as pool:
        examine = functools.partial(_check_shard, dataset, info, rows_of if tracks else None, sketch)
        reports = []
        for report in pool.map(examine, names):
            reports.append(report)
            advance(1)
        return reports


def _check_shard(
    dataset: Location,
    info: DatasetInfo | None,
    rows_of: Mapping[str, Sequence[Row]] | None,
    sketch: bool,
    name: str,
) -> _ShardReport:
    report = _ShardReport(name, [])
    try:
        report.shard = shard = read_shard(dataset / name)
    except Exception as error:  # h5py raises whatever a damaged header provokes
        report.damaged = not isinstance(error, UnreachableError)
        report.findings.append(Finding("error", name, f"it cannot be read: {error}"))
        return report
    rows = rows_of[name] if rows_of is not None else [dataclasses.asdict(track) for track in shard.tracks]
    report.findings += integrity.check_layout(shard, rows, name)
    if info:
        report.findings += integrity.check_parameters(info, shard, name)
    audio = info.audio if info else AudioConfig()
    if shard.dtype in (np.float16, np.float32):
        altered = list(_check_block(report, shard, audio, sketch))
        report.findings += altered
        report.damaged = bool(altered)
    return report


def _check_block(report: _ShardReport, shard: Shard, audio: AudioConfig, sketch: bool) -> Iterator[Finding]:
    whole = True
    for track in shard.tracks:
        frames = read_unverified(shard, track.first_frame, track.n_frames)
        found = integrity.check_frames(track, frames, audio, report.name)
        yield from found
        whole = whole and not found
        if sketch and not found and shard.shape[1] == audio.frame_size:
            words = _words(frames, audio)
            report.sketches[track.track_id] = (track, fingerprint.make_sketch(words))
    if whole and shard.attributes.get("checksum") != _checksum(shard):
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


def _check_files(dataset: Location, tracks: Tracks | None) -> list[Finding]:
    """Report files that nothing refers to."""
    findings = [
        Finding("notice", name, "a killed writer left it; --repair removes it.")
        for name in temporaries(dataset)
    ]
    if tracks is None:
        return findings
    for name in sorted(set(shards_on_disk(dataset)) - set(tracks.strings("shard"))):
        shard = try_read(dataset / name)
        if shard is None or shard.tracks:  # ingest makes empty ones where all recordings were unusable
            message = "the track table does not name it: an append was stopped, or earlier folds left it."
            findings.append(Finding("notice", name, message))
    return findings


def _check_listening(dataset: Location, tracks: Tracks, findings: list[Finding]) -> list[str]:
    """Add findings about factors and interactions; return the names of the factors that could be read."""
    names, fitted = [], False
    for name in factors_names(dataset):
        where = f"{FACTORS_FOLDER}/{name}.npz"
        try:
            factors = load_factors(dataset / where)
        except CsKerasError as error:
            findings.append(Finding("error", where, str(error)))
            continue
        findings += check_factors(factors, tracks, where)
        names.append(name)
        fitted = fitted or factors.protocol != "given"
    path = dataset / INTERACTIONS_FILE
    if is_file(path) or fitted:  # ready-made factors come without listening
        try:
            findings += check_order(load_interactions(path).track_ids.tolist(), tracks, INTERACTIONS_FILE)
        except CsKerasError as error:
            findings.append(Finding("error", INTERACTIONS_FILE, str(error)))
    if not names and is_file(path):
        message = f"{INTERACTIONS_FILE} is there, and no set of factors; `cs-keras factors` makes one."
        findings.append(Finding("error", FACTORS_FOLDER, message))
    elif not names:
        message = "no set of factors can be read; `cs-keras factors` makes one."
        findings.append(Finding("notice", FACTORS_FOLDER, message))
    return names


def _find_duplicates(
    reports: Sequence[_ShardReport], tracks: Tracks, audio: AudioConfig, bits: int
) -> list[tuple[int, int, float]]:
    """Return rows of near-duplicates and the bit error rates of their fingerprints."""
    places = {
        track_id: (report.shard, *entry)
        for report in reports
        for track_id, entry in report.sketches.items()
        if report.shard
    }
    ids = [track_id for track_id in tracks.ids.tolist() if track_id in places]
    row_of = {track_id: row for row, track_id in enumerate(tracks.ids.tolist())}

    @functools.lru_cache(CACHED_TRACKS)
    def words(track_id: str) -> Words:
        shard, track, _ = places[track_id]
        return _words(read_unverified(shard, track.first_frame, track.n_frames), audio)

    rates: dict[tuple[int, int], float] = {}
    for pair in fingerprint.find_candidates([places[track_id][2] for track_id in ids]):
        first, second = ids[pair.first], ids[pair.second]
        rate = fingerprint.bit_error_rate(words(first), words(second), pair.lag, bits)
        rows = row_of[first], row_of[second]
        rates[rows] = min(rate, rates.get(rows, rate))
    return [(*rows, rate) for rows, rate in rates.items() if rate <= fingerprint.MAX_BIT_ERROR_RATE]


def shards_on_disk(dataset: Location) -> list[str]:
    """Return the names, in the dataset, of all shards that are there, sorted."""
    names = list_files(dataset / SHARDS_FOLDER)
    return [f"{SHARDS_FOLDER}/{name}" for name in names if re.fullmatch(r"[^/]+/[^/.][^/]*\.h5", name)]


def temporaries(dataset: Location) -> list[str]:
    """Return the names, in the dataset, of what killed writers left."""
    return [name for name in list_files(dataset) if is_temporary(name.rpartition("/")[2])]


def try_read(path: Location) -> Shard | None:
    """Return a shard's header, None where it cannot be read."""
    try:
        return read_shard(path)
    except UnreachableError:
        raise
    except Exception:  # as in check_dataset, which reports it
        return None
