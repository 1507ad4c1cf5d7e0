"""The stored interactions that factors were fitted on."""

from typing import Any

from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.factors.interactions import align, load_interactions
from cs_keras.factors.store import Factors
from cs_keras.storage.location import Location, is_file


def open_interactions(dataset: Location, factors: Factors) -> Any:
    """Return the interactions of a dataset in the rows and columns of `factors`.

    Parameters
    ----------
    dataset
        Dataset folder.
    factors
        Factors of its tracks.

    Returns
    -------
    csr_matrix of float32, shape (n_playlists, n_tracks), or None
        None where none are stored, or they are of other playlists, as with external factors.

    Raises
    ------
    StorageError, DataError
        The file is damaged.
    """
    path = dataset / INTERACTIONS_FILE
    if not len(factors.playlist_ids) or not is_file(path):
        return None
    interactions = align(load_interactions(path), factors.track_ids)
    if interactions.playlist_ids.tolist() != factors.playlist_ids.tolist():
        return None
    return interactions.user_items
