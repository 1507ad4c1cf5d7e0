"""Interactions as a sparse playlists × tracks matrix of counts.

Rows of the matrix are playlists (or users, or sessions), columns are tracks; a value is how often the playlist
holds or the user played the track.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.factors import arrays as npz
from cs_keras.storage.location import Location

SCHEMA = 1
N_EXAMPLES = 5


@dataclass(frozen=True)
class RowCounts:
    """Counts of the rows of an interactions file that were read, merged and left out.

    Parameters
    ----------
    n_rows : int
        Rows read.
    n_merged_rows : int
        Rows added to an earlier row of the same playlist and track.
    n_zero_rows : int
        Rows left out because their count is 0, which means the same as a missing row.
    n_disliked_rows : int
        Rows left out because the playlist's listener dislikes the track.
    n_unknown_tracks, n_unknown_pairs : int
        Tracks left out because the dataset lacks them, and their playlist-track pairs.
    unknown_tracks : tuple of str
        The first few of those tracks.
    n_empty_playlists : int
        Playlists left out because none of their tracks remain.
    """

    n_rows: int
    n_merged_rows: int = 0
    n_zero_rows: int = 0
    n_unknown_tracks: int = 0
    n_unknown_pairs: int = 0
    unknown_tracks: tuple[str, ...] = ()
    n_empty_playlists: int = 0
    n_disliked_rows: int = 0


@dataclass(frozen=True, eq=False)
class Interactions:
    """Counts of tracks in playlists, or of plays by users.

    Parameters
    ----------
    playlist_ids : ndarray of str, shape (n_playlists,)
        Distinct, in the order of the rows.
    track_ids : ndarray of str, shape (n_tracks,)
        Distinct, in the order of the columns.
    user_items : csr_matrix of float32, shape (n_playlists, n_tracks)
        Counts, all above 0, indices sorted, no pair stored twice.
    tally : RowCounts
        Rows read, merged and left out.
    dislikes : csr_matrix of float32, shape (n_playlists, n_tracks), or None
        1 for pairs of a listener and a track that they dislike, none of which is an interaction; None where nothing
        is known of dislikes. Listeners and tracks without any interaction have no factors and are not among them.
    """

    playlist_ids: npt.NDArray[np.str_]
    track_ids: npt.NDArray[np.str_]
    user_items: scipy.sparse.csr_matrix
    tally: RowCounts
    dislikes: scipy.sparse.csr_matrix | None = None


def mark_pairs(
    playlists: npt.NDArray[np.int64], tracks: npt.NDArray[np.int64], shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    """Return a csr_matrix of float32 with 1 at each pair of a row and a column, except where either is negative."""
    own = (playlists >= 0) & (tracks >= 0)
    pairs = np.unique(np.stack([playlists[own], tracks[own]]), axis=1)
    return scipy.sparse.csr_matrix((np.ones(pairs.shape[1], np.float32), (pairs[0], pairs[1])), shape=shape)


def align(interactions: Interactions, track_ids: Sequence[str] | npt.NDArray[np.str_]) -> Interactions:
    """Put the columns in the order of a dataset's tracks.

    Parameters
    ----------
    interactions : Interactions
        Interactions with columns in any order.
    track_ids : sequence of str, length n_tracks
        The dataset's tracks. One without interactions gets an empty column.

    Returns
    -------
    Interactions
        Columns as `track_ids`; other tracks and empty playlists are left out and counted in `tally`.

    Raises
    ------
    DataError
        `track_ids` repeats an id, or shares none with the interactions.
    """
    wanted = np.asarray(track_ids, dtype=np.str_)
    npz.check_ids(wanted, "track ids", "dataset")
    known, new_columns, old_columns = np.intersect1d(
        wanted, interactions.track_ids, assume_unique=True, return_indices=True
    )
    if len(known) == 0:
        raise DataError(
            f"the interactions and the dataset have no track in common: the dataset holds {_examples(wanted)}, "
            f"the interactions {_examples(interactions.track_ids)}."
        )
    column = np.full(len(interactions.track_ids), -1)
    column[old_columns] = new_columns
    pairs = interactions.user_items.tocoo()
    is_known = column[pairs.col] >= 0
    aligned = scipy.sparse.csr_matrix(
        (pairs.data[is_known], (pairs.row[is_known], column[pairs.col[is_known]])),
        shape=(len(interactions.playlist_ids), len(wanted)),
    )
    aligned.sort_indices()
    has_tracks = np.diff(aligned.indptr) > 0
    unknown = interactions.track_ids[column < 0]
    tally = replace(
        interactions.tally,
        n_unknown_tracks=len(unknown),
        n_unknown_pairs=int((~is_known).sum()),
        unknown_tracks=tuple(map(str, unknown[:N_EXAMPLES])),
        n_empty_playlists=int((~has_tracks).sum()),
    )
    dislikes = None
    if interactions.dislikes is not None:
        pairs = interactions.dislikes.tocoo()
        dislikes = mark_pairs(pairs.row, column[pairs.col], aligned.shape)[has_tracks]
    return Interactions(interactions.playlist_ids[has_tracks], wanted, aligned[has_tracks], tally, dislikes)


def save_interactions(path: Location, interactions: Interactions) -> None:
    """Write interactions as ``.npz`` atomically; raise StorageError if the file cannot be written."""
    matrix = interactions.user_items
    arrays = {
        "playlist_ids": interactions.playlist_ids,
        "track_ids": interactions.track_ids,
        "indptr": matrix.indptr,
        "indices": matrix.indices,
        "data": matrix.data,
    }
    if interactions.dislikes is not None:
        arrays |= {
            "disliked_indptr": interactions.dislikes.indptr,
            "disliked_indices": interactions.dislikes.indices,
        }
    npz.write_arrays(path, arrays, {npz.SCHEMA_VERSION: SCHEMA, "tally": asdict(interactions.tally)})


def load_interactions(path: Location) -> Interactions:
    """Read what `save_interactions` wrote.

    Raises
    ------
    StorageError
        The file is missing or not whole.
    DataError
        The file does not hold interactions: arrays are missing or do not match, ids repeat, or counts are not
        positive.
    """
    arrays = npz.read_arrays(path)
    npz.require_arrays(arrays, ("playlist_ids", "track_ids", "indptr", "indices", "data", npz.SETTINGS), path)
    settings = npz.parse_settings(arrays, SCHEMA, path)
    playlist_ids, track_ids = arrays["playlist_ids"], arrays["track_ids"]
    npz.check_ids(playlist_ids, "playlist_ids", path)
    npz.check_ids(track_ids, "track_ids", path)
    try:
        user_items = scipy.sparse.csr_matrix(
            (arrays["data"].astype(np.float32), arrays["indices"], arrays["indptr"]),
            shape=(len(playlist_ids), len(track_ids)),
        )
        user_items.check_format(full_check=True)
        dislikes = None
        if "disliked_indptr" in arrays:
            ends, columns = arrays["disliked_indptr"], arrays["disliked_indices"]
            ones = np.ones(len(columns), np.float32)
            dislikes = scipy.sparse.csr_matrix((ones, columns, ends), shape=user_items.shape)
            dislikes.check_format(full_check=True)
        tally = RowCounts(
            **{**settings["tally"], "unknown_tracks": tuple(settings["tally"]["unknown_tracks"])}
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: the arrays do not make a playlists × tracks matrix: {error}.") from error
    if not (np.isfinite(user_items.data) & (user_items.data > 0)).all():
        raise DataError(f"{path}: expected counts to be finite and above 0.")
    return Interactions(playlist_ids, track_ids, user_items, tally, dislikes)


def hold_out_tracks(
    user_items: scipy.sparse.csr_matrix, share: float, seed: int
) -> tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]:
    """Split the tracks of each playlist at random.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Counts above 0, no pair stored twice.
    share : float
        Held-out share of each playlist's tracks, rounded down: below 1, so every playlist keeps some.
    seed : int

    Returns
    -------
    rest, held_out : csr_matrix, shape (n_playlists, n_tracks)
        Their sum is `user_items`; no pair is in both.

    Raises
    ------
    DataError
        No playlist is long enough for one of its tracks to be held out.
    """
    lengths = np.diff(user_items.indptr)
    playlists = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((np.random.default_rng(seed).random(user_items.nnz), playlists))  # random, by playlist
    position = np.empty(user_items.nnz, dtype=np.int64)
    position[order] = np.arange(user_items.nnz) - user_items.indptr[playlists]
    is_held_out = position < np.floor(share * lengths)[playlists]
    if not is_held_out.any():
        raise DataError(
            f"no playlist is long enough to hold out {share:.0%} of its train tracks: expected some with at least "
            f"{int(np.ceil(1 / share))}. Received: at most {lengths.max(initial=0)}."
        )

    def select(wanted: npt.NDArray[np.bool_]) -> scipy.sparse.csr_matrix:
        ends = np.concatenate([[0], np.cumsum(wanted)])[user_items.indptr]
        pairs = (user_items.data[wanted], user_items.indices[wanted], ends)
        return scipy.sparse.csr_matrix(pairs, shape=user_items.shape)

    return select(~is_held_out), select(is_held_out)


def _examples(ids: npt.NDArray[Any]) -> str:
    return ", ".join(map(repr, ids[:3].tolist()))
