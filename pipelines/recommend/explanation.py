"""Why a track is recommended: factors, seeds, and train tracks that its score comes from."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.factors.wmf import read_wmf_config, split_playlist_factors, weigh_counts
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.rerank import unit_rows
from pipelines.recommend.catalogue import Catalogue, require_dataset
from pipelines.recommend.query import Query

Float64Array = npt.NDArray[np.float64]

N_TRAIN_TRACKS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What the score of a recommended track consists of.

    Attributes
    ----------
    factors : numpy.ndarray, shape (n_factors,), float64
        Contribution of each factor: query times track. The sum, rounded to float32, is the score.
    shares : tuple of (str, float)
        Contribution of each seed or, for a playlist, of each of its tracks that was fitted, by name. They have the
        same sum, but for the rounding of the query to float32.
    train_tracks : tuple of (Entry, float)
        The train tracks, other than seeds, that are closest to both query and track, with the smaller of their two
        cosines.
    """

    factors: Float64Array
    shares: tuple[tuple[str, float], ...]
    train_tracks: tuple[tuple[Entry, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return all values by name."""
        return {
            "factors": self.factors.tolist(),
            "shares": [{"name": name, "share": share} for name, share in self.shares],
            "train_tracks": [
                {"track_id": entry.track_id, "name": entry.label, "similarity": similarity}
                for entry, similarity in self.train_tracks
            ],
        }


def explain_tracks(
    catalogue: Catalogue, query: Query, by: str, track_ids: Sequence[str]
) -> list[Explanation]:
    """Explain the scores of recommended tracks.

    Parameters
    ----------
    catalogue, query
        Those of the list.
    by
        ``similarity`` or ``dot``.
    track_ids
        Tracks of the list.

    Raises
    ------
    DataError
        There is no dataset.
    """
    rows = np.array([catalogue.row_of[track_id] for track_id in track_ids], np.int64)
    is_train = require_dataset(catalogue.tracks, "train tracks").in_split("train")
    is_seed = np.isin(catalogue.ids, [seed.track_id for seed in query.seeds])
    train = np.flatnonzero(is_train & catalogue.by_interactions.known & ~is_seed)
    factors, vector = catalogue.by_audio.factors, query.by_audio
    names, parts = _split_query(catalogue, query)
    vectors = factors[rows]
    units, unit_vector = unit_rows(vectors), unit_rows(vector[np.newaxis])[0]
    if by == "similarity":
        parts /= np.linalg.norm(vector.astype(np.float64))
        vectors, vector = units, unit_vector
    contributions = vectors.astype(np.float64) * vector.astype(np.float64)
    shares = vectors.astype(np.float64) @ parts.T
    references = unit_rows(factors[train])
    between = np.minimum(units @ references.T, references @ unit_vector)
    explanations = []
    for row, contribution, share, near in zip(rows, contributions, shares, between, strict=True):
        order = [i for i in np.argsort(-near, kind="stable")[: N_TRAIN_TRACKS + 1] if train[i] != row]
        tracks = tuple((catalogue.entry(int(train[i])), float(near[i])) for i in order[:N_TRAIN_TRACKS])
        named = tuple(zip(names, share.tolist(), strict=True))
        explanations.append(Explanation(contribution, named, tracks))
    return explanations


def _split_query(catalogue: Catalogue, query: Query) -> tuple[list[str], Float64Array]:
    """Return names and vectors of seeds, or of a playlist's tracks; the sum of the vectors is the query's."""
    if query.seeds:
        return [seed.label for seed in query.seeds], query.seed_factors.astype(np.float64) / len(query.seeds)
    vector = query.by_audio.astype(np.float64)
    reference = require_dataset(catalogue.reference, "playlists")
    if query.held is None or reference.config is None:
        return ["the playlist"], vector[np.newaxis]  # nothing says how its factors were fitted
    config, fitted = read_wmf_config(reference.config), reference.has_factors
    if reference.protocol == "strict":
        fitted = fitted & require_dataset(catalogue.tracks, "splits").in_split("train")
    held = weigh_counts(query.held[:, np.flatnonzero(fitted)], config.weight)
    shares = split_playlist_factors(held.data, held.indices, reference.item_factors[fitted], config)
    names = [catalogue.entry(row).label for row in np.flatnonzero(fitted)[held.indices].tolist()]
    # The last step of a fit moves the tracks' factors, not the playlists', whose solution is a little older.
    return [*names, "rest of the fit"], np.vstack([shares, vector - shares.sum(axis=0)])
