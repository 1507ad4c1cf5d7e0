"""Each metric as a search by dot product, over float64 rows of length about 1 (as `exact` needs them)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import FloatArray
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.search import Int32Array, Int64Array, Search, blocks


class Found(NamedTuple):
    """The best items of every query, all arrays of shape (n_queries, n_best), best first.

    Attributes
    ----------
    scores : numpy.ndarray, float64
        Larger is better.
    rows : numpy.ndarray, int32
        Of the items.
    scales : numpy.ndarray, float64
        The length that a rounding of the item moves the score in proportion to, the longest being about 1.
    """

    scores: Float64Array
    rows: Int32Array
    scales: Float64Array


def search_cosine(factors: FloatArray, queries: Int64Array, n_best: int, block_size: int) -> Found:
    """Find the `n_best` other rows of the largest cosine."""
    scores, rows = cosine_search(factors, queries).best(n_best, block_size)
    return Found(scores, rows, np.sqrt(np.maximum(2.0 - 2.0 * scores, 0.0)))


def search_euclidean(factors: FloatArray, queries: Int64Array, n_best: int, block_size: int) -> Found:
    """Find the `n_best` nearest other rows."""
    squares = squared_lengths(factors)
    squares /= power_of_two(np.sqrt(squares.max())) ** 2
    scores, rows = euclidean_search(factors, queries).best(n_best, block_size)
    return Found(scores, rows, np.sqrt(np.maximum(squares[queries, np.newaxis] - 2.0 * scores, 0.0)))


def search_dot(
    playlists: FloatArray, items: FloatArray, queries: Int64Array, n_best: int, block_size: int
) -> Found:
    """Find the `n_best` items of the largest dot product; each playlist is scaled, which keeps its ranking."""
    scores, rows = dot_search(playlists, items, queries).best(n_best, block_size)
    lengths = np.sqrt(squared_lengths(items))
    return Found(scores, rows, lengths[rows] / power_of_two(lengths.max()))


def cosine_search(factors: FloatArray, queries: Int64Array) -> Search:
    """Return the search of other rows by cosine: q.i of rows scaled to length 1; zero rows stay zero."""
    squares = squared_lengths(factors)
    lengths = np.sqrt(np.where(squares > 0, squares, 1.0))[:, np.newaxis]
    return Search(
        lambda block: factors[queries[block]] / lengths[queries[block]],
        lambda block: factors[block] / lengths[block],
        len(queries),
        len(factors),
        own_rows=queries,
    )


def euclidean_search(factors: FloatArray, queries: Int64Array) -> Search:
    """Return the search of the nearest other rows: the largest q.i - |i|^2 / 2, (q, 1) times (i, -|i|^2 / 2)."""
    squares = squared_lengths(factors)
    unit = power_of_two(np.sqrt(squares.max()))
    squares /= unit**2
    return Search(
        lambda block: _with_column(factors[queries[block]] / unit, 1.0),
        lambda block: _with_column(factors[block] / unit, -squares[block] / 2),
        len(queries),
        len(factors),
        own_rows=queries,
    )


def dot_search(playlists: FloatArray, items: FloatArray, queries: Int64Array) -> Search:
    """Return the search of items by dot product with some of the playlists, each scaled to a length of about 1."""
    units = power_of_two(np.sqrt(squared_lengths(playlists)))[:, np.newaxis]
    unit = power_of_two(np.sqrt(squared_lengths(items).max()))
    return Search(
        lambda block: playlists[queries[block]] / units[queries[block]],
        lambda block: np.divide(items[block], unit, dtype=np.float64),
        len(queries),
        len(items),
    )


def squared_lengths(factors: FloatArray) -> Float64Array:
    """Return the squared length of every row, shape (n_rows,), float64, exact for small whole numbers."""
    squares = np.empty(len(factors))
    for block in blocks(len(factors), 16_384):
        squares[block] = np.square(factors[block], dtype=np.float64).sum(axis=1)
    return squares


def power_of_two(lengths: npt.ArrayLike) -> Float64Array:
    """Return the power of two above each length, to scale by without rounding; 1 for a length of 0."""
    return np.asarray(np.ldexp(1.0, np.frexp(lengths)[1]))


def _with_column(rows: npt.NDArray[np.floating[npt.NBitBase]], values: npt.ArrayLike) -> Float64Array:
    """Return the rows in float64 with one more column."""
    wider = np.empty((rows.shape[0], rows.shape[1] + 1))
    wider[:, :-1] = rows
    wider[:, -1] = values
    return wider
