"""Metrics of lists beyond their overlap: exposure, cohesion, and means of groups of tracks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.beyond_accuracy import artist_repetition, measure_exposure, popularity_ratio
from cs_keras.evaluation.groups import measure_group_means, measure_group_ndcg
from cs_keras.evaluation.labels.cohesion import measure_cohesion
from cs_keras.evaluation.search.topk import TopK
from cs_keras.run_files.evaluation import GroupMeans
from pipelines.evaluation.reference import Kind, Reference

Lists = Mapping[Kind, TopK]
Beyond = dict[str, float | None]


def measure_beyond(lists: Lists, reference: Reference) -> Beyond:
    """Return exposure and cohesion of lists of test tracks.

    Parameters
    ----------
    lists
        Lists of one length.
    reference
        Metadata of the test tracks.

    Returns
    -------
    dict
        From lists of playlists ``coverage``, ``gini``, ``popularity`` (ratio, None without interactions) and
        ``artist_repetition``; from lists of tracks ``hubness``, ``never_reached`` and the fields of
        `cs_keras.evaluation.labels.cohesion.Cohesion`. Those of missing kinds are left out.
    """
    metrics: Beyond = {}
    if "dot" in lists:
        rows, popularity = lists["dot"].indices, reference.popularity
        exposure = measure_exposure(rows, lists["dot"].n_items)
        metrics |= {
            "coverage": exposure.coverage,
            "gini": exposure.gini,
            "popularity": None if popularity is None else popularity_ratio(rows, popularity),
            "artist_repetition": float(artist_repetition(rows, reference.artist_numbers).mean()),
        }
    if "similarity" in lists:
        similar = lists["similarity"]
        exposure = measure_exposure(similar.indices, similar.n_items)
        metrics |= {"hubness": exposure.hubness, "never_reached": exposure.never_reached}
        artists, genres = reference.artist_numbers, reference.genre_matrix
        cohesion = measure_cohesion(similar.indices, similar.queries, artists, genres, reference.own.items)
        metrics |= dataclasses.asdict(cohesion)
    return metrics


def overlap_by_group(overlaps: npt.NDArray[Any], lists: TopK, reference: Reference, seed: int) -> GroupMeans:
    """Return the mean overlap of each group of test tracks, given the overlap of each query track."""
    return {
        name: tuple(measure_group_means(overlaps, labels[lists.queries], seed))
        for name, labels in reference.groups.items()
    }


def ranking_by_group(lists: TopK, held_out: Any, reference: Reference, seed: int) -> GroupMeans:
    """Return the mean nDCG of each group of test tracks, over the playlists with any of its tracks.

    Parameters
    ----------
    lists
        Lists of playlists; k is their length.
    held_out : csr_matrix, shape (n_queries, n_test)
        Test tracks in those playlists, at least one in all.
    reference, seed
        Groups of tracks, and seed of the bootstrap.
    """
    means = {}
    for name, labels in reference.groups.items():
        found = measure_group_ndcg(lists, held_out, labels)
        values = np.concatenate(list(found.values()))
        of = np.repeat(list(found), len(lists.queries))
        defined = ~np.isnan(values)
        means[name] = tuple(measure_group_means(values[defined], of[defined], seed))
    return means
