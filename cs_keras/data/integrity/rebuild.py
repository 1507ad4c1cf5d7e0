"""Rebuild the tables of a dataset from its shards."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.folds import group_keys, hash_fold
from cs_keras.data.integrity.checks import Row, shard_audio
from cs_keras.data.schema import DatasetInfo, ExcludedTrack
from cs_keras.data.shards import Shard, ShardTrack
from cs_keras.errors import DataError


def rebuild_rows(
    rows: Sequence[Row], shards: Mapping[str, Shard], audio: AudioConfig, order: Sequence[str] = ()
) -> list[Row]:
    """Return the rows of the track table with their positions in the shards.

    A row keeps its description; its position comes from the shard that holds the track. Rows of unreadable
    shards stay, because ingest can replace the shard; rows of tracks that their shard does not hold are removed.
    Shards, by their name in the dataset, that `rows` do not name are ignored, unless there are no rows: they may
    belong to an interrupted append. `order` has the track ids in the order of the lost table, as far as known.
    """
    named = {row["shard"] for row in rows}
    used = {name: shard for name, shard in sorted(shards.items()) if name in named or not rows}
    held = {track.track_id: (name, track) for name, shard in used.items() for track in shard.tracks}
    rebuilt = [
        {**row, **_position(*held[row["track_id"]])} if row["track_id"] in held else row
        for row in rows
        if row["track_id"] in held or row["shard"] not in shards
    ]
    known = {row["track_id"] for row in rows}
    rank = {track_id: i for i, track_id in enumerate(order)}
    new = sorted((i for i in held if i not in known), key=lambda i: rank.get(i, len(rank)))
    return rebuilt + [_undescribed(*held[track_id], audio) for track_id in new]


def infer_info(rows: Sequence[Row], shards: Mapping[str, Shard]) -> DatasetInfo:
    """Infer ``dataset.json`` from the shards and the folds of `rows`.

    Raises DataError when no shard has audio settings, and there are tracks with audio.
    """
    fold_by, fold_assignment = infer_assignment(rows)
    made = next((audio for audio in map(shard_audio, shards.values()) if audio), None)
    if made is None and rows and not any(row["shard"] for row in rows):
        return DatasetInfo(fold_by=fold_by, fold_assignment=fold_assignment)
    if made is None:
        raise DataError("No readable shard has the audio settings of the dataset.")
    named = sorted({row["shard"] for row in rows})
    return DatasetInfo(
        audio=config.replace(AudioConfig(), made, "audio."),
        dtype=next(iter(shards.values())).dtype.name,
        fold_by=fold_by,
        fold_assignment=fold_assignment,
        left_out=tuple(
            ExcludedTrack(i, why) for shard in shards.values() for i, why in shard.left_out.items()
        ),
        shards={name: str(shards[name].attributes["checksum"]) for name in named if name in shards},
        headers={name: shards[name].rest_checksum for name in named if name in shards},
    )


def infer_assignment(rows: Sequence[Row]) -> tuple[str, str]:
    """Infer ``fold_by`` and ``fold_assignment`` from the folds of rows."""
    ids, artists = [row["track_id"] for row in rows], [row["artist"] or "" for row in rows]
    folds = [row["fold"] for row in rows]
    keys = {fold_by: group_keys(ids, artists, fold_by) for fold_by in ("artist", "track")}
    for fold_by, groups in keys.items():
        if [hash_fold(key) for key in groups] == folds:
            return fold_by, "hash"
    folds_of = defaultdict(set)
    for key, fold in zip(keys["artist"], folds, strict=True):
        folds_of[key].add(fold)
    whole = all(len(there) == 1 for there in folds_of.values())
    return ("artist", "round-robin by artist") if whole else ("track", "round-robin by track")


def fold_of(shard: str) -> int:
    """Return the fold in a shard's name in the dataset; DataError when it has none."""
    found = re.search(r"fold-0(\d)/", shard)
    if found is None:
        raise DataError(f"Shard {shard} has no fold in its name: expected a folder fold-00 to fold-09.")
    return int(found[1])


def _position(name: str, track: ShardTrack) -> Row:
    return {"shard": name, "first_frame": track.first_frame, "n_frames": track.n_frames}


def _undescribed(name: str, track: ShardTrack, audio: AudioConfig) -> Row:
    return {
        "track_id": track.track_id,
        **dict.fromkeys(("artist", "title", "album", "isrc", "release_date"), ""),
        "genres": [],
        "duration_s": audio.duration_s(track.n_frames),
        "fold": fold_of(name),
        **_position(name, track),
    }
