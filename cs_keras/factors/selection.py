"""Factors worth predicting: what was measured of each setting, the rule that chooses among them, and its reason.

Factors that a second seed would not give again are noise, which sound cannot predict. So of the settings that find
held-out listening about as well as the best, the most stable is chosen. "About as well" is the one-standard-error
rule of Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees" (1984), section 3.4.3.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.factors.wmf import WmfConfig

K = 10  # length of all lists here
AGREEMENT_DECIMALS = 3  # as printed in percent: seeds that agree alike to these are equals


@dataclass(frozen=True)
class Mean:
    """Mean over `n` queries and its standard error, the queries taken as independent."""

    value: float
    error: float
    n: int

    @classmethod
    def over(cls, per_query: npt.NDArray[np.float64]) -> "Mean":
        """Return the mean of values, shape (n_queries,); of a single one the error is 0."""
        n = len(per_query)
        deviation = float(per_query.std(ddof=1)) if n > 1 else 0.0
        return cls(float(per_query.mean()), deviation / n**0.5, n)

    def describe(self) -> str:
        """Say it in percent."""
        return f"{100 * self.value:.1f} %"


@dataclass(frozen=True)
class Result:
    """What was measured of one setting; all are shares from 0 to 1.

    Attributes
    ----------
    setting : WmfConfig
        With the first of its seeds.
    ndcg, recall : Mean
        Of held-out listening at `K`, over playlists, averaged over seeds.
    seeds_train, halves_train : Mean
        Overlap of the `K` tracks most similar to each train track, among train tracks: between fits of several
        seeds, and between fits to either half of the playlists.
    seeds_validation, halves_validation : Mean or None
        The same of validation tracks, folded in; None where there are too few.
    seconds : float
        What it took to measure.
    """

    setting: WmfConfig
    ndcg: Mean
    recall: Mean
    seeds_train: Mean
    halves_train: Mean
    seeds_validation: Mean | None
    halves_validation: Mean | None
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A setting that cannot be fitted, and the sentence that says why."""

    setting: WmfConfig
    reason: str


@dataclass(frozen=True)
class Averaging:
    """Whether the mean of several seeds agrees better with the mean of others than one seed with another.

    Attributes
    ----------
    n_seeds : int
        In each mean.
    single_train, averaged_train : Mean
        Agreement as in `Result`, between seeds and between two means that share none.
    low, high : float
        95 % bootstrap interval over tracks of their difference.
    single_validation, averaged_validation : Mean or None
    single_ndcg, averaged_ndcg : Mean
    """

    n_seeds: int
    single_train: Mean
    averaged_train: Mean
    low: float
    high: float
    single_validation: Mean | None
    averaged_validation: Mean | None
    single_ndcg: Mean
    averaged_ndcg: Mean

    @property
    def kept(self) -> bool:
        """Whether the mean measurably agrees better."""
        return self.low > 0

    def describe(self) -> str:
        """Say it in one sentence."""
        gain = 100 * (self.averaged_train.value - self.single_train.value)
        decision = "the average is kept" if self.kept else "no measurable gain, so a single seed is kept"
        return (
            f"Means of {self.n_seeds} seeds agree on {self.averaged_train.describe()} of the top {K} of train "
            f"tracks, single seeds on {self.single_train.describe()}, a difference of {gain:.1f} "
            f"[{100 * self.low:.1f}, {100 * self.high:.1f}]; their nDCG@{K} is "
            f"{self.averaged_ndcg.describe()} against {self.single_ndcg.describe()}: {decision}."
        )


@dataclass(frozen=True)
class Selection:
    """A search and what came of it.

    Attributes
    ----------
    results : tuple of Result
        The recommended one first; see `rank_results`.
    n_eligible : int
        How many from the first on are within one standard error of the best nDCG.
    failures : tuple of Failure
    n_seeds : int
    n_train, n_validation : int
        Tracks with listening: each list is of `K` of the others in its split.
    averaging : Averaging or None
        Of the recommended setting, where it was asked for.
    """

    results: tuple[Result, ...]
    n_eligible: int
    failures: tuple[Failure, ...]
    n_seeds: int
    n_train: int
    n_validation: int
    averaging: Averaging | None = None

    @property
    def recommended(self) -> Result:
        """What to fit."""
        return self.results[0]

    @property
    def n_averaged(self) -> int:
        """How many seeds to average: 1 unless averaging gains."""
        return self.averaging.n_seeds if self.averaging and self.averaging.kept else 1

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Which of the recommended settings are the smallest or largest of several tried: better may lie beyond."""
        outcomes: tuple[Result | Failure, ...] = (*self.results, *self.failures)
        settings = [asdict(outcome.setting) for outcome in outcomes]
        tried = {name: {setting[name] for setting in settings} for name in settings[0]}
        chosen = asdict(self.recommended.setting)
        return tuple(
            name
            for name, values in tried.items()
            if len(values) > 1 and chosen[name] in (min(values), max(values))
        )

    def describe(self) -> str:
        """Say in one sentence what is recommended, and why."""
        best = max((result.ndcg for result in self.results), key=lambda ndcg: ndcg.value)
        eligible = "only this one has" if self.n_eligible == 1 else f"{self.n_eligible} have"
        agree = "its seeds agree" if self.n_eligible == 1 else "of these its seeds agree most,"
        return (
            f"Recommended: {describe_setting(self.recommended.setting)}; of {len(self.results)} settings "
            f"{eligible} an nDCG@{K} within one standard error ({100 * best.error:.1f}) of the best "
            f"({best.describe()}), and {agree} on {self.recommended.seeds_train.describe()} of the top {K} of "
            "train tracks."
        )


def describe_setting(setting: WmfConfig) -> str:
    """Name a setting in words."""
    return (
        f"{setting.factors} factors, alpha {setting.alpha:g}, regularization {setting.regularization:g}, "
        f"{setting.iterations} iterations"
    )


def rank_results(results: Sequence[Result]) -> tuple[tuple[Result, ...], int]:
    """Put results in the order of the rule, and count those that it may choose from.

    First those whose nDCG is within one standard error of the best: where seeds agree most, then of the smaller
    rank, then as given. After them the others, by nDCG.

    Raises
    ------
    DataError
        There are none.
    """
    if not results:
        raise DataError("no setting could be fitted: expected at least one to choose from. Received: none.")
    best = max((result.ndcg for result in results), key=lambda ndcg: ndcg.value)
    eligible = [result for result in results if result.ndcg.value >= best.value - best.error]
    others = [result for result in results if result not in eligible]
    eligible.sort(key=lambda one: (-round(one.seeds_train.value, AGREEMENT_DECIMALS), one.setting.factors))
    others.sort(key=lambda one: -one.ndcg.value)
    return (*eligible, *others), len(eligible)
