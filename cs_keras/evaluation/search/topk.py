"""The k best tracks for every query, exactly: by similarity of tracks, by dot product, or by one score a track.

Conventions. Factors have one row per track (or playlist) and one column per factor. Better comes first; equal
scores are in row order. A list depends on its query and on the tracks alone, never on block size or number of
threads. A row of zeros has no direction: its cosine with anything is taken as 0.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import check_count, check_factors, check_scores, check_width
from cs_keras.evaluation.search.compiled import mark_ties
from cs_keras.evaluation.search.search import (
    Int32Array,
    Int64Array,
    cosine_search,
    dot_search,
    euclidean_search,
)

Metric = Literal["cosine", "euclidean", "dot"]


@dataclass(frozen=True)
class TopK:
    """The k best items for every query.

    Attributes
    ----------
    indices : numpy.ndarray, shape (n_queries, k), int32
        Rows of the items, best first.
    ties : numpy.ndarray, shape (n_queries, k), bool
        Whether an entry's score equals that of the next, within 1e-9 of it; of the last, that of the best item
        outside the list.
    queries : numpy.ndarray, shape (n_queries,), int64
        Rows of the queries: tracks for a similarity, playlists for the dot product.
    n_items : int
        Ranked tracks, including a query's own one.
    metric : {"cosine", "euclidean", "dot"}
    n_excluded : numpy.ndarray or None, shape (n_queries,), int64
        Items that are no candidates: the tracks of the query's artist, itself included, in artist-filtered lists.
        None where only the query itself is excluded.
    """

    indices: Int32Array
    ties: npt.NDArray[np.bool_]
    queries: Int64Array
    n_items: int
    metric: Metric
    n_excluded: Int64Array | None = None

    @property
    def k(self) -> int:
        """Length of the lists."""
        return self.indices.shape[1]

    @property
    def n_candidates(self) -> int:
        """Number of items that a list may hold, artists aside: all but a query track itself."""
        return self.n_items - (self.metric != "dot")

    @property
    def candidate_counts(self) -> Int64Array:
        """Number of items that each list may hold: int64 of shape (n_queries,)."""
        if self.n_excluded is None:
            return np.full(len(self.queries), self.n_candidates)
        return self.n_items - self.n_excluded

    @property
    def chance(self) -> float:
        """Mean overlap of random lists of length k with these: the mean of k / (number of candidates)."""
        return float(np.mean(self.k / self.candidate_counts))

    @property
    def tied(self) -> npt.NDArray[np.bool_]:
        """Whether a list's members depend on a tie: bool of shape (n_queries,).

        Only a tie of the last entry with the best item outside counts: ties inside a list (the same recording on
        two releases) change its order, not its members.
        """
        return self.ties[:, -1]

    def prefix(self, k: int) -> "TopK":
        """Return the first k of every list; raise `DataError` if the lists are shorter."""
        if not 1 <= k <= self.k:
            raise DataError(f"the lists have no such prefix: expected k from 1 to {self.k}. Received: {k}.")
        return replace(self, indices=self.indices[:, :k], ties=self.ties[:, :k])

    def select(self, rows: npt.NDArray[np.generic]) -> "TopK":
        """Return some of the lists, by row numbers or a mask of shape (n_queries,)."""
        excluded = None if self.n_excluded is None else self.n_excluded[rows]
        return replace(
            self,
            indices=self.indices[rows],
            ties=self.ties[rows],
            queries=self.queries[rows],
            n_excluded=excluded,
        )


def top_k_similar(
    factors: npt.ArrayLike,
    k: int,
    *,
    metric: Metric = "cosine",
    queries: npt.ArrayLike | None = None,
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

    Raises
    ------
    ConfigError
        The metric is unknown, or k is not a positive whole number.
    DataError
        Not a finite factor matrix, queries are not rows of it, or k is above n_tracks - 1.
    """
    factors = check_factors("factors", factors)
    if metric not in ("cosine", "euclidean"):
        raise ConfigError(f"unknown similarity: expected 'cosine' or 'euclidean'. Received: {metric!r}.")
    rows = _check_queries(queries, len(factors))
    check_k(k, len(factors) - 1)
    search = (cosine_search if metric == "cosine" else euclidean_search)(factors, rows)
    return TopK(*search.best(k), rows, len(factors), metric)


