"""How far each trial lies from the best one, and whether the validation tracks can tell the two apart."""

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
BLOCK_ENTRIES = 2**23  # counts held at a time: 64 MB
MIN_QUERIES = 2  # that two trials share, for an interval of their difference


@dataclass(frozen=True)
class Difference:
    """Mean of a trial's objective less that of the best, over the queries that both have, and its interval."""

    mean: float
    low: float
    high: float
    n_queries: int

    @property
    def matters(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Differences:
    """Differences by trial, without those of trials `left_out` for a reason."""

    by_trial: dict[str, Difference]
    left_out: tuple[str, ...] = ()


def compare_trials(study: Study) -> Differences:
    """Compare each completed trial with the best, over the validation tracks or playlists of both."""
    queries: dict[str, Float64Array] = {}
    left_out = []
    for trial in study.ranked:
        try:
            values = read_queries(study.folder, trial)
            n_expected = len(next(iter(queries.values()), values))
            if len(values) != n_expected:
                raise DataError(
                    f"Trial {trial.trial} cannot be compared: expected {n_expected} queries, as of the best. "
                    f"Received: {len(values)}."
                )
            queries[trial.trial] = values
        except CsKerasError as error:
            left_out.append(str(error))
    if not study.ranked or study.ranked[0].trial not in queries:  # nothing to compare with
        return Differences({}, tuple(left_out))
    found = paired_differences(list(queries.values()), study.settings.seed)
    known = {name: one for name, one in zip(queries, found, strict=True) if one}
    return Differences(known, tuple(left_out))


def paired_differences(
    per_query: Sequence[Float64Array], seed: int = 0, n_resamples: int = N_RESAMPLES
) -> list[Difference | None]:
    """Return the mean difference of each trial to the first, with its paired percentile bootstrap interval.

    Parameters
    ----------
    per_query
        An array for each trial, shape (n_queries,), float64: rows are the same queries in all. NaN where the
        objective is not defined; a pair leaves such a row out.
    seed
        Of the resamples, which all pairs share.
    n_resamples
        Samples of n_queries, drawn with replacement.

    Returns
    -------
    list of Difference or None
        None where fewer than two queries are defined for both.
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
    """Return the mean differences of each resample, shape (n_resamples, n_trials); NaN where none was drawn."""
    n_queries, n_trials = differences.shape
    random = np.random.default_rng(seed)
    means = np.empty((n_resamples, n_trials))
    n_rows = max(1, BLOCK_ENTRIES // n_queries)
    for start in range(0, n_resamples, n_rows):
        block = means[start : start + n_rows]
        drawn = np.stack([_draw(random, n_queries) for _ in block])
        n_drawn = drawn @ defined.astype(np.float64)
        block[:] = np.where(n_drawn > 0, drawn @ differences / np.maximum(n_drawn, 1), np.nan)
    return means


def _draw(random: np.random.Generator, n_queries: int) -> Float64Array:
    """Return how often each query is drawn."""
    return np.bincount(random.integers(n_queries, size=n_queries), minlength=n_queries).astype(np.float64)
