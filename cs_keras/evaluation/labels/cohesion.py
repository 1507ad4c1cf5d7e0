"""Cohesion of lists: shared genres, shared artists, entropy of genres, and diversity in factor space.

Cardorelle (2018) evaluates playlists by semantic cohesion (shared labels and the entropy of a list's genres) and
notes that it is not quality: listeners often prefer diverse lists. None of these values is good or bad by itself:
compare it with that of the reference's lists.

Lists are of item rows, best first, as in `TopK.indices`; each query is an item itself. Genres are a matrix of items
by genres, with an empty row for an item without known genre.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from cs_keras.errors import DataError
from cs_keras.evaluation.beyond_accuracy import check_lists
from cs_keras.evaluation.checks import Float64Array, FloatArray, check_factors
from cs_keras.evaluation.search.search import blocks

BLOCK_ENTRIES = 2**22  # numbers of a block of lists in memory at a time


@dataclass(frozen=True)
class Cohesion:
    """Means over lists, each None where no list has a value.

    Attributes
    ----------
    shared_genre : float or None
        Share of a list with a genre of the query, over the queries that have any.
    same_artist : float or None
        Share of a list by the query's artist, over the queries whose artist is known.
    genre_entropy : float or None
        Entropy in bits of a list's genres, over the lists with any: 0 for a single genre, the logarithm of their
        number if all are equally frequent. An item of several genres counts for each in equal parts.
    diversity : float or None
        Mean of 1 - cosine over the pairs of a list's items; None for lists of one.
    """

    shared_genre: float | None
    same_artist: float | None
    genre_entropy: float | None
    diversity: float | None


def measure_cohesion(
    lists: npt.ArrayLike,
    queries: npt.ArrayLike,
    artists: npt.ArrayLike,
    genres: sp.csr_matrix,
    factors: npt.ArrayLike,
) -> Cohesion:
    """Return the mean cohesion of lists.

    Parameters
    ----------
    lists : array_like, shape (n_queries, k), int
        Distinct item rows.
    queries : array_like, shape (n_queries,), int
        Item row of each list's query.
    artists : array_like, shape (n_items,), int
        Artist of each item, -1 if unknown.
    genres : scipy.sparse.csr_matrix, shape (n_items, n_genres)
        Not 0 where an item has the genre; see `genre_matrix`.
    factors : array_like, shape (n_items, n_factors), float
        Reference factors of the items; a row of zeros has cosine 0 with any other.

    Raises
    ------
    DataError
        Lists are not of distinct rows, one per query, or tables are of different items.
    """
    vectors = check_factors("factors", factors)
    n_items = len(vectors)
    rows, query_rows, makers = check_lists(lists, n_items), np.asarray(queries), np.asarray(artists)
    if query_rows.shape != rows.shape[:1] or makers.shape != (n_items,) or genres.shape[0] != n_items:
        raise DataError(
            f"lists and items do not match: expected {len(rows)} queries, and artists and genres of "
            f"{n_items} items. Received: {query_rows.shape}, {makers.shape} and {genres.shape}."
        )
    return Cohesion(
        _mean(_shared_genre(rows, query_rows, genres)),
        same_artist_share(rows, query_rows, makers),
        _mean(_genre_entropy(rows, genres)),
        None if rows.shape[1] == 1 else _mean(_diversity(rows, vectors)),
    )


def same_artist_share(
    lists: npt.NDArray[Any], queries: npt.NDArray[Any], artists: npt.NDArray[Any]
) -> float | None:
    """Return the share of lists by the query's artist, over queries whose artist is known; arrays as above."""
    known = artists[queries] >= 0
    if not known.any():
        return None
    return float(np.mean(artists[lists[known]] == artists[queries[known], np.newaxis]))


def genre_matrix(genres: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """Return genres of items as a matrix, shape (n_items, n_genres), float64; rows sum to 1, or to 0 without any.

    Columns are genres in alphabetical order, at least one.
    """
    names = sorted({name for own in genres for name in own})
    column_of = {name: column for column, name in enumerate(names)}
    distinct = [list(dict.fromkeys(own)) for own in genres]
    indices = [column_of[name] for own in distinct for name in own]
    weights = [1 / len(own) for own in distinct for _ in own]
    indptr = np.cumsum([0, *map(len, distinct)])
    return sp.csr_matrix(
        (weights, indices, indptr), shape=(len(genres), max(len(names), 1)), dtype=np.float64
    )


def _shared_genre(
    rows: npt.NDArray[Any], query_rows: npt.NDArray[Any], genres: sp.csr_matrix
) -> Float64Array:
    """Return the share of each list with a genre of the query, for queries that have genres."""
    has = np.diff(genres.indptr)[query_rows] > 0
    rows, query_rows = rows[has], query_rows[has]
    shares = np.zeros(len(rows))
    bits = _pack(genres)
    for block in blocks(len(rows), _lists_in_a_block(rows, bits.shape[1])):
        common = bits[rows[block]] & bits[query_rows[block], np.newaxis]
        shares[block] = common.any(axis=2).mean(axis=1)
    return shares


def _pack(genres: sp.csr_matrix) -> npt.NDArray[np.uint8]:
    """Return which genres each item has, a bit each, shape (n_items, ceil(n_genres / 8))."""
    n_items, n_genres = genres.shape
    size = max(1, BLOCK_ENTRIES // n_genres)
    packed = [np.packbits(genres[block].toarray() != 0, axis=1) for block in blocks(n_items, size)]
    return np.concatenate(packed)


def _genre_entropy(rows: npt.NDArray[Any], genres: sp.csr_matrix) -> Float64Array:
    """Return the entropy in bits of each list that holds any genre."""
    n_lists, k = rows.shape
    listed = sp.csr_matrix(
        (np.ones(rows.size), rows.reshape(-1), np.arange(0, rows.size + 1, k)),
        shape=(n_lists, genres.shape[0]),
    )
    weights = sp.csr_matrix(listed @ genres)
    totals = np.asarray(weights.sum(axis=1)).reshape(-1)
    shares = weights.data / np.repeat(totals, np.diff(weights.indptr))
    bits = np.bincount(
        np.repeat(np.arange(n_lists), np.diff(weights.indptr)), -shares * np.log2(shares), minlength=n_lists
    )
    return np.asarray(np.abs(bits[totals > 0]))  # no -0.0


def _diversity(rows: npt.NDArray[Any], vectors: FloatArray) -> Float64Array:
    """Return the mean of 1 - cosine over the pairs of each list; all cosines sum to the square of a sum."""
    n_lists, k = rows.shape
    diversity = np.empty(n_lists)
    for block in blocks(n_lists, _lists_in_a_block(rows, vectors.shape[1])):
        own = vectors[rows[block]].astype(np.float64)
        lengths = np.linalg.norm(own, axis=2, keepdims=True)
        own /= np.where(lengths > 0, lengths, 1)
        of_pairs = np.square(own.sum(axis=1)).sum(axis=1) - np.square(own).sum(axis=(1, 2))
        diversity[block] = 1 - of_pairs / (k * (k - 1))
    return diversity


def _lists_in_a_block(rows: npt.NDArray[Any], width: int) -> int:
    return max(1, BLOCK_ENTRIES // (rows.shape[1] * width))


def _mean(values: Float64Array) -> float | None:
    return float(values.mean()) if len(values) else None
