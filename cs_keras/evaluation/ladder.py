"""The gap ladder: position of each model between chance and ceiling, and its verdict.

The share of a gap closed is (value - chance) / (top - chance): 0 at chance, 1 at the top, which is the ceiling
(the overlap of a refit, see `agreement`) or the reference itself, whose overlap is 1. Value and top are means
over the same queries, so their interval is that of the whole ratio, linearised: of value less share times top.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import cast

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
from cs_keras.evaluation.statistics.jackknife import QuerySums, estimate, sum_models
from cs_keras.run_files.evaluation import GapShare, Rung

REFERENCE = 1.0


class Verdict(StrEnum):
    """Verdict on one model."""

    TIED = "tied lists"
    TOO_FEW_PERMUTATIONS = "too few permutations to say"
    CHANCE = "not significantly above chance"
    ARTISTS_ONLY = "recognises artists, nothing beyond"
    ABOVE_CHANCE = "above chance"
    BELOW_CEILING = "above chance, below the ceiling"
    AT_CEILING = "not significantly different from the ceiling"
    ABOVE_CEILING = "above the ceiling: check for leakage"


def gap_closed(
    values: npt.ArrayLike | QuerySums, chance: float, top: npt.ArrayLike | QuerySums, level: float = 0.95
) -> GapShare | None:
    """Return the share of the gap from chance to the top that a model closes.

    Parameters
    ----------
    values : QuerySums, or array_like, shape (n_queries,) or (n_seeds, n_queries), float
        Values of the model; larger is better. Queries of an array are independent.
    chance : float
        Expected mean of random lists.
    top : float; or as `values`, shape (n_queries,) or (n_pairs, n_queries)
        A number without error, 1 for the reference; or the ceiling of the same queries.
    level : float
        Of the interval.

    Returns
    -------
    GapShare or None
        None if there is no clear gap: the interval of the top includes chance.

    Raises
    ------
    DataError
        Values are not finite, or of other queries than the top.
    ConfigError
        `chance` is not a finite number.
    """
    chance = _check_chance(chance)
    if not isinstance(top, QuerySums) and np.ndim(top) == 0:
        found, gap = (
            estimate(sum_models({"the model": values})["the model"]),
            float(cast(float, top)) - chance,
        )
        if gap <= 0:
            return None
        low, high = found.interval(level)
        return GapShare((found.mean - chance) / gap, (low - chance) / gap, (high - chance) / gap)
    model, highest = sum_models({"the model": values, "the top": top}).values()
    ceiling = estimate(highest)
    if ceiling.interval(level)[0] <= chance:
        return None
    gap = ceiling.mean - chance
    share = (float(model.seed_means.mean()) - chance) / gap
    low, high = estimate(model, highest, share).interval(level)
    rest = chance * (1 - share)  # which value less share times top is estimated to be
    return GapShare(share, share + (low - rest) / gap, share + (high - rest) / gap)


def build_ladder(
    values: Mapping[str, npt.ArrayLike | QuerySums],
    chance: float,
    ceiling: npt.ArrayLike | QuerySums | None = None,
    level: float = 0.95,
    best_from_sound: npt.ArrayLike | QuerySums | None = None,
) -> list[Rung]:
    """Return each model's position between chance, ceiling and reference.

    Parameters
    ----------
    values : mapping of str to QuerySums, or to array_like, shape (n_queries,) or (n_seeds, n_queries), float
        Overlaps of each model, from 0 to 1.
    chance : float
        Below 1.
    ceiling : QuerySums, or array_like, shape (n_queries,) or (n_pairs, n_queries), float, optional
        Overlaps between fits, for the same queries.
    level : float
        Of the intervals.
    best_from_sound : QuerySums, or array_like, shape (n_queries,), float, optional
        Overlaps of the regression from true style (demo data), where it is known.

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
        raise ConfigError(
            f"chance is out of range: expected a number below {REFERENCE}. Received: {chance!r}."
        )
    rungs = [
        _rung(name, model, chance, ceiling, best_from_sound, level)
        for name, model in sum_models(values).items()
    ]
    return sorted(rungs, key=lambda rung: rung.value)


def decide_verdict(
    p_value: float,
    to_ceiling: GapShare | None,
    *,
    p_beyond_artist: float | None = None,
    least_p_values: tuple[float, float] = (0.0, 0.0),
    flagged: bool = False,
    alpha: float = 0.05,
) -> Verdict:
    """Return the verdict on a model.

    Where artists are known, `p_value` is for unfiltered lists, the other arguments for artist-filtered ones. If
    no p-value could have been below `alpha`, the verdict is that there were too few permutations.

    Parameters
    ----------
    p_value : float
        Of the null hypothesis that predictions hold no information, corrected for the number of models.
    to_ceiling : GapShare or None
        Closed share of the gap to the ceiling, with its interval; None if there is no such gap.
    p_beyond_artist : float, optional
        Of the null hypothesis that they hold none beyond the artists; None where artists are not known.
    least_p_values : tuple of float
        The smallest that `p_value` and `p_beyond_artist` could have been, given the numbers of permutations and of
        distinct arrangements.
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
        A p-value or `alpha` is not from 0 to 1.
    """
    beyond = 0.0 if p_beyond_artist is None else p_beyond_artist
    for name, number in (("p_value", p_value), ("p_beyond_artist", beyond), ("alpha", alpha)):
        if not 0 <= number <= 1:
            raise ConfigError(f"{name} is out of range: expected a number from 0 to 1. Received: {number!r}.")
    if flagged:
        return Verdict.TIED
    if (p_value if p_beyond_artist is None else p_beyond_artist) > alpha:
        is_informed = bool(p_value <= alpha)  # by artists, since not beyond
        if least_p_values[is_informed] > alpha:
            return Verdict.TOO_FEW_PERMUTATIONS
        return Verdict.ARTISTS_ONLY if is_informed else Verdict.CHANCE
    if to_ceiling is None:
        return Verdict.ABOVE_CHANCE
    if to_ceiling.high < 1:
        return Verdict.BELOW_CEILING
    return Verdict.ABOVE_CEILING if to_ceiling.low > 1 else Verdict.AT_CEILING


def _rung(
    name: str,
    model: QuerySums,
    chance: float,
    ceiling: npt.ArrayLike | QuerySums | None,
    best_from_sound: npt.ArrayLike | QuerySums | None,
    level: float,
) -> Rung:
    found = estimate(model)
    low, high = np.clip(found.interval(level), 0, 1).tolist()
    to_ceiling, to_best = (
        None if top is None else gap_closed(model, chance, top, level) for top in (ceiling, best_from_sound)
    )
    to_reference = GapShare(*((number - chance) / (REFERENCE - chance) for number in (found.mean, low, high)))
    return Rung(name, found.mean, low, high, to_ceiling, to_reference, to_best)


def _check_chance(chance: float) -> float:
    if not np.isfinite(chance):
        raise ConfigError(f"chance is out of range: expected a finite number. Received: {chance!r}.")
    return float(chance)
