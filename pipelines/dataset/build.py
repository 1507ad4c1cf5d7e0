"""A dataset folder filled with shards: planned, made by whoever knows the frames, and written into its tables."""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.catalogue import Recording
from cs_keras.data.folds import SPLITS, assign_folds, group_keys
from cs_keras.data.schema import (
    DATASET_FILE,
    SHARDS_FOLDER,
    DatasetInfo,
    ExcludedTrack,
    Tracks,
    make_tracks,
    read_info,
    read_tracks,
    write_dataset,
)
from cs_keras.data.shards import Shard, read_shard
from cs_keras.errors import ConfigError, CsKerasError, StorageError, UnreachableError
from cs_keras.runs import locked
from cs_keras.storage.location import Location, is_file, is_remote, list_files, remove

UNKNOWN_DURATION_S = 240.0  # planned for files whose header does not say how long they are


@dataclasses.dataclass(frozen=True)
class FillConfig:
    """What a dataset is to be, wherever its frames come from.

    Attributes
    ----------
    info
        Audio parameters, dtype and folds asked for.
    shard_mb
        Megabytes a shard is planned for.
    append
        Add to a dataset that is already whole.
    folds
        Fold of each track id where it is given; None: assigned by ``info.fold_by``.
    """

    info: DatasetInfo
    shard_mb: int
    append: bool = False
    folds: Mapping[str, int] | None = None


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """One shard to make: its name in the dataset and its recordings, in order."""

    name: str
    fold: int
    recordings: tuple[Recording, ...]


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """What an ingest did: tracks in the dataset now, how many are new, and what was left out, with reasons."""

    n_tracks: int
    n_new: int
    left_out: tuple[ExcludedTrack, ...]
    fold_assignment: str


def fill_dataset(
    recordings: Sequence[Recording],
    out: Location,
    plan: FillConfig,
    make_shards: Callable[[Sequence[ShardPlan]], Sequence[Shard]],
) -> IngestResult:
    """Plan the shards of `recordings`, have them made, and write the tables of the dataset `out`.

    Parameters
    ----------
    recordings
        With ids that differ.
    out
        Dataset folder to make or add to.
    plan
        What the dataset is to be.
    make_shards
        Returns a shard for each part, in order.

    Raises
    ------
    ConfigError
        When `out` holds a dataset with other settings, or one to which nothing may be added.
    DataError
        When fewer than three recordings can be used.
    StorageError
        When files cannot be read or written, or another process of this machine is filling `out`.
    """
    if is_remote(out):
        return _fill(recordings, out, plan, make_shards)
    with locked(out):
        return _fill(recordings, out, plan, make_shards)


def _fill(
    recordings: Sequence[Recording],
    out: Location,
    plan: FillConfig,
    make_shards: Callable[[Sequence[ShardPlan]], Sequence[Shard]],
) -> IngestResult:
    info, tracks = _existing(out, plan.info)
    if not tracks.has_audio.all():
        raise ConfigError(f"{out} holds items without sound; recordings go into a dataset of their own.")
    intact = _intact(out, info, tracks)
    known = set(intact.strings("track_id"))
    if not plan.append:  # what could not be used before is tried again when asked to add
        known |= {entry.track_id for entry in info.left_out}
    new = [recording for recording in recordings if recording.track_id not in known]
    lost = set(tracks.strings("track_id")) - known - {recording.track_id for recording in new}
    if lost:
        raise StorageError(
            f"{out} has lost the shards of {len(lost)} tracks (such as {min(lost)!r}); ingest their recordings "
            "again, which makes new ones."
        )
    if not new:
        return IngestResult(len(tracks), 0, info.left_out, info.fold_assignment)
    added = [r for r in new if r.track_id not in set(tracks.strings("track_id"))]
    if len(tracks) and added and not plan.append:
        raise ConfigError(
            f"{out} already holds a dataset of {len(tracks)} tracks, and {len(added)} of the recordings are not "
            f"in it (first: {added[0].track_id!r}); add them with --append, or choose another --out."
        )
    refused: dict[str, str] = {}
    while True:  # a second round only where unusable recordings were all that a split had
        usable = [recording for recording in new if recording.track_id not in refused]
        folds, fold_assignment = _assign(usable, tracks, plan)
        parts = _plan(usable, folds, tracks, plan)
        shards = make_shards(parts)
        refused |= {i: why for shard in shards for i, why in shard.left_out.items()}
        rows = _in_order(tracks, [*intact.table.to_pylist(), *_rows(parts, shards, info.audio)])
        if (
            len(tracks)
            or plan.folds
            or all(any(row["fold"] in members for row in rows) for members in SPLITS.values())
        ):
            break
    tried = {recording.track_id for recording in new}
    left_out = tuple(entry for entry in info.left_out if entry.track_id not in tried) + tuple(
        ExcludedTrack(r.track_id, refused[r.track_id]) for r in new if r.track_id in refused
    )
    merged = make_tracks(rows)
    made = {part.name: shard for part, shard in zip(parts, shards, strict=True)}
    checksums = dict(info.shards) | {name: str(shard.attributes["checksum"]) for name, shard in made.items()}
    headers = dict(info.headers) | {name: shard.rest_checksum for name, shard in made.items()}
    named = sorted(set(merged.strings("shard")))
    info = dataclasses.replace(
        info,
        left_out=left_out,
        fold_assignment=info.fold_assignment if len(tracks) else fold_assignment,
        shards={name: checksums[name] for name in named},
        headers={name: headers[name] for name in named},
    )
    _remove_orphans(out, named)
    write_dataset(out, info, merged)
    return IngestResult(len(merged), len(added) - len(refused), left_out, info.fold_assignment)


