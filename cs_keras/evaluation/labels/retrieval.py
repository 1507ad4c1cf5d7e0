"""Retrieval of tracks of the same label: mean average precision and precision@k, without the query's own group.

Tracks of one album (or artist) share studio, instruments and mastering, so retrieving them says little about the
label (a composer, or a genre). The query's own group is therefore removed from the candidates, as by the artist
filter of Pampalk, Flexer & Widmer, "Improvements of audio-based music similarity and genre classification" (ISMIR
2005).

Average precision is the mean, over a query's relevant candidates, of the precision at the rank of each. In a random
order of n candidates, h of them relevant, it is expected to be (h - 1) (n - H) / (n (n - 1)) + H / n, with H = 1 +
1/2 + ... + 1/n (Bestgen, "Exact expected average precision of the random baseline", Prague Bulletin of Mathematical
Linguistics 103, 2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import Float64Array, check_factors, check_ks
from cs_keras.evaluation.search.search import Int64Array, blocks, cosine_search
from cs_keras.evaluation.statistics.jackknife import estimate, sum_values
from cs_keras.run_files.evaluation import MeanRecord

BLOCK_SCORES = 2**21  # of queries times tracks at a time


@dataclass(frozen=True, eq=False)
class Retrieval:
    """How well tracks retrieve those of their label.

    Attributes
    ----------
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows of the tracks with a relevant candidate.
    average_precision : numpy.ndarray, shape (n_queries,), float64
    mean_average_precision : MeanRecord
        Their mean, with its 95 % interval for other labels; without one if there is a single label.
    chance : float
        Expected mean average precision of random orders.
    precision : dict of int to MeanRecord
        Mean share of relevant tracks among the k nearest, by k; k without so many candidates of every query are
        left out.
    chance_precision : float
        Expected share of relevant tracks in random lists of any length.
    """

    queries: Int64Array
    average_precision: Float64Array
    mean_average_precision: MeanRecord
    chance: float
    precision: dict[int, MeanRecord]
    chance_precision: float


def measure_retrieval(
    features: npt.ArrayLike, labels: Sequence[str], groups: npt.ArrayLike, ks: tuple[int, ...] = (1, 10)
) -> Retrieval:
    """Rank all tracks of other groups by cosine for each track, and evaluate the ranks of those of its label.

    Ties are in row order.

    Parameters
    ----------
    features : array_like, shape (n_tracks, n_features), float32
    labels : sequence of str, shape (n_tracks,)
    groups : array_like, shape (n_tracks,), int
        Such as albums; tracks of one group are no candidates for each other.
    ks : tuple of int
        Lengths of the lists of precision@k.

    Raises
    ------
    DataError
        Features are not a finite matrix with a row for each label, or no track has a relevant candidate.
    ConfigError
        A length is not a positive whole number.
    """
    rows, lengths = check_factors("features", features), check_ks(ks)
    of_group, (_, of_label) = np.asarray(groups), np.unique(labels, return_inverse=True)
    if not len(rows) == len(of_label) == len(of_group):
        raise DataError(
            f"expected a label and a group of each of {len(rows)} tracks. Received: {len(of_label)} and "
            f"{len(of_group)}."
        )
    is_query = np.zeros(len(rows), bool)
    precision, found_at = np.zeros((3, len(rows))), np.zeros((len(lengths), len(rows)))
    for block in blocks(len(rows), max(1, BLOCK_SCORES // len(rows))):
        queries = np.arange(len(rows))[block]
        scores = cosine_search(rows, queries).score_all()
        for query, own in zip(queries.tolist(), scores, strict=True):
            candidates = np.flatnonzero(of_group != of_group[query])
            order = candidates[np.argsort(-own[candidates], kind="stable")]
            is_relevant = of_label[order] == of_label[query]
            n, n_relevant = len(order), np.count_nonzero(is_relevant)
            if n_relevant:
                is_query[query] = True
                ranks = np.flatnonzero(is_relevant) + 1
                average = np.mean(np.arange(1, n_relevant + 1) / ranks)
                precision[:, query] = average, _expect(n, int(n_relevant)), n_relevant / n
                found_at[:, query] = [is_relevant[:k].mean() if k <= n else np.nan for k in lengths]
    queries = np.flatnonzero(is_query)
    if not len(queries):
        raise DataError(
            "there is nothing to retrieve: expected a label with tracks in two groups (albums, or artists) at "
            "least. Received: none."
        )
    average, chance, share = precision[:, queries]
    _, clusters = np.unique(of_label[queries], return_inverse=True)
    return Retrieval(
        queries,
        average,
        _mean(average, clusters),
        float(chance.mean()),
        {
            k: _mean(found[queries], clusters)
            for k, found in zip(lengths, found_at, strict=True)
            if not np.isnan(found[queries]).any()
        },
        float(share.mean()),
    )


def _expect(n: int, n_relevant: int) -> float:
    """Return the expected average precision of a random order of n candidates."""
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    others = (n_relevant - 1) * (n - harmonic) / (n * (n - 1)) if n > 1 else 0.0
    return others + harmonic / n


def _mean(values: Float64Array, clusters: Int64Array) -> MeanRecord:
    """Return the mean of values with the interval over clusters, by Student's t."""
    found = estimate(sum_values(values, clusters))
    if found.df <= 0:
        return MeanRecord(found.mean, None, None)
    low, high = np.clip(found.interval(), 0, 1).tolist()
    return MeanRecord(found.mean, low, high)
