"""The k best tracks for every query, exactly: by similarity of tracks, by dot product, or by one score a track.

Conventions. Factors have one row a track (or a playlist) and one column a factor. Better comes first; equal scores
are in row order. A list depends on its query and on the tracks alone, never on block size or number of threads.
A row of zeros has no direction: its cosine with anything is taken as 0.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import FloatArray, check_count, check_factors, check_scores, check_width
from cs_keras.evaluation.exact import Float64Array
from cs_keras.evaluation.search import BLOCK_SIZE, Int32Array, Int64Array, Search, blocks

Metric = Literal["cosine", "euclidean", "dot"]

FLOOR = 1e-5  # distances and lengths below this share of the longest are not resolved by scores good to 1e-14


@dataclass(frozen=True)
class TopK:
    """The k best items for every query.

    Attributes
    ----------
    indices : numpy.ndarray, shape (n_queries, k), int32
        Rows of the items, best first.
    gaps : numpy.ndarray, shape (n_queries, k), float32
        How far each entry stands above the next one (the last: above the best item left out), in units of what
        rounding the factors to float32 would move it. Infinite where nothing is left out.
    queries : numpy.ndarray, shape (n_queries,), int64
        Which rows asked: tracks for a similarity, playlists for the dot product.
    n_items : int
        Tracks that were ranked, a query's own one included.
    metric : {"cosine", "euclidean", "dot"}
    """

    indices: Int32Array
    gaps: FloatArray
    queries: Int64Array
    n_items: int
    metric: Metric

    @property
    def k(self) -> int:
        """Length of the lists."""
        return self.indices.shape[1]

    @property
    def n_candidates(self) -> int:
        """How many items compete for a list: a track never for its own."""
        return self.n_items - (self.metric != "dot")

    @property
    def tied(self) -> npt.NDArray[np.bool_]:
        """Whether who is in the list hangs on a tie within float32 precision: bool of shape (n_queries,).

        Only the border counts, last entry against best item left out: equals inside a list (the same recording on
        two releases) change its order, not its members.
        """
        return np.asarray(self.gaps[:, -1] <= 1)

    def prefix(self, k: int) -> "TopK":
        """Return the first k of every list; raise `DataError` if the lists are shorter."""
        if not 1 <= k <= self.k:
            raise DataError(f"the lists have no such prefix: expected k from 1 to {self.k}. Received: {k}.")
        return replace(self, indices=self.indices[:, :k], gaps=self.gaps[:, :k])


def top_k_similar(
    factors: npt.ArrayLike,
    k: int,
    *,
    metric: Metric = "cosine",
    queries: npt.ArrayLike | None = None,
    block_size: int = BLOCK_SIZE,
) -> TopK:
    """Return, for every row, the k nearest other rows.

    Parameters
    ----------
    factors : array_like, shape (n_tracks, n_factors), float32
    k : int
        At most n_tracks - 1.
    metric : {"cosine", "euclidean"}
    queries : array_like, shape (n_queries,), int, optional
        Rows to ask for; all of them by default.
    block_size : int
        Queries scored at a time: bounds memory, changes nothing else.

    Returns
    -------
    TopK

    Raises
    ------
    ConfigError
        Unknown metric, or k or block_size no positive whole number.
    DataError
        Not a finite factor matrix, queries that are no rows of it, or k above n_tracks - 1.
    """
    factors = check_factors("factors", factors)
    if metric not in ("cosine", "euclidean"):
        raise ConfigError(f"unknown similarity: expected 'cosine' or 'euclidean'. Received: {metric!r}.")
    rows = _check_queries(queries, len(factors))
    _check_k(k, len(factors) - 1)
    block_size = check_count("block_size", block_size)
    n_best = min(k + 1, len(factors) - 1)
    if metric == "cosine":
        scores, indices, distances = _nearest_by_cosine(factors, rows, n_best, block_size)
    else:
        scores, indices, distances = _nearest_by_distance(factors, rows, n_best, block_size)
    return TopK(indices[:, :k], _gaps(scores, distances, k, factors.shape[1]), rows, len(factors), metric)


def top_k_dot(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    k: int,
    *,
    queries: npt.ArrayLike | None = None,
    block_size: int = BLOCK_SIZE,
) -> TopK:
    """Return, for every playlist, the k tracks of the largest dot product with it.

    Parameters
    ----------
    playlist_factors : array_like, shape (n_playlists, n_factors), float32
    item_factors : array_like, shape (n_tracks, n_factors), float32
    k : int
        At most n_tracks.
    queries : array_like, shape (n_queries,), int, optional
        Playlists to ask for; all of them by default.
    block_size : int
        Queries scored at a time: bounds memory, changes nothing else.

    Returns
    -------
    TopK

    Raises
    ------
    ConfigError
        k or block_size no positive whole number.
    DataError
        Not finite factor matrices of one width, queries that are no playlists, or k above n_tracks.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    items = check_factors("item factors", item_factors)
    check_width(playlists, items)
    rows = _check_queries(queries, len(playlists))
    _check_k(k, len(items))
    units = _power_of_two(np.sqrt(squared_lengths(playlists)))[
        :, np.newaxis
    ]  # scaling a query keeps its ranking
    lengths = np.sqrt(squared_lengths(items))
    unit = _power_of_two(lengths.max())
    search = Search(
        lambda block: playlists[rows[block]] / units[rows[block]],
        lambda block: items[block] / unit,
        len(rows),
        len(items),
    )
    scores, indices = search.best(min(k + 1, len(items)), check_count("block_size", block_size))
    gaps = _gaps(scores, lengths[indices] / unit, k, items.shape[1])
    return TopK(indices[:, :k], gaps, rows, len(items), "dot")


