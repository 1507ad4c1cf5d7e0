"""One comparison of two factor matrices, for notebooks: overlap, chance, ceiling, interval and tests together."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.overlap import compare_lists, rank_predicted, rank_reference
from cs_keras.evaluation.search.topk import Metric, TopK
from cs_keras.run_files.evaluation import OverlapAtK


@dataclass(frozen=True)
class OverlapSummary:
    """How far lists by predicted factors agree with those by reference factors; printed as a few lines.

    Attributes
    ----------
    leading
        The overlap to report: artist-filtered where artists are known, else that among all candidates.
    unfiltered
        The overlap among all candidates; None where that leads.
    ceiling
        The leading overlap of a second fit of the same interactions; None without one.
    """

    leading: OverlapAtK
    unfiltered: OverlapAtK | None = None
    ceiling: OverlapAtK | None = None

    @property
    def overlap(self) -> float:
        """Mean share of common tracks, from 0 to 1."""
        return _value(self.leading)

    @property
    def chance(self) -> float:
        """Overlap of random lists, from 0 to 1."""
        assert self.leading.chance is not None  # there are k candidates
        return self.leading.chance

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the overlap, which respects artists that are known."""
        assert self.leading.low is not None and self.leading.high is not None
        return self.leading.low, self.leading.high

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap between chance and ceiling that the prediction closes; None without a ceiling."""
        if self.ceiling is None:
            return None
        return (self.overlap - self.chance) / (_value(self.ceiling) - self.chance)

    def __str__(self) -> str:
        kind = "" if self.unfiltered is None else ", artist-filtered"
        low, high = self.interval
        lines = [f"overlap@{self.leading.k}{kind}: {self.overlap:.1%} [{low:.1%}, {high:.1%}]"]
        lines.append(f"chance: {self.chance:.1%}")
        if self.ceiling is not None:
            lines.append(f"ceiling: {_value(self.ceiling):.1%}; {self.gap_closed:.1%} of the gap closed")
        if self.unfiltered is not None:
            lines.append(f"among all candidates: {_value(self.unfiltered):.1%}")
        for name, p in (
            ("any information", self.leading.p_value),
            ("beyond artists", self.leading.p_beyond_artist),
        ):
            if p is not None:
                lines.append(f"p, {name}: {p:.3g}")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draw the overlap with its interval, and chance and ceiling as lines; return matplotlib's axes."""
        import matplotlib.pyplot as plt

        ax = ax or plt.subplots(figsize=(6, 1.5))[1]
        low, high = self.interval
        error = [[100 * (self.overlap - low)], [100 * (high - self.overlap)]]
        ax.barh([""], [100 * self.overlap], xerr=error, height=0.5, capsize=3)
        lines = {"chance": self.chance} | ({"ceiling": _value(self.ceiling)} if self.ceiling else {})
        for name, value in lines.items():
            ax.axvline(100 * value, linestyle="--", color="0.4")
            ax.annotate(name, (100 * value, 0.4), rotation=90, ha="right", va="top")
        ax.set(xlim=(0, None), xlabel=f"overlap@{self.leading.k}, %")
        return ax


def evaluate(
    reference: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    artists: Iterable[Any] | None = None,
    refit: npt.ArrayLike | None = None,
    k: int = 10,
    metric: Metric = "cosine",
    playlist_factors: npt.ArrayLike | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> OverlapSummary:
    """Compare lists of the k best tracks by predicted factors with those by reference factors.

    Parameters
    ----------
    reference : array_like, shape (n_tracks, n_factors)
        Factors fitted to interactions.
    predicted : array_like, shape (n_tracks, n_dimensions)
        Predictions for the same tracks; with playlists in the space of the reference.
    artists : iterable, length n_tracks, optional
        Artist of each track, by name or number; None, NaN or "" if unknown. Lists then leave out the query's own
        artist, and intervals and tests respect artists.
    refit : array_like, shape (n_tracks, n_dimensions), optional
        Factors of the same interactions by another seed, from which the ceiling follows; for lists of tracks.
    k : int
        Length of the lists.
    metric : {"cosine", "euclidean"}
        Similarity of tracks.
    playlist_factors : array_like, shape (n_playlists, n_factors), optional
        If given, lists are of playlists, by dot product, among all candidates.
    n_permutations : int
        Permutations of the tests.
    seed : int
        Seed of these.

    Returns
    -------
    OverlapSummary

    Raises
    ------
    ConfigError
        Artists are not one per track, or `refit` is given with playlists.
    DataError
        Matrices do not match or are not finite, or there are fewer than k candidates.

    Examples
    --------
    >>> import numpy as np
    >>> import cs_keras as cs
    >>> rng = np.random.default_rng(0)
    >>> reference = rng.normal(size=(200, 16))
    >>> predicted = reference + rng.normal(size=(200, 16))
    >>> result = cs.evaluate(reference, predicted, artists=np.arange(200) // 4)
    >>> print(result)  # doctest: +ELLIPSIS
    overlap@10, artist-filtered: 22.8% [20.5%, 25.0%]
    chance: 5.1%
    ...
    """
    if refit is not None and playlist_factors is not None:
        raise ConfigError("refit is for lists of tracks: a refit has playlist factors of its own.")
    reference = np.asarray(reference)
    known = None if artists is None else _numbers(artists, len(reference))
    leads = known is not None and playlist_factors is None
    lists = rank_reference(
        reference, ks=(k,), metric=metric, playlist_factors=playlist_factors, artists=known, seed=seed
    )

    def compare(found: TopK, filtered: bool, permutations: int) -> OverlapAtK:
        (one,) = compare_lists(
            lists, found, (k,), artists=known, filtered=filtered, n_permutations=permutations, seed=seed
        )
        if not one.at_k.available:
            raise DataError(
                f"Lists of {k} tracks need as many candidates. Received: {one.at_k.n_candidates}."
            )
        return one.at_k

    found = rank_predicted(lists, predicted, playlist_factors)
    return OverlapSummary(
        compare(found, leads, n_permutations),
        compare(found, False, 0) if leads else None,
        None if refit is None else compare(rank_predicted(lists, refit), leads, 0),
    )


def _numbers(artists: Iterable[Any], n_tracks: int) -> npt.NDArray[np.int64]:
    """Return a number for each artist, -1 for those that are not known."""
    names = list(artists)
    if len(names) != n_tracks:
        raise ConfigError(f"artists must be one for each of {n_tracks} tracks. Received: {len(names)}.")
    numbers: dict[Any, int] = {}
    unknown = (None, "", -1)
    return np.array(
        [-1 if name in unknown or name != name else numbers.setdefault(name, len(numbers)) for name in names],
        np.int64,
    )


def _value(one: OverlapAtK) -> float:
    assert one.overlap is not None  # there are k candidates
    return one.overlap
