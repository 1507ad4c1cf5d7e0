"""Numbers as cells: rounded for people; over several seeds the mean and its standard deviation."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from cs_keras.run_files.evaluation import MeanRecord, OverlapAtK
from reports.tables.cells.table import SIGNIFICANT, SIGNIFICANT_P, TIED, Cell

LEAST_MSE = 1e-3  # smaller errors are shown with an exponent, because four decimals are too few
OVERLAP_MARKS = (
    f"{SIGNIFICANT}: significantly above chance (permutation test, p at most {SIGNIFICANT_P}). {TIED}: more than "
    "1 % of lists depend on the order of ties."
)


def mean_cell(values: Sequence[float | None], show: Callable[[float], str]) -> Cell | None:
    """Return the mean of a number over seeds with its standard deviation; None if any seed lacks it."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    if len(known) == 1:
        return Cell(show(known[0]), known[0])
    mean, sd = statistics.fmean(known), statistics.stdev(known)
    return Cell(show(mean), mean, detail=f"± {show(sd)}", sd=sd)


def bare_cell(values: Sequence[float | None], show: Callable[[float], str]) -> Cell | None:
    """Return `mean_cell` with its deviation in CSV only, for tables of many columns."""
    cell = mean_cell(values, show)
    return cell and replace(cell, detail="")


def share_cell(seeds: Sequence[MeanRecord | None]) -> Cell | None:
    """Return a mean from 0 to 1 in percent; interval and deviation are in CSV only."""
    cell = bare_cell([one.mean if one else None for one in seeds], format_share)
    if cell is None or len(seeds) > 1 or seeds[0] is None:
        return cell
    return replace(cell, low=seeds[0].low, high=seeds[0].high)


def interval_cell(
    value: float, low: float, high: float, marks: str = "", p: float | None = None, decimals: int = 1
) -> Cell:
    """Return a share from 0 to 1 in percent with its interval."""
    text, start, end = (format_share(one, decimals) for one in (value, low, high))
    return Cell(text, value, marks, f"[{start}, {end}]", low=low, high=high, p=p)


def overlap_cell(row: OverlapAtK | None) -> Cell | None:
    """Return an overlap with its interval and the marks that `OVERLAP_MARKS` explains; None if not available."""
    if row is None or row.overlap is None or row.low is None or row.high is None or row.chance is None:
        return None
    is_above = row.p_value is not None and row.p_value <= SIGNIFICANT_P and row.overlap > row.chance
    marks = TIED if row.flagged else SIGNIFICANT if is_above else ""
    return interval_cell(row.overlap, row.low, row.high, marks, row.p_value)


def format_share(value: float, decimals: int = 1) -> str:
    """Return a share in percent."""
    return f"{100 * value:z.{decimals}f}"


def count_cell(counts: Sequence[int]) -> Cell:
    """Return a whole number or, if seeds differ, their mean with one decimal."""
    if len(set(counts)) == 1:
        return Cell(f"{counts[0]:,}", counts[0])
    mean = statistics.fmean(counts)
    return Cell(f"{mean:,.1f}", mean, sd=statistics.stdev(counts))


def mse_cell(values: Sequence[float]) -> Cell | None:
    """Return a mean squared error; small values keep their digits."""
    small = min(values) < LEAST_MSE
    return mean_cell(values, lambda value: format_loss(value, LEAST_MSE if small else 0.0))


def seconds_cell(seconds: Sequence[float]) -> Cell:
    """Return a duration as minutes and seconds."""
    mean = statistics.fmean(seconds) if len(seconds) > 1 else seconds[0]
    minutes, rest = divmod(round(mean), 60)
    return Cell(f"{minutes}:{rest:02d}", mean, sd=statistics.stdev(seconds) if len(seconds) > 1 else None)


def format_loss(value: float, least: float = 0.0) -> str:
    """Return four decimals, or an exponent for large values and for those between 0 and `least`."""
    return f"{value:.3e}" if abs(value) >= 1e4 or 0 < abs(value) < least else f"{value:z.4f}"


def format_p(value: float) -> str:
    """Return a p-value with three decimals, or an exponent for values below 0.001."""
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}"
