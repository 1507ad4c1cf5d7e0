"""Genres of a dataset's tracks as training targets."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.data.schema import Tracks

Genres = Sequence[Sequence[str]]  # of each track


@dataclasses.dataclass(frozen=True, eq=False)
class GenreTargets:
    """Training targets of a genre classifier.

    `counts` has the number of train tracks of each genre, in alphabetical order, which is that of the columns;
    `left_out` that of genres that are too rare. `shares`, shape (n_tracks, n_genres), float32, are a track's
    genres in equal parts, without rare ones; rows of test tracks, and of tracks without genres, are 0.
    """

    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    shares: npt.NDArray[np.float32]

    @property
    def names(self) -> tuple[str, ...]:
        """Genres of the columns."""
        return tuple(self.counts)

    @property
    def has(self) -> npt.NDArray[np.bool_]:
        """Flags of the tracks with targets, shape (n_tracks,)."""
        has: npt.NDArray[np.bool_] = self.shares.any(axis=1)
        return has


def track_genres(tracks: Tracks) -> tuple[tuple[str, ...], ...]:
    """Return the distinct, non-empty genres of each track, in their order."""
    column = tracks.table["genres"].to_pylist()
    return tuple(tuple(dict.fromkeys(name for name in own or () if name)) for own in column)


def genre_targets(
    genres: Genres, train: npt.NDArray[np.int64], validation: npt.NDArray[np.int64], min_tracks: int
) -> GenreTargets:
    """Return targets of train tracks, and of validation tracks for early stopping; test tracks have none.

    `genres` are those of all tracks; `train` and `validation` are rows, shapes (n_train,) and (n_validation,).
    Genres of fewer than `min_tracks` train tracks are left out.
    """
    found = collections.Counter(name for row in train.tolist() for name in genres[row])
    counts = {name: n for name, n in sorted(found.items()) if n >= min_tracks}
    column_of = {name: column for column, name in enumerate(counts)}
    shares = np.zeros((len(genres), len(counts)), np.float32)
    for row in (*train.tolist(), *validation.tolist()):
        columns = [column_of[name] for name in genres[row] if name in column_of]
        shares[row, columns] = 1 / max(len(columns), 1)
    left_out = {name: n for name, n in sorted(found.items()) if n < min_tracks}
    return GenreTargets(counts, left_out, shares)
