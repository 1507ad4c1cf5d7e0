"""Where scores and parameters lie on the axes of plots."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from reports.formats.plot_style import plain
from reports.study.importance import clip_outliers
from reports.study.records import Parameter, Study, Trial, score_of

MARGIN = 0.05  # of the range of scores, left free above and below
INACTIVE = "inactive"
INACTIVE_PLACE = -0.15
N_TICKS = 4  # of a number, about
MAX_SHIFT = 0.04
MAX_SHIFT_SHARE = 0.25  # of the distance between the nearest two values


@dataclass(frozen=True)
class ScoreScale:
    """The range of scores that a plot shows: those far worse than the others are drawn at its edge.

    Attributes
    ----------
    sign : int
        1 where a higher score is better, else −1.
    """

    label: str
    low: float
    high: float
    sign: int

    @property
    def beyond(self) -> float:
        """Where failed trials are marked: beyond the worst score."""
        worst = self.low if self.sign > 0 else self.high
        return worst - self.sign * 2 * MARGIN * (self.high - self.low)

    def clip(self, score: float) -> float:
        """Return where to draw a score."""
        return min(max(score, self.low), self.high)

    def share(self, score: float) -> float:
        """Return how far up the range a score lies, 0 to 1."""
        return (self.clip(score) - self.low) / (self.high - self.low)

    def fit(self, axes: Axes) -> None:
        """Set the limits of the vertical axis."""
        margin = MARGIN * (self.high - self.low)
        ends = (self.low, self.high, self.beyond)
        axes.set_ylim(min(ends) - margin, max(ends) + margin)


@dataclass(frozen=True)
class ParameterScale:
    """Places of a parameter's values from 0 to 1, and below 0 where it is not active."""

    parameter: Parameter
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()

    def places(self, trials: Sequence[Trial]) -> list[float]:
        """Return where trials lie, those of few values moved a little so that they are seen apart."""
        places = [self.place(trial.parameters.get(self.parameter.name)) for trial in trials]
        gaps = np.diff(sorted(set(places)))
        shift = min(MAX_SHIFT, MAX_SHIFT_SHARE * float(min(gaps))) if len(gaps) else MAX_SHIFT
        shifts = np.random.default_rng(0).uniform(-shift, shift, len(trials))  # the same each time
        return [float(place) for place in np.add(places, shifts)]

    def place(self, value: Any) -> float:
        """Return where a value lies; None is that of trials in which the parameter is not active."""
        if value is None:
            return INACTIVE_PLACE
        number = _number(self.parameter, value)
        return (number - self.low) / (self.high - self.low) if self.high > self.low else 0.5


def score_scale(study: Study) -> ScoreScale:
    """Return the scale of the scores of a study with a completed trial."""
    scores = np.array([score_of(trial) for trial in study.ranked], dtype=np.float64)
    shown = study.sign * clip_outliers(study.sign * scores)
    n_clipped = int(np.count_nonzero(shown != scores))
    edge = f"; {n_clipped} far worse at the edge" if n_clipped else ""
    label = f"{plain(study.settings.objective)} ({'higher' if study.sign > 0 else 'lower'} is better{edge})"
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return ScoreScale(label, low, high, study.sign)


def parameter_scale(parameter: Parameter, study: Study) -> ParameterScale:
    """Return the scale of a parameter over the values that the trials of a study have."""
    values = [trial.parameters.get(parameter.name) for trial in study.trials]
    known = [value for value in values if value is not None]
    numbers = [_number(parameter, value) for value in known]
    low, high = min(numbers), max(numbers)
    bare = ParameterScale(parameter, low, high)
    ticks = {bare.place(value): _label(value) for value in _tick_values(parameter, known)}
    if len(known) < len(values):
        ticks[INACTIVE_PLACE] = INACTIVE
    return ParameterScale(parameter, low, high, tuple(sorted(ticks.items())))


def _number(parameter: Parameter, value: Any) -> float:
    if parameter.levels:
        return float(parameter.levels.index(value))
    return float(np.log10(value)) if parameter.log else float(value)


def _tick_values(parameter: Parameter, known: Iterable[Any]) -> list[Any]:
    """Return the values to name on an axis: all levels, few whole numbers, or round numbers among others."""
    distinct = sorted(set(known)) if not parameter.levels else list(set(known))
    if parameter.levels or len(distinct) <= N_TICKS:
        return distinct
    low, high = distinct[0], distinct[-1]
    locator = LogLocator(numticks=N_TICKS + 1) if parameter.log else MaxNLocator(N_TICKS, steps=[1, 2, 5, 10])
    inside = [float(value) for value in locator.tick_values(low, high) if low <= value <= high]
    return inside if len(inside) > 1 else [low, high]


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else plain(str(value))


def title(study: Study, what: str) -> str:
    """Return the title of a plot."""
    return plain(f"{what}: {study.settings.model} on {study.settings.dataset}")
