"""Selection of WMF settings: metrics of each setting, the rule that chooses among them, and its JSON file.

Factors that differ with the seed are noise, which audio cannot predict. So among the settings whose nDCG on
held-out interactions is close to the best, the most stable is chosen. "Close" is the one-standard-error rule of
Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees" (1984), section 3.4.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.factors.wmf import WmfConfig
from cs_keras.runs import write_json
from cs_keras.storage.location import Location

K = 10  # length of all lists here
SCHEMA = 1
AGREEMENT_DECIMALS = 3  # as printed in percent: agreement equal to these is a tie


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

    @classmethod
    def over_or_none(cls, per_query: npt.NDArray[np.float64] | None) -> "Mean | None":
        """Return the mean of values, or None where nothing was measured."""
        return None if per_query is None else cls.over(per_query)

    def describe(self) -> str:
        """Return the mean in percent."""
        return f"{100 * self.value:.1f} %"


@dataclass(frozen=True)
class Result:
    """Metrics of one setting, as shares from 0 to 1.

    Attributes
    ----------
    setting : WmfConfig
        With the first of its seeds.
    ndcg, recall : Mean
        On held-out interactions at `K`, over playlists, averaged over seeds.
    seeds_train, halves_train : Mean
        Overlap of each train track's `K` most similar train tracks: between fits of several seeds, and between fits
        to the halves of the playlists.
    seeds_validation, halves_validation : Mean or None
        The same for validation tracks, folded in; None where there are too few.
    seconds : float
        Time to measure the setting.
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
    """A setting that cannot be fitted, and the reason in one sentence."""

    setting: WmfConfig
    reason: str


@dataclass(frozen=True)
class Averaging:
    """Agreement between means of several seeds, compared with agreement between single seeds.

    Attributes
    ----------
    n_seeds : int
        Seeds of each mean.
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
    def is_better(self) -> bool:
        """Whether averaging raises the agreement significantly."""
        return self.low > 0

    def describe(self) -> str:
        """Return a summary in one sentence."""
        gain = 100 * (self.averaged_train.value - self.single_train.value)
        decision = (
            "the average is used" if self.is_better else "no significant gain, so a single seed is used"
        )
        return (
            f"Means of {self.n_seeds} seeds agree on {self.averaged_train.describe()} of the top {K} of train "
            f"tracks, single seeds on {self.single_train.describe()}, a difference of {gain:.1f} "
            f"[{100 * self.low:.1f}, {100 * self.high:.1f}]; their nDCG@{K} is "
            f"{self.averaged_ndcg.describe()} against {self.single_ndcg.describe()}: {decision}."
        )


@dataclass(frozen=True)
class Selection:
    """Results of a search over settings.

    Attributes
    ----------
    results : tuple of Result
        The recommended one first; see `rank_results`.
    n_eligible : int
        Number of results, from the first, within one standard error of the best nDCG.
    failures : tuple of Failure
    n_seeds : int
    n_train, n_validation : int
        Tracks with interactions; lists hold `K` others of the same split.
    averaging : Averaging or None
        The averages of seeds of the recommended setting, if requested.
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
        """The recommended setting's result."""
        return self.results[0]

    @property
    def n_averaged(self) -> int:
        """Number of seeds to average: 1 unless averaging is better."""
        return self.averaging.n_seeds if self.averaging and self.averaging.is_better else 1

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Names of recommended values at the edge of the tried range, beyond which better ones may lie."""
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
        """Return the recommendation and its reason in one sentence."""
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
    """Return a setting in words."""
    return (
        f"{setting.factors} factors, alpha {setting.alpha:g}, regularization {setting.regularization:g}, "
        f"{setting.iterations} iterations"
    )


def rank_results(results: Sequence[Result]) -> tuple[tuple[Result, ...], int]:
    """Sort results by the selection rule, and count the eligible ones.

    First those whose nDCG is within one standard error of the best: by agreement of seeds, then fewer factors, then
    in the given order. After them the others, by nDCG.

    Raises
    ------
    DataError
        There are no results.
    """
    if not results:
        raise DataError("no setting could be fitted: expected at least one to choose from. Received: none.")
    best = max((result.ndcg for result in results), key=lambda ndcg: ndcg.value)
    eligible = [result for result in results if result.ndcg.value >= best.value - best.error]
    others = [result for result in results if result not in eligible]
    eligible.sort(key=lambda one: (-round(one.seeds_train.value, AGREEMENT_DECIMALS), one.setting.factors))
    others.sort(key=lambda one: -one.ndcg.value)
    return (*eligible, *others), len(eligible)


def save_selection(path: Location, selection: Selection) -> None:
    """Write a selection as JSON atomically; raise StorageError if the file cannot be written."""
    write_json(path, {"schema_version": SCHEMA, **asdict(selection)})


def parse_outcome(document: Mapping[str, Any]) -> Result | Failure:
    """Return the outcome from its `dataclasses.asdict`; raise KeyError or TypeError for anything else."""
    setting = WmfConfig(**document["setting"])
    if "reason" in document:
        return Failure(setting, document["reason"])
    return Result(**{**_means(document), "setting": setting})


def parse_averaging(document: Mapping[str, Any]) -> Averaging:
    """Return the comparison from its `dataclasses.asdict`; raise KeyError or TypeError for anything else."""
    return Averaging(**_means(document))


def _means(document: Mapping[str, Any]) -> dict[str, Any]:
    is_mean = {name: isinstance(value, dict) and "error" in value for name, value in document.items()}
    return {name: Mean(**value) if is_mean[name] else value for name, value in document.items()}
