"""Overlaps as points of pictures and of the summary: a number with its interval, of a model or a yardstick."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cs_keras.evaluation.overlap import OverlapAtK
from reports.runs.collect import Group, Run
from reports.runs.labels import name_predictor
from reports.tables.notes import Kind

CEILING = "second-fit"  # what evaluation.json calls it


@dataclass(frozen=True)
class Point:
    """The overlap of one predictor at one list length, a share from 0 to 1.

    Attributes
    ----------
    low, high : float
        Bootstrap interval or, of several seeds, one standard deviation on either side.
    chance : float
    p : float or None
        The largest over seeds.
    tied : bool
        Whether the lists of any seed hang on ties.
    is_model, is_ceiling : bool
        Whether it heard the sound, and whether it is a second fit of the listening.
    """

    name: str
    k: int
    value: float
    low: float
    high: float
    chance: float
    p: float | None
    tied: bool
    is_model: bool = False
    is_ceiling: bool = False


def model_points(group: Group, kind: Kind, k: int) -> list[Point]:
    """Return the models that have an overlap at `k`, the best first."""
    points = (_point(run.label, _at(run, kind, k)) for run in group.runs)
    models = [replace(point, is_model=True) for point in points if point]
    return sorted(models, key=lambda point: -point.value)


def reference_points(group: Group, kind: Kind, k: int) -> list[Point]:
    """Return the predictors that know nothing of sound, the ceiling among them if it was measured."""
    points = []
    for name, overlaps in group.first.references.items():
        measured = [one for one in overlaps.get(kind, ()) if one.k == k]
        point = _point(name_predictor(name), measured)
        if point:
            points.append(replace(point, is_ceiling=name == CEILING))
    return points


def ceiling_point(group: Group, kind: Kind, k: int) -> Point | None:
    """Return what a second fit of the same listening reaches; None if there is none."""
    return next((point for point in reference_points(group, kind, k) if point.is_ceiling), None)


def _at(run: Run, kind: Kind, k: int) -> list[OverlapAtK]:
    """Return the overlap of each seed; none at all if one lacks it."""
    own = [one for evaluation in run.evaluations for one in evaluation.overlap.get(kind, ()) if one.k == k]
    return own if len(own) == len(run.evaluations) else []


def _point(name: str, seeds: Sequence[OverlapAtK]) -> Point | None:
    shares = [one.overlap for one in seeds if one.overlap is not None]
    if not shares or len(shares) < len(seeds):
        return None
    first, value = seeds[0], statistics.fmean(shares)
    if first.chance is None or first.low is None or first.high is None:
        return None
    low, high = first.low, first.high
    if len(shares) > 1:
        spread = statistics.stdev(shares)
        low, high = value - spread, value + spread
    p_values = [one.p_value for one in seeds if one.p_value is not None]
    p = max(p_values) if len(p_values) == len(seeds) else None
    tied = any(one.flagged for one in seeds)
    return Point(name, first.k, value, low, high, first.chance, p, tied)
