"""Each metric as a search by dot product, over float64 rows of length about 1 (as `exact` needs them)."""

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import FloatArray
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.search import Int64Array, Search, blocks


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