def _in_order(tracks: Tracks, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows with those that were there before in their old order, so that factors still fit."""
    place = {track_id: row for row, track_id in enumerate(tracks.strings("track_id"))}
    return sorted(rows, key=lambda row: place.get(row["track_id"], len(place)))


def _intact(out: Location, info: DatasetInfo, tracks: Tracks) -> Tracks:
    """Return the tracks whose shards are there and hold what they held when they were made."""
    names = tracks.strings("shard")
    whole = {}
    for name in set(names):
        try:
            shard = read_shard(out / name)
            made = (shard.attributes["checksum"], shard.rest_checksum)
            whole[name] = made == (info.shards.get(name), info.headers.get(name))
        except UnreachableError:  # it may be whole: nothing may be made in its place
            raise
        except CsKerasError:
            whole[name] = False
    return Tracks(tracks.table.filter(pa.array([whole[name] for name in names], pa.bool_())))


def _remove_orphans(out: Location, named: Sequence[str]) -> None:
    """Remove shards that no track is in: of an earlier plan, damaged, or without a usable recording."""
    for name in list_files(out / SHARDS_FOLDER):
        shard = f"{SHARDS_FOLDER}/{name}"
        if re.fullmatch(r"fold-\d+/part-\d+\.h5", name) and shard not in named:
            remove(out / shard)


def _existing(out: Location, wanted: DatasetInfo) -> tuple[DatasetInfo, Tracks]:
    if not is_file(out / DATASET_FILE):
        return wanted, make_tracks([])
    info = read_info(out)
    for name in ("audio", "dtype", "fold_by"):
        there, asked = getattr(info, name), getattr(wanted, name)
        if there != asked:
            raise ConfigError(f"{out} was made with {name} = {there}; this command asks for {asked}.")
    return info, read_tracks(out)


def _assign(recordings: Sequence[Recording], tracks: Tracks, plan: FillConfig) -> tuple[list[int], str]:
    if plan.folds:
        return [plan.folds[r.track_id] for r in recordings], "given"
    fold_by = plan.info.fold_by
    old_keys = group_keys(tracks.strings("track_id"), tracks.strings("artist"), fold_by)
    known = dict(zip(old_keys, tracks.numbers("fold").tolist(), strict=True))
    ids, artists = [r.track_id for r in recordings], [r.artist for r in recordings]
    return assign_folds(ids, artists, fold_by, known)


def _plan(
    recordings: Sequence[Recording], folds: Sequence[int], tracks: Tracks, plan: FillConfig
) -> list[ShardPlan]:
    """Pack recordings into shards by the length their headers give: the same input gives the same shards."""
    audio = plan.info.audio
    bytes_per_second = audio.frames_per_second * audio.frame_size * np.dtype(plan.info.dtype).itemsize
    seconds = plan.shard_mb * 1e6 / bytes_per_second
    members: dict[int, list[Recording]] = collections.defaultdict(list)
    for recording, fold in zip(recordings, folds, strict=True):
        members[fold].append(recording)
    taken: dict[str, int] = collections.defaultdict(int)
    for name in map(PurePosixPath, set(tracks.strings("shard"))):
        taken[name.parent.name] = max(taken[name.parent.name], 1 + int(name.stem.removeprefix("part-")))
    parts = []
    for fold, inside in sorted(members.items()):
        folder = f"fold-{fold:02d}"
        for number, group in enumerate(_pack(inside, seconds), taken[folder]):
            parts.append(ShardPlan(f"{SHARDS_FOLDER}/{folder}/part-{number:05d}.h5", fold, tuple(group)))
    return parts


def _pack(recordings: Sequence[Recording], seconds: float) -> list[list[Recording]]:
    groups: list[list[Recording]] = []
    filled = seconds
    for recording in recordings:
        length = recording.duration_s or UNKNOWN_DURATION_S
        if filled + length > seconds and filled:
            groups.append([])
            filled = 0.0
        groups[-1].append(recording)
        filled += length
    return groups


def read_if_whole(path: Location, plan: str) -> Shard | None:
    """Return the shard at `path` if it is whole and was made by `plan`, the digest in its attributes."""
    try:
        shard = read_shard(path)
    except UnreachableError:
        raise
    except (CsKerasError, OSError):
        return None
    return shard if shard.attributes.get("plan") == plan else None


def _rows(parts: Sequence[ShardPlan], shards: Sequence[Shard], audio: AudioConfig) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for part, shard in zip(parts, shards, strict=True):
        described = {recording.track_id: recording for recording in part.recordings}
        for track in shard.tracks:
            recording = described[track.track_id]
            rows.append(
                {
                    **{name: getattr(recording, name) for name in ("artist", "title", "album", "isrc")},
                    "track_id": track.track_id,
                    "genres": list(recording.genres),
                    "duration_s": audio.duration_s(track.n_frames),
                    "fold": part.fold,
                    "shard": part.name,
                    "first_frame": track.first_frame,
                    "n_frames": track.n_frames,
                }
            )
    return rows
