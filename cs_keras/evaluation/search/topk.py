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
from cs_keras.evaluation.search.exact import Float64Array
from cs_keras.evaluation.search.metric_rows import (
    cosine_search,
    dot_search,
    euclidean_search,
    power_of_two,
    squared_lengths,
)
from cs_keras.evaluation.search.search import BLOCK_SIZE, Int32Array, Int64Array

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
        Score difference to the next entry (the last: to the best item outside the list), in units of the effect of
        rounding the factors to float32. Infinite where the list holds all items.
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows of the queries: tracks for a similarity, playlists for the dot product.
    n_items : int
        Ranked tracks, including a query's own one.
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
        """Number of items a list may hold: all but a query track itself."""
        return self.n_items - (self.metric != "dot")

    @property
    def tied(self) -> npt.NDArray[np.bool_]:
        """Whether a list's members depend on a tie within float32 precision: bool of shape (n_queries,).

        Only a tie of the last entry with the best item outside counts: ties inside a list (the same recording on
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
        Rows to use as queries; all by default.
    block_size : int
        Queries scored at a time: bounds memory only.

    Raises
    ------
    ConfigError
        The metric is unknown, or k or block_size is not a positive whole number.
    DataError
        Not a finite factor matrix, queries are no rows of it, or k is above n_tracks - 1.
    """
    factors = check_factors("factors", factors)
    if metric not in ("cosine", "euclidean"):
        raise ConfigError(f"unknown similarity: expected 'cosine' or 'euclidean'. Received: {metric!r}.")
    rows = _check_queries(queries, len(factors))
    _check_k(k, len(factors) - 1)
    block_size = check_count("block_size", block_size)
    search = (cosine_search if metric == "cosine" else euclidean_search)(factors, rows)
    scores, items = search.best(min(k + 1, len(factors) - 1), block_size)
    if metric == "cosine":
        squared_distances = 2.0 - 2.0 * scores
    else:
        squares = squared_lengths(factors)
        squares /= power_of_two(np.sqrt(squares.max())) ** 2
        squared_distances = squares[rows, np.newaxis] - 2.0 * scores
    gaps = _gaps(scores, np.sqrt(np.maximum(squared_distances, 0.0)), k, factors.shape[1])
    return TopK(items[:, :k], gaps, rows, len(factors), metric)


def top_k_dot(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    k: int,
    *,
    queries: npt.ArrayLike | None = None,
    block_size: int = BLOCK_SIZE,
) -> TopK:
    """Return, for every playlist, the k tracks of the largest dot product with it.

    Factors have shapes (n_playlists, n_factors) and (n_tracks, n_factors), float32; `queries`, shape
    (n_queries,), are rows of playlists, all by default; `block_size` bounds memory only.

    Raises
    ------
    ConfigError
        k or block_size is not a positive whole number.
    DataError
        Not finite factor matrices of one width, queries are no playlists, or k is above n_tracks.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    items = check_factors("item factors", item_factors)
    check_width(playlists, items)
    rows = _check_queries(queries, len(playlists))
    _check_k(k, len(items))
    block_size = check_count("block_size", block_size)
    scores, best = dot_search(playlists, items, rows).best(min(k + 1, len(items)), block_size)
    lengths = np.sqrt(squared_lengths(items))
    gaps = _gaps(scores, lengths[best] / power_of_two(lengths.max()), k, items.shape[1])
    return TopK(best[:, :k], gaps, rows, len(items), "dot")


def top_k_ranking(item_scores: npt.ArrayLike, k: int, queries: npt.ArrayLike) -> TopK:
    """Return the k best tracks by one score a track, shape (n_tracks,), float64: the same list for every playlist.

    Lists are read-only views of a single one, of metric "dot"; `queries`, shape (n_queries,), are the playlists'
    rows. Raise `ConfigError` unless k is a positive whole number, `DataError` unless scores are finite, one a
    track, and k is at most n_tracks.
    """
    scores = check_scores(item_scores)
    _check_k(k, len(scores))
    order = np.argsort(-scores, kind="stable")[: k + 1].astype(np.int32)
    best = scores[np.newaxis, order] / power_of_two(np.abs(scores).max())
    rows = np.asarray(queries, dtype=np.int64)
    gaps = np.broadcast_to(_gaps(best, np.abs(best), k, n_factors=1), (len(rows), k))
    return TopK(np.broadcast_to(order[:k], (len(rows), k)), gaps, rows, len(scores), "dot")


def _gaps(scores: Float64Array, scales: Float64Array, k: int, n_factors: int) -> FloatArray:
    """Return the steps between successive scores, in units of float32 rounding: see `TopK.gaps`.

    Rounding n factors to float32, each by eps / 2 of itself at most, moves a score by about eps / sqrt(n) of its
    scale: of the item's length for a dot product, of the distance of item and query for a similarity.
    """
    rounding = np.finfo(np.float32).eps / np.sqrt(n_factors)
    gaps = np.full((len(scores), k), np.inf, dtype=np.float32)
    steps = scores[:, :-1] - scores[:, 1:]  # k of them, or k - 1 if no item is left out
    gaps[:, : steps.shape[1]] = steps / (rounding * (scales[:, 1:] + FLOOR))
    return gaps


def _check_k(k: int, n_candidates: int) -> None:
    if check_count("k", k) > n_candidates:
        raise DataError(
            f"k is longer than the lists can be: expected at most {n_candidates}, the number of candidates. "
            f"Received: {k}."
        )


def _check_queries(queries: npt.ArrayLike | None, n_rows: int) -> Int64Array:
    """Return the query rows, shape (n_queries,), int64: all of them for None."""
    if queries is None:
        return np.arange(n_rows)
    rows = np.asarray(queries)
    whole = rows.ndim == 1 and rows.size > 0 and rows.dtype.kind in "iu"
    if not whole or rows.min() < 0 or rows.max() >= n_rows or len(np.unique(rows)) < len(rows):
        raise DataError(
            f"queries are no rows of the factors: expected different whole numbers from 0 to {n_rows - 1}. "
            f"Received: {queries!r}."
        )
    return rows.astype(np.int64)
