"""What a search is for: a figure of validation tracks, and whether it should be low or high."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import check_factors, check_same_shape
from cs_keras.evaluation.overlap import rank_reference
from cs_keras.evaluation.ranking import ndcg_at_k
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import top_k_similar

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class SearchObjective:
    """A figure of validation tracks.

    Attributes
    ----------
    kind : {"loss", "overlap", "ndcg"}
        The squared error of scaled factors; how far similar tracks' lists overlap the true ones; or how well
        playlists find the tracks they hold.
    k : int
        Length of the lists; 0 for the loss.
    """

    kind: Literal["loss", "overlap", "ndcg"]
    k: int

    @property
    def name(self) -> str:
        """As it is written: ``val_loss``, ``val_overlap@10`` or ``val_ndcg@50``."""
        return f"val_{self.kind}@{self.k}" if self.k else f"val_{self.kind}"

    @property
    def direction(self) -> Direction:
        """Whether low or high is good."""
        return "min" if self.kind == "loss" else "max"


def parse_objective(text: str) -> SearchObjective:
    """Return the objective that `text` names, as `SearchObjective.name` writes it; raise ConfigError for others."""
    if text == "val_loss":
        return SearchObjective("loss", 0)
    found = re.fullmatch(r"val_(overlap|ndcg)@([1-9]\d{0,5})", text)
    if not found:
        raise ConfigError(
            "The objective must be val_loss, or val_overlap@K or val_ndcg@K with a list length K, such as "
            f"val_overlap@10. Received: {text!r}."
        )
    return SearchObjective(found[1], int(found[2]))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Validation:
    """What predictions for validation tracks are held against.

    Attributes
    ----------
    reference : ndarray of float32, shape (n_tracks, n_factors)
        Factors in their original space.
    scaled : ndarray of float32, shape (n_tracks, n_factors)
        The same as models learn them.
    playlist_factors : ndarray of float32, shape (n_playlists, n_factors)
    user_items : csr_matrix, shape (n_playlists, n_tracks), or None
        Listening to these tracks; None where there is none on file.
    """

    reference: npt.NDArray[np.float32]
    scaled: npt.NDArray[np.float32]
    playlist_factors: npt.NDArray[np.float32]
    user_items: scipy.sparse.csr_matrix | None


def measure(
    objective: SearchObjective,
    validation: Validation,
    predicted: npt.NDArray[np.float32],
    scaled: npt.NDArray[np.float32],
) -> Float64Array:
    """Return an objective of predictions, query by query.

    Parameters
    ----------
    objective
        What to measure.
    validation
        What to hold predictions against.
    predicted, scaled : ndarray of float32, shape (n_tracks, n_factors)
        Predicted factors in the original space, and as the model gives them.

    Returns
    -------
    numpy.ndarray, float64
        For each track its mean squared error, shape (n_tracks,), or overlap, shape (n_queries,): tracks whose
        reference is zero ask for nothing. For each playlist its nDCG, shape (n_playlists,), NaN for those without
        any of the tracks.

    Raises
    ------
    ConfigError
        When the lists would be longer than there are candidates, or the listening that nDCG needs is not there.
    DataError
        When predictions do not match the reference or are not finite.
    """
    if objective.kind == "loss":
        check_same_shape(validation.scaled, check_factors("predicted factors", scaled))
        return np.asarray(np.square(scaled.astype(np.float64) - validation.scaled).mean(axis=1))
    check_same_shape(validation.reference, check_factors("predicted factors", predicted))
    require_measurable(objective, validation)
    if objective.kind == "overlap":
        lists = rank_reference(validation.reference, ks=(objective.k,), max_queries=len(validation.reference))
        found = top_k_similar(predicted, objective.k, queries=lists.queries)
        return np.asarray(list_overlap(lists.indices, found.indices))
    return ndcg_at_k(validation.playlist_factors, predicted, validation.user_items, objective.k)


def require_measurable(objective: SearchObjective, validation: Validation) -> None:
    """Raise ConfigError unless there are tracks and listening enough for `objective`; see `measure`."""
    n_candidates = len(validation.reference) - (objective.kind == "overlap")
    if objective.k > n_candidates:
        raise ConfigError(
            f"The objective {objective.name} needs more validation tracks: expected a list length of at most "
            f"{n_candidates}. Received: {objective.k}."
        )
    if objective.kind != "ndcg":
        return
    if validation.user_items is None or not len(validation.playlist_factors):
        raise ConfigError(
            f"The objective {objective.name} needs playlist factors and the listening they were fitted on, as "
            "`cs-keras factors` leaves both; take val_overlap@10 or val_loss."
        )
    if not validation.user_items.nnz:
        raise DataError(
            f"The objective {objective.name} needs playlists that hold validation tracks; none does."
        )
