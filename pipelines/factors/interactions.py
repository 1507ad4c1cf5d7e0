"""The listening that factors were fitted on, where a dataset still has it."""

from typing import Any

from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.factors.interactions import align, load_interactions
from cs_keras.factors.store import Factors
from cs_keras.storage.location import Location, is_file


def open_interactions(dataset: Location, factors: Factors) -> Any:
    """Return who listened to what, in the rows and columns of `factors`.

    Parameters
    ----------
    dataset
        Dataset folder.
    factors
        Of its tracks.

    Returns
    -------
    csr_matrix of float32, shape (n_playlists, n_tracks), or None
        None where there is none on file, or it is of other playlists, as that of ready-made factors may be.

    Raises
    ------
    StorageError, DataError
        When the file is damaged.
    """
    path = dataset / INTERACTIONS_FILE
    if not len(factors.playlist_ids) or not is_file(path):
        return None
    interactions = align(load_interactions(path), factors.track_ids)
    if interactions.playlist_ids.tolist() != factors.playlist_ids.tolist():
        return None
    return interactions.user_items
