"""What lists say beyond their overlap: how they spread over the catalogue, and for which tracks they are good."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.beyond_accuracy import artist_repetition, measure_exposure, popularity_ratio
from cs_keras.evaluation.groups import measure_group_means, measure_group_ndcg
from cs_keras.evaluation.labels.cohesion import genre_matrix, measure_cohesion
from cs_keras.evaluation.search.topk import TopK
from cs_keras.run_files.evaluation import GroupMeans
from pipelines.evaluation.reference import Kind, Reference

Lists = Mapping[Kind, TopK]
Beyond = dict[str, float | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """The test tracks as these numbers need them, found once for all predictors.

    Attributes
    ----------
    popularity : ndarray of int64, shape (n_test,), or None
        How many playlists hold each; None without listening.
    artists : ndarray of int64, shape (n_test,)
        A number for who made each.
    groups
        Labels of the tracks, by what they are grouped by; see `pipelines.evaluation.reference.Reference.groups`.
    genres : csr_matrix, shape (n_test, n_genres)
        See `cs_keras.evaluation.labels.cohesion.genre_matrix`; empty where no genres are known.
    factors : ndarray of float32, shape (n_test, n_factors)
        The reference's own.
    """

    popularity: npt.NDArray[np.int64] | None
    artists: npt.NDArray[np.int64]
    groups: Mapping[str, npt.NDArray[Any]]
    genres: Any
    factors: npt.NDArray[np.float32]

    @classmethod
    def of(cls, reference: Reference) -> "Catalogue":
        """Return that of a reference's test tracks."""
        numbers = np.unique(reference.artists, return_inverse=True)[1]
        genres = genre_matrix(reference.genres or [()] * len(numbers))
        return cls(reference.popularity, numbers, reference.groups, genres, reference.own.items)


def measure_beyond(lists: Lists, catalogue: Catalogue) -> Beyond:
    """Return what lists do to the catalogue of test tracks.

    Parameters
    ----------
    lists
        Of one length.
    catalogue
        Whose tracks they list.

    Returns
    -------
    dict
        Of playlists' lists ``coverage``, ``gini``, ``popularity`` (ratio, None without listening) and
        ``artist_repetition``; of tracks' lists ``hubness``, ``never_reached`` and the fields of
        `cs_keras.evaluation.labels.cohesion.Cohesion`. Those of kinds that are not there are missing.
    """
    found: Beyond = {}
    if "dot" in lists:
        rows, popularity = lists["dot"].indices, catalogue.popularity
        exposure = measure_exposure(rows, lists["dot"].n_items)
        found |= {
            "coverage": exposure.coverage,
            "gini": exposure.gini,
            "popularity": None if popularity is None else popularity_ratio(rows, popularity),
            "artist_repetition": float(artist_repetition(rows, catalogue.artists).mean()),
        }
    if "similarity" in lists:
        similar = lists["similarity"]
        exposure = measure_exposure(similar.indices, similar.n_items)
        found |= {"hubness": exposure.hubness, "never_reached": exposure.never_reached}
        found |= dataclasses.asdict(
            measure_cohesion(
                similar.indices, similar.queries, catalogue.artists, catalogue.genres, catalogue.factors
            )
        )
    return found


def overlap_by_group(overlaps: npt.NDArray[Any], lists: TopK, catalogue: Catalogue, seed: int) -> GroupMeans:
    """Return the mean overlap of each group of test tracks, `overlaps` being those of the tracks that ask."""
    return {
        name: tuple(measure_group_means(overlaps, labels[lists.queries], seed))
        for name, labels in catalogue.groups.items()
    }


def ranking_by_group(lists: TopK, held_out: Any, catalogue: Catalogue, seed: int) -> GroupMeans:
    """Return the mean nDCG of each group of test tracks, over the playlists that hold any of it.

    Parameters
    ----------
    lists
        Of playlists; k is their length.
    held_out : csr_matrix, shape (n_queries, n_test)
        Which test tracks those playlists hold; at least one does.
    catalogue, seed
        Groups, and seed of the bootstrap.
    """
    means = {}
    for name, labels in catalogue.groups.items():
        found = measure_group_ndcg(lists, held_out, labels)
        values = np.concatenate(list(found.values()))
        of = np.repeat(list(found), len(lists.queries))
        defined = ~np.isnan(values)
        means[name] = tuple(measure_group_means(values[defined], of[defined], seed))
    return means
