"""From scores to a list: filtering of candidates, and reranking for diversity."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_range
from cs_keras.errors import DataError
from cs_keras.playlists.entries import Entry, name_key

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules of a list.

    Attributes
    ----------
    k
        Number of tracks.
    exclude_artist
        Leave out tracks by the artists of the seeds.
    max_per_artist
        Largest number of tracks by one artist; None for any. Unknown artists count as different.
    diversity
        From 0, the best scores alone, to 1, tracks as different from each other as possible; see `rerank_mmr`.
    """

    k: int = 10
    exclude_artist: bool = False
    max_per_artist: int | None = None
    diversity: float = 0.0

    def __post_init__(self) -> None:
        check_range("k", self.k, 1)
        check_range("diversity", self.diversity, 0, 1)
        if self.max_per_artist is not None:
            check_range("max_per_artist", self.max_per_artist, 1)

    @property
    def pool(self) -> int:
        """Number of candidates to rerank: ten times the list, at least 100; the list itself without diversity."""
        return max(100, 10 * self.k) if self.diversity else self.k


def compute_mean_direction(factors: npt.ArrayLike) -> FloatArray:
    """Return the mean of rows scaled to length 1, so that all seeds have the same weight.

    Parameters
    ----------
    factors : array_like, shape (n_seeds, n_factors), float32

    Returns
    -------
    numpy.ndarray, shape (n_factors,), float32

    Raises
    ------
    DataError
        The mean is zero: all rows are zero, or they cancel each other.
    """
    mean = unit_rows(factors).mean(axis=0, dtype=np.float64)
    if np.linalg.norm(mean) < 1e-6:
        raise DataError("The seeds have no direction in common: their factors are zero or cancel each other.")
    return np.asarray(mean, dtype=np.float32)


def unit_rows(factors: npt.ArrayLike) -> FloatArray:
    """Return rows, shape (n, n_factors), float32, scaled to length 1; rows of zeros stay zero."""
    rows = np.asarray(factors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def filter_candidates(
    ranked: Iterable[int], describe: Callable[[int], Entry], seeds: Sequence[Entry], rules: Rules
) -> Iterator[int]:
    """Yield the rows of `ranked` that a list may contain, in order.

    Left out are the seeds; other entries of the same recording as an earlier one or a seed (same ISRC, or same
    artist and title); and artists excluded by `rules`.

    Parameters
    ----------
    ranked
        Rows of tracks, best first.
    describe
        Function from a row to the track's metadata.
    seeds
        Seed tracks of the list.
    rules
        Rules for artists.
    """
    ids = {seed.track_id for seed in seeds}
    seen = {identity for seed in seeds for identity in seed.identities}
    excluded = {name_key(seed.artist) for seed in seeds} - {""} if rules.exclude_artist else set()
    counts: dict[str, int] = {}
    for row in ranked:
        entry = describe(row)
        artist = name_key(entry.artist)
        is_full = bool(artist) and counts.get(artist, 0) == rules.max_per_artist
        if entry.track_id in ids or artist in excluded or is_full or entry.identities & seen:
            continue
        seen |= entry.identities
        counts[artist] = counts.get(artist, 0) + 1
        yield row


def rerank_mmr(
    relevance: npt.ArrayLike, factors: npt.ArrayLike, k: int, diversity: float
) -> npt.NDArray[np.int64]:
    """Choose k tracks one after another, each relevant and unlike those chosen before.

    Maximal marginal relevance of Carbonell & Goldstein 1998, "The use of MMR, diversity-based reranking for
    reordering documents and producing summaries": the next track is the one of largest ``(1 - diversity) *
    relevance - diversity * s``, where s is its largest cosine with a track chosen before, 0 while there is none.
    Ties are taken in order.

    Parameters
    ----------
    relevance : array_like, shape (n,), float
        At most about 1, comparable to a cosine.
    factors : array_like, shape (n, n_factors), float32
        Factors of the same tracks.
    k : int
        Tracks to choose; all n where there are fewer.
    diversity : float
        0 to 1: the paper's 1 - lambda.

    Returns
    -------
    numpy.ndarray, shape (min(k, n),), int64
        Rows, in the order they were chosen.
    """
    scores = np.asarray(relevance, dtype=np.float64)
    vectors = unit_rows(factors)
    similarity: Float64Array = np.zeros(len(scores))
    chosen: list[int] = []
    for _ in range(min(k, len(scores))):
        values = (1 - diversity) * scores - diversity * similarity
        values[chosen] = -np.inf
        best = int(np.argmax(values))
        cosines = (vectors @ vectors[best]).astype(np.float64)
        similarity = np.maximum(similarity, cosines) if chosen else cosines
        chosen.append(best)
    return np.array(chosen, dtype=np.int64)
