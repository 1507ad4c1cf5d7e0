"""Verify a whole dataset: read every file, compare every checksum, find near-duplicate recordings."""

import dataclasses
from collections.abc import Iterator, Sequence

from cs_keras.data.integrity import checks as integrity
from cs_keras.data.integrity import fingerprint
from cs_keras.data.integrity.checks import Finding, Leakage
from cs_keras.data.schema import (
    DATASET_FILE,
    FACTORS_FOLDER,
    INTERACTIONS_FILE,
    TRACKS_FILE,
    DatasetInfo,
    Tracks,
    assign_split,
    factors_names,
    read_document,
    read_info,
    read_tracks,
)
from cs_keras.data.splits import SPLITS_FOLDER, split_names
from cs_keras.errors import CsKerasError, StorageError
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.store import load_factors
from cs_keras.messages import count
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import is_temporary
from cs_keras.storage.location import Location, is_file, is_folder, list_files
from pipelines.dataset.shard_check import ShardReport, check_shards, find_duplicates, shards_on_disk, try_read


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """Result of a check: findings in the order of the checks, and sizes and names of what could be read.

    `leakage` is empty without a readable track table; `damaged` shards must be ingested again; `not_checked` says
    what was not looked at, and why.
    """

    findings: tuple[Finding, ...]
    leakage: tuple[Leakage, ...]
    damaged: tuple[str, ...]
    n_tracks: int
    n_shards: int
    n_frames: int
    factors: tuple[str, ...]
    not_checked: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings of severity ``error``."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def check_dataset(
    dataset: Location, progress: Progress | None = None, audio_duplicates: bool = True
) -> CheckResult:
    """Verify a dataset and report every defect as a finding; StorageError when the folder does not exist.

    Every byte of every shard is read once or twice, one track or block at a time, by one thread for each core.
    Memory holds the tables and, unless `audio_duplicates` is False, 4 kB a track to find near-duplicate audio.
    """
    if not is_folder(dataset):
        raise StorageError(f"There is no folder {dataset}.")
    info, tracks, findings = check_tables(dataset)
    bits = fingerprint.word_bits(info.audio) if info and tracks and audio_duplicates else 0
    reports = check_shards(dataset, info, tracks, bits >= fingerprint.MIN_BITS, progress or SilentProgress())
    findings += [finding for report in reports for finding in report.findings]
    findings += _check_files(dataset, tracks)
    factors: list[str] = []
    leakage: list[Leakage] = []
    if info and tracks:
        if 0 < bits < fingerprint.MIN_BITS:
            message = f"n_fft = {info.audio.n_fft} is too short to look for near-duplicate audio."
            findings.append(Finding("notice", DATASET_FILE, message))
        findings += integrity.check_artists(tracks, TRACKS_FILE)
        pairs = (
            find_duplicates(reports, tracks, info.audio, bits) if any(one.hashes for one in reports) else None
        )
        findings += integrity.check_duplicates(tracks, pairs or (), TRACKS_FILE)
        for split in (None, *split_names(dataset)):
            try:
                leakage += integrity.measure_leakage(assign_split(dataset, tracks, split), pairs)
            except CsKerasError as error:
                findings.append(Finding("error", f"{SPLITS_FOLDER}/{split}.parquet", str(error)))
        factors = _check_factors(dataset, tracks, findings)
    return CheckResult(
        tuple(findings),
        tuple(leakage),
        tuple(report.name for report in reports if report.damaged),
        len(tracks) if tracks else 0,
        len(reports),
        sum(report.shard.shape[0] for report in reports if report.shard),
        tuple(factors),
        tuple(_not_checked(info, tracks, reports)),
    )


def _not_checked(
    info: DatasetInfo | None, tracks: Tracks | None, reports: Sequence[ShardReport]
) -> Iterator[str]:
    """Yield what could not be checked, with the reason."""
    unreadable = [name for name, read in ((DATASET_FILE, info), (TRACKS_FILE, tracks)) if read is None]
    if unreadable:
        reason = f"{' and '.join(unreadable)} cannot be read"
        yield f"leakage, factors, interactions and near-duplicates: {reason}"
    if tracks is None:
        yield f"positions of tracks: {TRACKS_FILE} cannot be read"
    if unread := [report.name for report in reports if report.shard is None]:
        yield f"frames of {', '.join(unread)}: unreadable"


def check_tables(dataset: Location) -> tuple[DatasetInfo | None, Tracks | None, list[Finding]]:
    """Return ``dataset.json`` and ``tracks.parquet``, None where unreadable, and findings about them."""
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


def temporaries(dataset: Location) -> list[str]:
    """Return the names, in the dataset, of temporary files of killed processes."""
    return [name for name in list_files(dataset) if is_temporary(name.rpartition("/")[2])]


def _check_files(dataset: Location, tracks: Tracks | None) -> list[Finding]:
    """Report files that nothing refers to."""
    message = "a temporary file of a killed writer; --repair removes it."
    findings = [Finding("notice", name, message) for name in temporaries(dataset)]
    if tracks is None:
        return findings
    for name in sorted(set(shards_on_disk(dataset)) - set(tracks.strings("shard"))):
        shard = try_read(dataset / name)
        if shard is not None and shard.tracks and not len(tracks):
            held = count(len(shard.tracks), "track")
            message = f"it holds {held}, and the track table has no rows; --repair adds them."
            findings.append(Finding("error", name, message))
        elif shard is None or shard.tracks:  # ingest writes empty ones where all recordings were unusable
            message = "the track table does not name it: left by an interrupted append or by earlier folds."
            findings.append(Finding("notice", name, message))
    return findings


def _check_factors(dataset: Location, tracks: Tracks, findings: list[Finding]) -> list[str]:
    """Add findings about factors and interactions; return the names of the readable factors."""
    names, fitted = [], False
    for name in factors_names(dataset):
        where = f"{FACTORS_FOLDER}/{name}.npz"
        try:
            factors = load_factors(dataset / where)
        except CsKerasError as error:
            findings.append(Finding("error", where, str(error)))
            continue
        findings += _check_track_ids(factors.track_ids.tolist(), tracks, where)
        zeros = factors.track_ids[factors.has_factors & ~factors.item_factors.any(axis=1)].tolist()
        findings += integrity.errors(where, (f"all factors of track {i!r} are 0." for i in zeros))
        names.append(name)
        fitted = fitted or factors.protocol != "given"
    path = dataset / INTERACTIONS_FILE
    if is_file(path) or fitted:  # given factors come without interactions
        try:
            ids = load_interactions(path).track_ids.tolist()
            findings += _check_track_ids(ids, tracks, INTERACTIONS_FILE)
        except CsKerasError as error:
            findings.append(Finding("error", INTERACTIONS_FILE, str(error)))
    if not names and is_file(path):
        message = f"{INTERACTIONS_FILE} exists, and no set of factors; `cs-keras factors` makes one."
        findings.append(Finding("error", FACTORS_FOLDER, message))
    elif not names:
        message = "no set of factors can be read; `cs-keras factors` makes one."
        findings.append(Finding("notice", FACTORS_FOLDER, message))
    return names


def _check_track_ids(track_ids: list[str], tracks: Tracks, where: str) -> list[Finding]:
    if track_ids == tracks.ids.tolist():
        return []
    message = f"its {len(track_ids)} tracks are not the {len(tracks)} of the table in their order"
    return [Finding("error", where, f"{message}; repeat `cs-keras factors`.")]