def top_k_ranking(item_scores: npt.ArrayLike, k: int, queries: npt.ArrayLike) -> TopK:
    """Return the k best tracks by one score a track: the same list for every playlist.

    Parameters
    ----------
    item_scores : array_like, shape (n_tracks,), float64
        Larger is better.
    k : int
        At most n_tracks.
    queries : array_like, shape (n_queries,), int
        The playlists that are given the list.

    Returns
    -------
    TopK
        Of metric "dot"; its lists are read-only views of a single one.

    Raises
    ------
    ConfigError
        k no positive whole number.
    DataError
        Scores that are not finite numbers of shape (n_tracks,), or k above n_tracks.
    """
    scores = check_scores(item_scores)
    _check_k(k, len(scores))
    order = np.argsort(-scores, kind="stable")[: k + 1].astype(np.int32)
    best = scores[np.newaxis, order] / _power_of_two(np.abs(scores).max())
    rows = np.asarray(queries, dtype=np.int64)
    gaps = np.broadcast_to(_gaps(best, np.abs(best), k, n_factors=1), (len(rows), k))
    return TopK(np.broadcast_to(order[:k], (len(rows), k)), gaps, rows, len(scores), "dot")


def squared_lengths(factors: FloatArray) -> Float64Array:
    """Return the squared length of every row, shape (n_rows,), float64, exact for whole-number factors."""
    squares = np.empty(len(factors))
    for block in blocks(len(factors), 16_384):
        squares[block] = np.square(factors[block], dtype=np.float64).sum(axis=1)
    return squares


def _nearest_by_cosine(
    factors: FloatArray, rows: Int64Array, n_best: int, block_size: int
) -> tuple[Float64Array, Int32Array, Float64Array]:
    """Return scores q.i of rows scaled to length 1, item rows, and the distances of the scaled rows."""
    squares = squared_lengths(factors)
    lengths = np.sqrt(np.where(squares > 0, squares, 1.0))[:, np.newaxis]
    search = Search(
        lambda block: factors[rows[block]] / lengths[rows[block]],
        lambda block: factors[block] / lengths[block],
        len(rows),
        len(factors),
        own_rows=rows,
    )
    scores, indices = search.best(n_best, block_size)
    return scores, indices, np.sqrt(np.maximum(2.0 - 2.0 * scores, 0.0))


def _nearest_by_distance(
    factors: FloatArray, rows: Int64Array, n_best: int, block_size: int
) -> tuple[Float64Array, Int32Array, Float64Array]:
    """Return scores q.i - |i|^2 / 2, largest for the nearest, item rows and distances, the longest row about 1."""
    squares = squared_lengths(factors)
    unit = _power_of_two(np.sqrt(squares.max()))
    squares /= unit**2
    search = Search(  # one more column makes the score a dot product: (q, 1) with (i, -|i|^2 / 2)
        lambda block: np.pad(factors[rows[block]] / unit, ((0, 0), (0, 1)), constant_values=1.0),
        lambda block: np.column_stack([factors[block] / unit, -squares[block] / 2]),
        len(rows),
        len(factors),
        own_rows=rows,
    )
    scores, indices = search.best(n_best, block_size)
    return scores, indices, np.sqrt(np.maximum(squares[rows, np.newaxis] - 2.0 * scores, 0.0))


def _gaps(scores: Float64Array, scales: Float64Array, k: int, n_factors: int) -> FloatArray:
    """Return the steps between successive scores, in units of float32 rounding: see `TopK.gaps`.

    Rounding n factors to float32, each by eps / 2 at most, moves a dot product by about eps * scale / sqrt(n),
    where the scale is the item's length; for a similarity, which only changes by what moves the item relative to
    the query, it is their distance.
    """
    rounding = np.finfo(np.float32).eps / np.sqrt(n_factors)
    gaps = np.full((len(scores), k), np.inf, dtype=np.float32)
    steps = scores[:, :-1] - scores[:, 1:]  # k of them, or k - 1 if no item is left out
    gaps[:, : steps.shape[1]] = steps / (rounding * (scales[:, 1:] + FLOOR))
    return gaps


def _power_of_two(lengths: npt.ArrayLike) -> Float64Array:
    """Return the power of two above each length, to scale by without rounding; 1 for a length of 0."""
    return np.asarray(np.ldexp(1.0, np.frexp(lengths)[1]))


def _check_k(k: int, n_candidates: int) -> None:
    if check_count("k", k) > n_candidates:
        raise DataError(
            f"k is longer than the lists can be: expected at most {n_candidates}, the number of candidates. "
            f"Received: {k}."
        )


def _check_queries(queries: npt.ArrayLike | None, n_rows: int) -> Int64Array:
    """Return the rows that ask, shape (n_queries,), int64: all of them for None."""
    if queries is None:
        return np.arange(n_rows)
    rows = np.asarray(queries)
    if (
        rows.ndim != 1
        or not rows.size
        or rows.dtype.kind not in "iu"
        or rows.min() < 0
        or rows.max() >= n_rows
    ):
        raise DataError(
            f"queries are no rows of the factors: expected at least one whole number from 0 to {n_rows - 1}. "
            f"Received: {queries!r}."
        )
    return rows.astype(np.int64)
