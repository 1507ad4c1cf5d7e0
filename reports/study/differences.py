"""Differences between each trial and the best one, with paired bootstrap intervals over validation queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import CsKerasError, DataError
from reports.study.reading import read_queries
from reports.study.records import Study

Float64Array = npt.NDArray[np.float64]

N_RESAMPLES = 2_000
LEVEL = 0.95
BLOCK_ENTRIES = 2**23  # counts in memory at a time: 64 MB
MIN_QUERIES = 2  # queries that two trials must share for an interval


@dataclass(frozen=True)
class Difference:
    """Mean objective of a trial minus that of the best, over shared queries, with its interval."""

    mean: float
    low: float
    high: float
    n_queries: int

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0."""
        return not self.low <= 0 <= self.high


def compare_trials(study: Study) -> tuple[dict[str, Difference], tuple[str, ...]]:
    """Compare each completed trial with the best, query by query; return why other trials are missing, too."""
    queries: dict[str, Float64Array] = {}
    left_out = []
    for trial in study.ranked:
        try:
            values = read_queries(study.folder, trial)
            n_expected = len(next(iter(queries.values()), values))
            if len(values) != n_expected:
                raise DataError(
                    f"Cannot compare trial {trial.trial}: expected {n_expected} queries, as in the best trial. "
                    f"Received: {len(values)}."
                )
            queries[trial.trial] = values
        except CsKerasError as error:
            left_out.append(str(error))
    if not study.ranked or study.ranked[0].trial not in queries:  # nothing to compare with
        return {}, tuple(left_out)
    found = paired_differences(list(queries.values()), study.settings.seed)
    return {name: one for name, one in zip(queries, found, strict=True) if one}, tuple(left_out)


def paired_differences(
    per_query: Sequence[Float64Array], seed: int = 0, n_resamples: int = N_RESAMPLES
) -> list[Difference | None]:
    """Return each trial's mean difference to the first, with a paired percentile bootstrap interval.

    Arrays are float64 of shape (n_queries,) over the same queries, NaN where the objective is not defined; pairs
    exclude those queries, and give None if fewer than `MIN_QUERIES` remain. All pairs share the resamples.
    """
    differences = np.stack([values - per_query[0] for values in per_query], axis=1)
    defined = np.isfinite(differences)
    differences[~defined] = 0.0
    n_shared = defined.sum(axis=0)
    enough = n_shared >= MIN_QUERIES
    means = differences.sum(axis=0) / np.maximum(n_shared, 1)
    resampled = _resample(differences[:, enough], defined[:, enough], n_resamples, seed)
    bounds = np.full((2, len(per_query)), np.nan)
    bounds[:, enough] = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [
        Difference(float(mean), float(low), float(high), int(n)) if n >= MIN_QUERIES else None
        for mean, low, high, n in zip(means, *bounds, n_shared, strict=True)
    ]


def _resample(
    differences: Float64Array, defined: npt.NDArray[np.bool_], n_resamples: int, seed: int
) -> Float64Array:
    """Return the mean differences of each resample, shape (n_resamples, n_trials); NaN where none is defined."""
    n_queries, n_trials = differences.shape
    random = np.random.default_rng(seed)
    means = np.empty((n_resamples, n_trials))
    n_rows = max(1, BLOCK_ENTRIES // n_queries)
    for start in range(0, n_resamples, n_rows):
        block = means[start : start + n_rows]
        drawn = (random.integers(n_queries, size=n_queries) for _ in block)
        counts = np.stack([np.bincount(rows, minlength=n_queries) for rows in drawn]).astype(np.float64)
        n_drawn = counts @ defined.astype(np.float64)
        block[:] = np.where(n_drawn > 0, counts @ differences / np.maximum(n_drawn, 1), np.nan)
    return means
