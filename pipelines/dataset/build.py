"""Fill a dataset folder: plan the shards, write them, write the tables."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.data.catalogue import DESCRIPTIONS, Recording
from cs_keras.data.folds import empty_splits
from cs_keras.data.schema import (
    DATASET_FILE,
    SHARDS_FOLDER,
    DatasetInfo,
    DatasetSettings,
    ExcludedTrack,
    Tracks,
    make_tracks,
    read_info,
    read_tracks,
    write_dataset,
)
from cs_keras.data.shards import Shard, read_shard
from cs_keras.errors import ConfigError, CsKerasError, StorageError, UnreachableError
from cs_keras.messages import count
from cs_keras.runs import locked
from cs_keras.storage.location import Location, is_file, is_remote, list_files, remove
from cs_keras.storage.open_files import refuse_links
from pipelines.dataset.shard_plan import ShardPlan, assign, plan_shards


@dataclasses.dataclass(frozen=True)
class FillConfig(DatasetSettings):
    """Settings of a dataset and of making it; see `DatasetSettings` for the others.

    Attributes
    ----------
    shard_mb
        Planned size of a shard in megabytes; a killed process loses at most this much work for each worker.
    append
        Add to a dataset that is complete.
    """

    shard_mb: int = 128
    append: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("shard_mb", self.shard_mb, 1, 4096)

    @property
    def shard_s(self) -> float:
        """Planned duration of a shard's recordings in seconds."""
        bytes_per_second = (
            self.audio.frames_per_second * self.audio.frame_size * np.dtype(self.dtype).itemsize
        )
        return self.shard_mb * 1e6 / bytes_per_second


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """Number of tracks in the dataset, number of new ones, and excluded tracks with reasons."""

    n_tracks: int
    n_new: int
    left_out: tuple[ExcludedTrack, ...]
    fold_assignment: str


def fill_dataset(
    recordings: Sequence[Recording],
    out: Location,
    settings: FillConfig,
    make_shards: Callable[[Sequence[ShardPlan]], Sequence[Shard]],
    folds: Mapping[str, int] | None = None,
) -> IngestResult:
    """Plan the shards of `recordings`, have them made, and write the tables of the dataset `out`.

    `make_shards` returns a shard for each plan, in order. `folds` are by track id, where they are given with the
    data; by default they are assigned by ``settings.fold_by``.

    Raises ConfigError when `out` holds a dataset with other settings, or is complete and ``append`` is not set;
    DataError when fewer than three recordings can be used; StorageError when files cannot be read or written,
    another process of this machine is filling `out`, or its folder of shards is a link or contains one to a folder.
    """
    wanted = DatasetInfo(settings.audio, settings.dtype, settings.fold_by)
    refuse_links(out / SHARDS_FOLDER)
    with lock(out):
        info, tracks = open_existing(out, wanted, with_audio=True)
        old_ids = set(tracks.strings("track_id"))
        intact = _intact(out, info, tracks)
        known = set(intact.strings("track_id"))
        if not settings.append:  # an append tries excluded recordings again
            known |= {entry.track_id for entry in info.left_out}
        new = [recording for recording in recordings if recording.track_id not in known]
        lost = old_ids - known - {recording.track_id for recording in new}
        if lost:
            raise StorageError(
                f"{out} has lost the shards of {count(len(lost), 'track')} (such as {min(lost)!r}); ingest their "
                "recordings again to restore them."
            )
        if not new:
            return IngestResult(len(tracks), 0, info.left_out, info.fold_assignment)
        added = [recording.track_id for recording in new if recording.track_id not in old_ids]
        check_append(out, tracks, added, settings.append)
        made, rows, refused, assignment = _make_all(new, tracks, settings, make_shards, folds)
        new_ids = {recording.track_id for recording in new}
        excluded = [entry for entry in info.left_out if entry.track_id not in new_ids]
        excluded += [ExcludedTrack(r.track_id, refused[r.track_id]) for r in new if r.track_id in refused]
        # Earlier rows keep their order, so that factors still fit.
        row_of = {track_id: row for row, track_id in enumerate(tracks.strings("track_id"))}
        rows = [*intact.table.to_pylist(), *rows]
        merged = make_tracks(sorted(rows, key=lambda row: row_of.get(row["track_id"], len(row_of))))
        named = sorted(set(merged.strings("shard")))
        checksums = {**info.shards, **{name: str(s.attributes["checksum"]) for name, s in made.items()}}
        headers = {**info.headers, **{name: shard.rest_checksum for name, shard in made.items()}}
        info = dataclasses.replace(
            info,
            left_out=tuple(excluded),
            fold_assignment=info.fold_assignment if len(tracks) else assignment,
            shards={name: checksums[name] for name in named},
            headers={name: headers[name] for name in named},
        )
        _remove_orphans(out, named)
        write_dataset(out, info, merged)
        return IngestResult(len(merged), len(added) - len(refused), info.left_out, info.fold_assignment)


def lock(out: Location) -> contextlib.AbstractContextManager[Any]:
    """Return a lock of a local folder against other processes; a remote one cannot be locked."""
    return contextlib.nullcontext() if is_remote(out) else locked(out)