def top_k_dot(
    playlist_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    k: int,
    *,
    queries: npt.ArrayLike | None = None,
) -> TopK:
    """Return, for every playlist, the k tracks of the largest dot product with it.

    Factors have shapes (n_playlists, n_factors) and (n_tracks, n_factors), float32; `queries`, shape
    (n_queries,), are rows of playlists, all by default.

    Raises
    ------
    ConfigError
        k is not a positive whole number.
    DataError
        Not finite factor matrices of one width, queries are not playlists, or k is above n_tracks.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    items = check_factors("item factors", item_factors)
    check_width(playlists, items)
    rows = _check_queries(queries, len(playlists))
    check_k(k, len(items))
    return TopK(*dot_search(playlists, items, rows).best(k), rows, len(items), "dot")


def top_k_ranking(item_scores: npt.ArrayLike, k: int, queries: npt.ArrayLike) -> TopK:
    """Return the k best tracks by one score a track, shape (n_tracks,), float64: the same list for every playlist.

    Lists are read-only views of a single one, of metric "dot"; `queries`, shape (n_queries,), are the playlists'
    rows. Raise `ConfigError` unless k is a positive whole number, `DataError` unless scores are finite, one a
    track, and k is at most n_tracks.
    """
    scores = check_scores(item_scores)
    check_k(k, len(scores))
    order = np.argsort(-scores, kind="stable")[: k + 1].astype(np.int32)
    rows = np.asarray(queries, dtype=np.int64)
    ties = np.empty(k, bool)
    mark_ties(scores[order], ties)
    indices, ties = (np.broadcast_to(one, (len(rows), k)) for one in (order[:k], ties))
    return TopK(indices, ties, rows, len(scores), "dot")


def filtered_length(k: int, artists: npt.ArrayLike) -> int:
    """Return the length of lists that hold k tracks by other artists for every query that has k such candidates.

    `artists`, shape (n_tracks,), int: -1 is unknown. It is k and the other tracks of the artist that has most, at
    most n_tracks - 1.
    """
    known = np.asarray(artists)
    counts = np.bincount(known[known >= 0], minlength=1)
    return int(min(check_count("k", k) + max(counts.max() - 1, 0), len(known) - 1))


def filter_artists(lists: TopK, artists: npt.ArrayLike, k: int) -> TopK:
    """Return the k best of every list without the tracks of the query's own artist.

    Queries of unknown artist, and those with fewer than k candidates, are left out; none may be left.

    Parameters
    ----------
    lists : TopK
        Lists of tracks, of `filtered_length` for this k at least.
    artists : array_like, shape (n_items,), int
        Artist of each track; -1 is unknown. Tracks of unknown artist stay candidates.
    k : int

    Returns
    -------
    TopK
        With `n_excluded`, and the queries that are left.

    Raises
    ------
    DataError
        Lists are of playlists or too short, or artists are not one whole number from -1 a track.
    ConfigError
        k is not a positive whole number.
    """
    own = check_artists(artists, lists)
    if lists.metric == "dot":
        raise DataError("lists of playlists have no artist to filter: expected lists of tracks.")
    least = filtered_length(k, own)
    if lists.k < min(least, lists.n_candidates):
        raise DataError(
            f"the lists are too short to be filtered: expected {least} entries for k = {k}. Received: {lists.k}."
        )
    query_artists = own[lists.queries]
    n_excluded = np.bincount(own[own >= 0], minlength=query_artists.max(initial=0) + 1)[query_artists]
    is_query = (query_artists >= 0) & (lists.n_items - n_excluded >= k)
    is_candidate = own[lists.indices[is_query]] != query_artists[is_query, np.newaxis]
    is_listed = is_candidate & (np.cumsum(is_candidate, axis=1) <= k)
    # A listed entry ties with the next candidate if all entries between do.
    breaks = np.cumsum(~lists.ties[is_query], axis=1)
    positions = np.arange(lists.k)
    following = np.where(is_candidate, positions, lists.k)[:, ::-1]
    following = np.minimum.accumulate(following, axis=1)[:, ::-1]  # first candidate from each entry on
    following = np.column_stack((following[:, 1:], np.full(len(following), lists.k)))
    until = np.take_along_axis(breaks, following - 1, axis=1)
    ties = until == breaks - ~lists.ties[is_query]
    shape = (np.count_nonzero(is_query), k)
    return TopK(
        lists.indices[is_query][is_listed].reshape(shape),
        ties[is_listed].reshape(shape),
        lists.queries[is_query],
        lists.n_items,
        lists.metric,
        n_excluded[is_query],
    )


def remove_own_artists(lists: Int32Array, artists: Int64Array, queries: Int64Array) -> Int32Array:
    """Return lists without the tracks of the query's artist, padded at the end with the number of items.

    `lists` have the shape (n_queries, n), and so has the result, int32; `artists` are those of `filter_artists`.
    """
    is_own = artists[lists] == artists[queries][:, np.newaxis]
    order = np.argsort(is_own, axis=1, kind="stable")
    padded = np.where(is_own, np.int32(len(artists)), lists)
    return np.take_along_axis(padded, order, axis=1)


def check_artists(artists: npt.ArrayLike, lists: TopK) -> Int64Array:
    """Return the artist of each item, shape (n_items,), int64; raise `DataError` unless whole numbers from -1."""
    own = np.asarray(artists)
    if own.shape != (lists.n_items,) or own.dtype.kind not in "iu" or own.min() < -1:
        raise DataError(
            f"artists do not match: expected a whole number from -1 for each of {lists.n_items} tracks. "
            f"Received: shape {own.shape}, dtype {own.dtype}."
        )
    return own.astype(np.int64)


def check_k(k: int, n_candidates: int) -> None:
    """Raise `ConfigError` unless k is a positive whole number, `DataError` if there are fewer candidates."""
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
            f"queries are not rows of the factors: expected different whole numbers from 0 to {n_rows - 1}. "
            f"Received: {queries!r}."
        )
    return rows.astype(np.int64)
