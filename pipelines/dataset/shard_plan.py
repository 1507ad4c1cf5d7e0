"""Plan shards: assign recordings to folds, and pack each fold's into shards."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath

from cs_keras.data.catalogue import Recording
from cs_keras.data.folds import assign_folds, group_keys
from cs_keras.data.schema import SHARDS_FOLDER, Tracks

UNKNOWN_DURATION_S = 240.0  # planned for files whose header has no duration


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A shard to make: its name in the dataset, its fold and its recordings, in order."""

    name: str
    fold: int
    recordings: tuple[Recording, ...]


def assign(recordings: Sequence[Recording], tracks: Tracks, fold_by: str) -> tuple[list[int], str]:
    """Return `assign_folds` of `recordings`, groups of `tracks` keeping their folds."""
    old_keys = group_keys(tracks.strings("track_id"), tracks.strings("artist"), fold_by)
    known = dict(zip(old_keys, tracks.numbers("fold").tolist(), strict=True))
    ids, artists = [r.track_id for r in recordings], [r.artist for r in recordings]
    return assign_folds(ids, artists, fold_by, known)


def plan_shards(
    recordings: Sequence[Recording], folds: Sequence[int], tracks: Tracks, shard_s: float
) -> list[ShardPlan]:
    """Pack recordings into shards of about `shard_s` seconds by the durations in their headers.

    The same input gives the same shards. Their numbers follow those of the shards of `tracks`.
    """
    n_used: dict[str, int] = collections.defaultdict(int)
    for name in map(PurePosixPath, set(tracks.strings("shard"))):
        n_used[name.parent.name] = max(n_used[name.parent.name], 1 + int(name.stem.removeprefix("part-")))
    plans = []
    for fold in sorted(set(folds)):
        members = [recording for recording, own in zip(recordings, folds, strict=True) if own == fold]
        folder = f"fold-{fold:02d}"
        for number, group in enumerate(_pack(members, shard_s), n_used[folder]):
            plans.append(ShardPlan(f"{SHARDS_FOLDER}/{folder}/part-{number:05d}.h5", fold, tuple(group)))
    return plans


def _pack(recordings: Sequence[Recording], shard_s: float) -> list[list[Recording]]:
    groups: list[list[Recording]] = []
    filled = shard_s
    for recording in recordings:
        length = recording.duration_s or UNKNOWN_DURATION_S
        if filled + length > shard_s and filled:
            groups.append([])
            filled = 0.0
        groups[-1].append(recording)
        filled += length
    return groups