def open_existing(out: Location, wanted: DatasetInfo, with_audio: bool) -> tuple[DatasetInfo, Tracks]:
    """Return the dataset in `out`; `wanted` and no tracks if there is none.

    Raises ConfigError when it has other settings, or has recordings where items without audio are to be added,
    or vice versa.
    """
    if not is_file(out / DATASET_FILE):
        return wanted, make_tracks([])
    info, tracks = read_info(out), read_tracks(out)
    n_with_audio = int(tracks.has_audio.sum())
    if with_audio and n_with_audio < len(tracks):
        raise ConfigError(f"{out} contains items without audio; ingest recordings into another dataset.")
    if not with_audio and n_with_audio:
        raise ConfigError(
            f"{out} contains {count(n_with_audio, 'recording')}; ingest items without audio into another dataset."
        )
    for name in ("audio", "dtype", "fold_by"):
        found, expected = getattr(info, name), getattr(wanted, name)
        if found != expected:
            raise ConfigError(f"{out} was made with {name} = {found}; this command has {name} = {expected}.")
    return info, tracks


def check_append(out: Location, tracks: Tracks, added: Sequence[str], append: bool) -> None:
    """Raise ConfigError when track ids would be added to a complete dataset without ``append``."""
    if len(tracks) and added and not append:
        raise ConfigError(
            f"{out} already holds a dataset of {count(len(tracks), 'track')}, and {len(added)} of the given ones "
            f"are not in it (first: {added[0]!r}); add them with --append, or choose another --out."
        )


def make_row(recording: Recording, fold: int, **position: Any) -> dict[str, Any]:
    """Return a row of the track table; without `position`, one of an item without audio."""
    texts = {name: getattr(recording, name) for name in ("track_id", *DESCRIPTIONS)}
    nowhere = {"duration_s": None, "shard": "", "first_frame": 0, "n_frames": 0}
    genres, from_folder = list(recording.genres), recording.artist_from_folder
    return {**texts, "artist_from_folder": from_folder, "genres": genres, "fold": fold, **nowhere, **position}


def list_shards(out: Location) -> list[str]:
    """Return the names of existing shards in the dataset `out`."""
    return [f"{SHARDS_FOLDER}/{name}" for name in list_files(out / SHARDS_FOLDER)]


def read_if_complete(path: Location, plan: str) -> Shard | None:
    """Return the shard at `path` if it is complete and its ``plan`` attribute is the digest `plan`."""
    try:
        shard = read_shard(path)
    except UnreachableError:
        raise
    except (CsKerasError, OSError):
        return None
    return shard if shard.attributes.get("plan") == plan else None


def _make_all(
    new: Sequence[Recording],
    tracks: Tracks,
    settings: FillConfig,
    make_shards: Callable[[Sequence[ShardPlan]], Sequence[Shard]],
    given: Mapping[str, int] | None,
) -> tuple[dict[str, Shard], list[dict[str, Any]], dict[str, str], str]:
    """Return shards by name, rows of their tracks, reasons of excluded tracks, and how folds were assigned."""
    refused: dict[str, str] = {}
    while True:  # a second round only where all recordings of a split were unusable
        usable = [recording for recording in new if recording.track_id not in refused]
        if given:
            folds, assignment = [given[recording.track_id] for recording in usable], "given"
        else:
            folds, assignment = assign(usable, tracks, settings.fold_by)
        plans = plan_shards(usable, folds, tracks, settings.shard_s)
        shards = make_shards(plans)
        refused |= {i: why for shard in shards for i, why in shard.left_out.items()}
        rows = [
            row
            for plan, shard in zip(plans, shards, strict=True)
            for row in _rows(plan, shard, settings.audio)
        ]
        if len(tracks) or given or not empty_splits(row["fold"] for row in rows):
            made = {plan.name: shard for plan, shard in zip(plans, shards, strict=True)}
            return made, rows, refused, assignment


def _rows(plan: ShardPlan, shard: Shard, audio: AudioConfig) -> list[dict[str, Any]]:
    recordings = {recording.track_id: recording for recording in plan.recordings}
    return [
        make_row(
            recordings[track.track_id],
            plan.fold,
            duration_s=audio.duration_s(track.n_frames),
            shard=plan.name,
            first_frame=track.first_frame,
            n_frames=track.n_frames,
        )
        for track in shard.tracks
    ]


def _intact(out: Location, info: DatasetInfo, tracks: Tracks) -> Tracks:
    """Return the tracks whose shards exist and have the checksums that were recorded."""
    names = tracks.strings("shard")
    whole = {}
    for name in set(names):
        try:
            shard = read_shard(out / name)
            made = (shard.attributes["checksum"], shard.rest_checksum)
            whole[name] = made == (info.shards.get(name), info.headers.get(name))
        except UnreachableError:  # it may be intact: do not replace it
            raise
        except CsKerasError:
            whole[name] = False
    return Tracks(tracks.table.filter(pa.array([whole[name] for name in names], pa.bool_())))


def _remove_orphans(out: Location, named: Sequence[str]) -> None:
    """Remove shards without tracks: of an earlier plan, damaged, or without a usable recording."""
    for name in list_files(out / SHARDS_FOLDER):
        if re.fullmatch(r"fold-\d+/part-\d+\.h5", name) and f"{SHARDS_FOLDER}/{name}" not in named:
            remove(out / SHARDS_FOLDER / name)
