"""Axes of the plots of a study: scores, and parameter values mapped to the interval from 0 to 1."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from cs_keras.messages import count
from cs_keras.run_files.study import TrialRecord
from reports.formats.plot_style import plain
from reports.study.importance import clip_outliers
from reports.study.records import Parameter, Study, score_of

MARGIN = 0.05  # share of the range of scores that is free above and below
INACTIVE = "inactive"
INACTIVE_POSITION = -0.15
N_TICKS = 4  # approximate number of ticks of a number
LEAST_GAP = 0.15  # between ticks of numbers, whose labels would overlap
MAX_SHIFT = 0.04
MAX_SHIFT_SHARE = 0.25  # share of the smallest distance between two values


@dataclass(frozen=True)
class ScoreScale:
    """The range of scores on an axis; outliers are drawn at its edge, failed trials beyond it."""

    label: str
    low: float
    high: float
    sign: int  # 1 where a higher score is better, else −1

    @property
    def beyond(self) -> float:
        """Position of failed trials, beyond the worst score."""
        worst = self.low if self.sign > 0 else self.high
        return worst - self.sign * 2 * MARGIN * (self.high - self.low)

    def clip(self, score: float) -> float:
        """Return the position of a score."""
        return min(max(score, self.low), self.high)

    def share(self, score: float) -> float:
        """Return the position of a score relative to the range, from 0 to 1."""
        return (self.clip(score) - self.low) / (self.high - self.low)

    def fit(self, axes: Axes) -> None:
        """Set the limits of the vertical axis."""
        margin = MARGIN * (self.high - self.low)
        ends = (self.low, self.high, self.beyond)
        axes.set_ylim(min(ends) - margin, max(ends) + margin)


@dataclass(frozen=True)
class ParameterScale:
    """Positions of a parameter's values from 0 to 1, and below 0 for trials where it is inactive."""

    parameter: Parameter
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()

    def jitter(self, trials: Sequence[TrialRecord]) -> list[float]:
        """Return the positions of trials, shifted a little so that equal values do not overlap."""
        positions = [self.position(trial.parameters.get(self.parameter.name)) for trial in trials]
        gaps = np.diff(sorted(set(positions)))
        shift = min(MAX_SHIFT, MAX_SHIFT_SHARE * float(min(gaps))) if len(gaps) else MAX_SHIFT
        shifts = np.random.default_rng(0).uniform(-shift, shift, len(trials))  # the same each time
        return [float(position) for position in np.add(positions, shifts)]

    def position(self, value: Any) -> float:
        """Return the position of a value; None for an inactive parameter."""
        if value is None:
            return INACTIVE_POSITION
        number = _number(self.parameter, value)
        return (number - self.low) / (self.high - self.low) if self.high > self.low else 0.5


def score_scale(study: Study) -> ScoreScale:
    """Return the scale of the scores of a study with a completed trial."""
    scores = np.array([score_of(trial) for trial in study.ranked], dtype=np.float64)
    shown = study.sign * clip_outliers(study.sign * scores)
    n_clipped = int(np.count_nonzero(shown != scores))
    edge = f"; {count(n_clipped, 'outlier')} at the edge" if n_clipped else ""
    label = f"{plain(study.settings.objective)} ({'higher' if study.sign > 0 else 'lower'} is better{edge})"
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return ScoreScale(label, low, high, study.sign)


def parameter_scale(parameter: Parameter, study: Study) -> ParameterScale:
    """Return the scale of a parameter over the values in the trials of a study."""
    values = [trial.parameters.get(parameter.name) for trial in study.trials]
    known = [value for value in values if value is not None]
    numbers = [_number(parameter, value) for value in known]
    low, high = min(numbers), max(numbers)
    bare = ParameterScale(parameter, low, high)
    ticks = {bare.position(value): _label(value) for value in _tick_values(parameter, known)}
    for position in sorted(ticks)[1:] if not parameter.levels else ():
        if position - max(other for other in ticks if other < position) < LEAST_GAP:
            del ticks[position]
    if len(known) < len(values):
        ticks[INACTIVE_POSITION] = INACTIVE
    return ParameterScale(parameter, low, high, tuple(sorted(ticks.items())))


def _number(parameter: Parameter, value: Any) -> float:
    if parameter.levels:
        return float(parameter.levels.index(value))
    return float(np.log10(value)) if parameter.log else float(value)


def _tick_values(parameter: Parameter, known: Iterable[Any]) -> list[Any]:
    """Return the values with a tick: all levels, a few whole numbers, or round numbers in between."""
    if parameter.levels:
        return list(set(known))
    distinct = sorted(set(known))
    if len(distinct) <= N_TICKS:
        return distinct
    low, high = distinct[0], distinct[-1]
    locator = LogLocator(numticks=N_TICKS + 1) if parameter.log else MaxNLocator(N_TICKS, steps=[1, 2, 5, 10])
    inside = [float(value) for value in locator.tick_values(low, high) if low <= value <= high]
    return inside if len(inside) > 1 else [low, high]


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else plain(str(value))
