"""Position of a model between chance and ceiling, and the verdict that follows.

The share of a gap closed is (value - chance) / (top - chance): 0 at chance, 1 at the top, which is the ceiling
(the overlap of a refit, see `agreement`) or the reference itself, whose overlap is 1. Value and top are means
over the same queries, so their interval is the bootstrap interval of the whole ratio.
"""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
from cs_keras.evaluation.checks import Float64Array
from cs_keras.evaluation.statistics.resampling import Resampling, check_models, resample_models
from cs_keras.run_files.evaluation import GapShare, Rung

REFERENCE = 1.0


class Verdict(StrEnum):
    """Conclusion about one model, in words for a table."""

    TIED = "tied lists"
    CHANCE = "not significantly above chance"
    ABOVE_CHANCE = "above chance"
    BELOW_CEILING = "above chance, below the ceiling"
    AT_CEILING = "not significantly different from the ceiling"
    ABOVE_CEILING = "above the ceiling: check for leakage"


def gap_closed(
    values: npt.ArrayLike, chance: float, top: npt.ArrayLike, resampling: Resampling | None = None
) -> GapShare | None:
    """Return the share of the gap from chance to the top that a model closes.

    Parameters
    ----------
    values : array_like, shape (n_queries,) or (n_seeds, n_queries), float
        Values of the model; larger is better.
    chance : float
        Expected mean of random lists.
    top : array_like, shape (), (n_queries,) or (n_pairs, n_queries), float
        A number without error, 1 for the reference; or the ceiling of each of the same queries.
    resampling : Resampling, optional

    Returns
    -------
    GapShare or None
        None if there is no clear gap: in a resample, or in the mean, the top is no higher than chance.

    Raises
    ------
    DataError
        Values are not finite, or of other queries than the top.
    ConfigError
        `chance` is not a finite number.
    """
    settings = resampling or Resampling()
    chance = _check_chance(chance)
    n_queries = np.shape(values)[-1] if np.ndim(values) else 0
    tops = np.full(n_queries, top, dtype=np.float64) if np.ndim(top) == 0 else top
    models = list(check_models({"the model": values, "the top": tops}).values())
    value, highest = (model.mean() - chance for model in models)
    values_drawn, tops_drawn = resample_models(models, settings.n_bootstrap, settings.seed) - chance
    if highest <= 0 or tops_drawn.min() <= 0:
        return None
    return GapShare(float(value / highest), *settings.interval(values_drawn / tops_drawn))


def build_ladder(
    values: Mapping[str, npt.ArrayLike],
    chance: float,
    ceiling: npt.ArrayLike | None = None,
    resampling: Resampling | None = None,
) -> list[Rung]:
    """Return each model's position between chance, ceiling and reference.

    Parameters
    ----------
    values : mapping of str to array_like, shape (n_queries,) or (n_seeds, n_queries), float
        Overlaps of each model, from 0 to 1.
    chance : float
        Below 1.
    ceiling : array_like, shape (n_queries,) or (n_pairs, n_queries), float, optional
        Overlaps between fits, for the same queries.
    resampling : Resampling, optional

    Returns
    -------
    list of Rung
        From the lowest mean to the highest; ties in the given order.

    Raises
    ------
    DataError
        Values are not finite, or of different queries.
    ConfigError
        `chance` is not a number below 1.
    """
    if _check_chance(chance) >= REFERENCE:
        raise ConfigError(f"chance leaves no gap: expected a number below {REFERENCE}. Received: {chance!r}.")
    settings = resampling or Resampling()
    rungs = [_rung(name, model, chance, ceiling, settings) for name, model in check_models(values).items()]
    return sorted(rungs, key=lambda rung: rung.value)


def decide_verdict(
    p_value: float, to_ceiling: GapShare | None, *, flagged: bool = False, alpha: float = 0.05
) -> Verdict:
    """Return the verdict about a model.

    Parameters
    ----------
    p_value : float
        Of the null hypothesis that it is no better than chance, corrected for the number of models.
    to_ceiling : GapShare or None
        Closed share of the gap to the ceiling, with its interval; None if there is no such gap.
    flagged : bool
        Whether too many of its lists are tied; overrides everything else.
    alpha : float
        Significance level.

    Returns
    -------
    Verdict

    Raises
    ------
    ConfigError
        `p_value` or `alpha` is not from 0 to 1.
    """
    for name, number in (("p_value", p_value), ("alpha", alpha)):
        if not 0 <= number <= 1:
            raise ConfigError(f"{name} is out of range: expected a number from 0 to 1. Received: {number!r}.")
    if flagged:
        return Verdict.TIED
    if p_value > alpha:
        return Verdict.CHANCE
    if to_ceiling is None:
        return Verdict.ABOVE_CHANCE
    if to_ceiling.high < 1:
        return Verdict.BELOW_CEILING
    return Verdict.ABOVE_CEILING if to_ceiling.low > 1 else Verdict.AT_CEILING


def _rung(
    name: str, model: Float64Array, chance: float, ceiling: npt.ArrayLike | None, settings: Resampling
) -> Rung:
    value = float(model.mean())
    low, high = settings.interval(resample_models([model], settings.n_bootstrap, settings.seed)[0])
    to_ceiling = None if ceiling is None else gap_closed(model, chance, ceiling, settings)
    to_reference = GapShare(*((number - chance) / (REFERENCE - chance) for number in (value, low, high)))
    return Rung(name, value, low, high, to_ceiling, to_reference)


def _check_chance(chance: float) -> float:
    if not np.isfinite(chance):
        raise ConfigError(f"chance is out of range: expected a finite number. Received: {chance!r}.")
    return float(chance)
