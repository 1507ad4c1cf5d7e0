"""What lists say beyond their overlap: how they spread over the catalogue, and for which tracks they are good."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.beyond_accuracy import artist_repetition, measure_exposure, popularity_ratio
from cs_keras.evaluation.group_ranking import ndcg_by_group
from cs_keras.evaluation.groups import GroupMean, by_group
from cs_keras.evaluation.topk import TopK
from pipelines.reference import Kind, Reference

Lists = Mapping[Kind, TopK]
Means = dict[str, list[GroupMean]]  # by what tracks are grouped by: popularity, artist
Beyond = dict[str, float | None]


def measure_beyond(lists: Lists, reference: Reference) -> Beyond:
    """Return what lists do to the catalogue of test tracks.

    Parameters
    ----------
    lists
        Of one length.
    reference
        Whose tracks they list.

    Returns
    -------
    dict
        Of playlists' lists ``coverage``, ``gini``, ``popularity`` (ratio, None without listening) and
        ``artist_repetition``; of tracks' lists ``hubness`` and ``never_reached``. Those of kinds that are not
        there are missing.
    """
    found: Beyond = {}
    if "dot" in lists:
        rows, popularity = lists["dot"].indices, reference.popularity
        exposure = measure_exposure(rows, lists["dot"].n_items)
        found |= {
            "coverage": exposure.coverage,
            "gini": exposure.gini,
            "popularity": None if popularity is None else popularity_ratio(rows, popularity),
            "artist_repetition": float(artist_repetition(rows, reference.artists).mean()),
        }
    if "similarity" in lists:
        exposure = measure_exposure(lists["similarity"].indices, lists["similarity"].n_items)
        found |= {"hubness": exposure.hubness, "never_reached": exposure.never_reached}
    return found


def overlap_by_group(overlaps: npt.NDArray[Any], lists: TopK, reference: Reference, seed: int) -> Means:
    """Return the mean overlap of each group of test tracks, `overlaps` being those of the tracks that ask."""
    return {
        name: by_group(overlaps, labels[lists.queries], seed) for name, labels in reference.groups.items()
    }


def ranking_by_group(lists: TopK, held_out: Any, reference: Reference, seed: int) -> Means:
    """Return the mean nDCG of each group of test tracks, over the playlists that hold any of it.

    Parameters
    ----------
    lists
        Of playlists; k is their length.
    held_out : csr_matrix, shape (n_queries, n_test)
        Which test tracks those playlists hold; at least one does.
    reference, seed
        Groups, and seed of the bootstrap.
    """
    means = {}
    for name, labels in reference.groups.items():
        found = ndcg_by_group(lists, held_out, labels)
        values = np.concatenate(list(found.values()))
        of = np.repeat(list(found), len(lists.queries))
        defined = ~np.isnan(values)
        means[name] = by_group(values[defined], of[defined], seed)
    return means
