"""Folds: tracks for training, validation and testing, by a hash, so that appending tracks changes no fold.

The reference thesis (Pohl 2019) trains on folds 0-6, validates on 7 and tests on 8-9, whole tracks to a fold. Here
all tracks of an artist share a fold by default, so that a test track is new in the strict sense.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cs_keras.config import check_choice
from cs_keras.errors import ConfigError, DataError

N_FOLDS = 10
SPLITS: dict[str, tuple[int, ...]] = {"train": (0, 1, 2, 3, 4, 5, 6), "validation": (7,), "test": (8, 9)}

# Where hashing leaves a split empty, groups go to the folds in this order, largest first: the first three fill the
# three splits, so the largest group trains.
_ROUND_ROBIN = (0, 8, 7, 1, 2, 9, 3, 4, 5, 6)


def hash_fold(key: str) -> int:
    """Return the fold of `key`: 64 bits of BLAKE2b over its casefolded UTF-8, modulo 10."""
    return int.from_bytes(hashlib.blake2b(key.casefold().encode(), digest_size=8).digest(), "big") % N_FOLDS


def assign_folds(
    track_ids: Sequence[str],
    artists: Sequence[str],
    fold_by: str = "artist",
    known: Mapping[str, int] | None = None,
) -> tuple[list[int], str]:
    """Give every track a fold; return folds, one of 0-9 for each track, and how they were assigned.

    ``artist`` keeps an artist's tracks together, ``track`` does not; a track without an artist forms its own
    group. Groups already in the dataset keep their folds in `known` (by artist or track id). The assignment is
    ``hash``; or, where that leaves train, validation or test empty, ``round-robin by artist``, or ``round-robin
    by track`` with fewer than three artists.

    Raises DataError when there are fewer than three tracks, so that a split must stay empty.
    """
    check_choice("folds", fold_by, ("artist", "track"))
    known = known or {}
    keys = group_keys(track_ids, artists, fold_by)
    folds = [known.get(key, hash_fold(key)) for key in keys]
    if known or not empty_splits(folds):
        return folds, "hash"
    if len(track_ids) < len(SPLITS):
        raise DataError(
            f"A dataset needs at least {len(SPLITS)} usable tracks, one each for training, validation "
            f"and testing. "
            f"Received: {len(track_ids)}."
        )
    if len(set(keys)) < len(SPLITS):
        keys, fold_by = list(track_ids), "track"
    sizes = Counter(keys)
    largest_first = sorted(sizes, key=lambda key: (-sizes[key], hashlib.blake2b(key.encode()).digest()))
    fold_of = {key: _ROUND_ROBIN[i % N_FOLDS] for i, key in enumerate(largest_first)}
    return [fold_of[key] for key in keys], f"round-robin by {fold_by}"


def group_keys(track_ids: Sequence[str], artists: Sequence[str], fold_by: str) -> list[str]:
    """Return the group that each track's fold is assigned by: its artist's name, or its own id."""
    if fold_by == "track":
        return list(track_ids)
    names = (" ".join(unicodedata.normalize("NFC", artist).split()).casefold() for artist in artists)
    return [name or f"track:{track_id}" for name, track_id in zip(names, track_ids, strict=True)]


def sample_rows(track_ids: Sequence[str], rows: Sequence[int], fraction: float) -> list[int]:
    """Return `fraction` of `rows` (at least one), chosen by a hash of their ids: a smaller share lies in a larger.

    Raises ConfigError when `fraction` is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"train_fraction must be above 0 and at most 1. Received: {fraction}.")
    drawn = sorted(rows, key=lambda row: hashlib.blake2b(f"sample:{track_ids[row]}".encode()).digest())
    return sorted(drawn[: max(1, round(fraction * len(rows)))])


def empty_splits(folds: Iterable[int]) -> list[str]:
    """Return the names of the splits that none of `folds` belongs to."""
    filled = set(folds)
    return [name for name, members in SPLITS.items() if not filled & set(members)]
