"""Metrics on validation tracks: objectives of a hyperparameter search, and the monitors of early stopping."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import Float64Array, check_factors, check_same_shape
from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.overlap import rank_reference
from cs_keras.evaluation.ranking import ndcg_at_k
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import filter_artists, filtered_length, top_k_similar

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class SearchObjective:
    """A metric of validation tracks to minimise or maximise.

    Attributes
    ----------
    kind : {"loss", "cosine", "overlap", "ndcg"}
        Squared error of scaled factors; cosine of predicted and reference factors; overlap of similar tracks' lists
        with the reference's; or nDCG of the playlists' held-out tracks.
    k : int
        Length of the lists; 0 for the loss and the cosine.
    """

    kind: Literal["loss", "cosine", "overlap", "ndcg"]
    k: int

    @property
    def name(self) -> str:
        """Name in settings: ``val_loss``, ``val_cosine``, ``val_overlap@10`` or ``val_ndcg@50``."""
        return f"val_{self.kind}@{self.k}" if self.k else f"val_{self.kind}"

    @property
    def direction(self) -> Direction:
        """``min`` or ``max``."""
        return "min" if self.kind == "loss" else "max"


def parse_objective(text: str) -> SearchObjective:
    """Return the objective of that `SearchObjective.name`; raise ConfigError for an unknown one."""
    if text in ("val_loss", "val_cosine"):
        return SearchObjective("loss" if text == "val_loss" else "cosine", 0)
    found = re.fullmatch(r"val_(overlap|ndcg)@([1-9]\d{0,5})", text)
    if not found:
        raise ConfigError(
            "The objective must be val_loss, val_cosine, or val_overlap@K or val_ndcg@K with a list length K, such "
            f"as val_overlap@10. Received: {text!r}."
        )
    return SearchObjective(found[1], int(found[2]))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class ValidationData:
    """Reference data for predictions of validation tracks.

    Attributes
    ----------
    reference : ndarray of float32, shape (n_tracks, n_factors)
        Factors in their original space.
    scaled : ndarray of float32, shape (n_tracks, n_factors)
        The same factors, scaled as training targets.
    playlist_factors : ndarray of float32, shape (n_playlists, n_factors)
    user_items : csr_matrix, shape (n_playlists, n_tracks), or None
        Interactions with these tracks; None where none are stored.
    artists : ndarray of int64, shape (n_tracks,), or None
        A number for the artist of each track, -1 where unknown; None if all are unknown.
    """

    reference: npt.NDArray[np.float32]
    scaled: npt.NDArray[np.float32]
    playlist_factors: npt.NDArray[np.float32]
    user_items: scipy.sparse.csr_matrix | None
    artists: npt.NDArray[np.int64] | None = None

    @property
    def has_artists(self) -> bool:
        """Whether any artist is known, so that lists are artist-filtered."""
        return self.artists is not None and bool((self.artists >= 0).any())


def measure_objective(
    objective: SearchObjective,
    validation: ValidationData,
    predicted: npt.NDArray[np.float32],
    scaled: npt.NDArray[np.float32],
) -> Float64Array:
    """Return an objective's values, query by query.

    Parameters
    ----------
    objective
        Metric to compute.
    validation
        Reference data.
    predicted, scaled : ndarray of float32, shape (n_tracks, n_factors)
        Predicted factors in the original space, and as model outputs.

    Returns
    -------
    numpy.ndarray, float64
        Mean squared error or cosine of each track, shape (n_tracks,); overlap, shape (n_queries,), of tracks whose
        reference is not zero, where artists are known of those with an artist and K candidates; or nDCG of each
        playlist, shape (n_playlists,), NaN for those without any of the tracks.

    Raises
    ------
    ConfigError
        Lists would be longer than the number of candidates, or nDCG lacks interactions.
    DataError
        Predictions do not match the reference or are not finite.
    """
    if objective.kind == "loss":
        check_same_shape(validation.scaled, check_factors("predicted factors", scaled))
        return np.asarray(np.square(scaled.astype(np.float64) - validation.scaled).mean(axis=1))
    check_same_shape(validation.reference, check_factors("predicted factors", predicted))
    require_measurable(objective, validation)
    if objective.kind == "cosine":
        return 1 - measure_cosine_distances(validation.reference, predicted)
    if objective.kind == "overlap":
        return _overlap(objective.k, validation, predicted)
    return ndcg_at_k(validation.playlist_factors, predicted, validation.user_items, objective.k)


def _overlap(k: int, validation: ValidationData, predicted: npt.NDArray[np.float32]) -> Float64Array:
    """Return the overlap of each query's lists, artist-filtered where artists are known."""
    n, artists = len(validation.reference), validation.artists if validation.has_artists else None
    length = k if artists is None else filtered_length(k, artists)
    lists = rank_reference(validation.reference, ks=(length,), max_queries=n).prefix(length)
    predicted_lists = top_k_similar(predicted, length, queries=lists.queries)
    if artists is not None:
        lists, predicted_lists = (
            filter_artists(lists, artists, k),
            filter_artists(predicted_lists, artists, k),
        )
    return np.asarray(list_overlap(lists.indices, predicted_lists.indices))


def require_measurable(objective: SearchObjective, validation: ValidationData) -> None:
    """Raise ConfigError unless `objective` has enough tracks and interactions; see `measure_objective`."""
    n_candidates = len(validation.reference) - (objective.kind == "overlap")
    if objective.kind == "overlap" and validation.has_artists:
        known = np.bincount(validation.artists[validation.artists >= 0])  # type: ignore[index, operator]
        n_candidates = len(validation.reference) - int(known[known > 0].min())
    if objective.k > n_candidates:
        raise ConfigError(
            f"The objective {objective.name} needs more validation tracks: expected a list length of at most "
            f"{n_candidates}. Received: {objective.k}."
        )
    if objective.kind != "ndcg":
        return
    if validation.user_items is None or not len(validation.playlist_factors):
        raise ConfigError(
            f"The objective {objective.name} needs playlist factors and the interactions they were fitted "
            "on, as `cs-keras factors` stores both; use val_overlap@10 or val_loss instead."
        )
    if not validation.user_items.nnz:
        raise DataError(
            f"The objective {objective.name} needs playlists with validation tracks; there are none."
        )
