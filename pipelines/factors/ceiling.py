"""The ceiling: agreement on test tracks between fits of the same interactions."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.evaluation.agreement import measure_agreement
from cs_keras.evaluation.fits import Fit
from cs_keras.evaluation.overlap import KS, MAX_QUERIES
from cs_keras.factors.repeats import fit_halves, refit_with_next_seed
from cs_keras.factors.wmf import Protocol, WmfConfig, WmfFit

Agreements = dict[str, list[dict[str, Any]]]
REPORTED = ("k", "overlap", "low", "high", "n_candidates")  # of an Agreement, as JSON


@dataclasses.dataclass(frozen=True, eq=False)
class Ceiling:
    """A refit, and the agreement of fits.

    Attributes
    ----------
    second
        Fit with another seed, under the same protocol.
    agreement
        JSON values: by ``second_seed``, and ``halves`` if both could be fitted, and by ``similarity`` (cosine) or
        ``dot``, a row for each list length.
    """

    second: WmfFit
    agreement: dict[str, Agreements]


def measure_ceiling(
    user_items: scipy.sparse.csr_matrix,
    is_train: npt.NDArray[np.bool_],
    is_test: npt.NDArray[np.bool_],
    fit: WmfFit,
    config: WmfConfig,
    protocol: Protocol,
) -> Ceiling:
    """Fit again with another seed and on halves of the playlists, and compare the test tracks' lists.

    It takes about two and a half times as long as the first fit.

    Parameters
    ----------
    user_items : csr_matrix, shape (n_playlists, n_tracks)
        Interactions that `fit` was fitted on.
    is_train, is_test : ndarray of bool, shape (n_tracks,)
        Splits; test tracks without interactions are left out.
    fit, config, protocol
        The first fit and its settings.

    Returns
    -------
    Ceiling
        Without agreement if fewer than two test tracks have interactions.

    Raises
    ------
    DataError
        The refit fails.
    """
    second = refit_with_next_seed(user_items, is_train, config, protocol)
    test = is_test & fit.has_factors
    if np.count_nonzero(test) < 2:
        return Ceiling(second, {})
    agreement = {"second_seed": measure_both_agreements([_select(fit, test), _select(second, test)])}
    with contextlib.suppress(DataError):  # too few interactions to halve: report the second seed alone
        halves = fit_halves(user_items, is_train, config, protocol)
        agreement["halves"] = measure_both_agreements([_select(half, test) for half in halves])
    return Ceiling(second, agreement)


def _select(fit: WmfFit, test: npt.NDArray[np.bool_]) -> Fit:
    return Fit(fit.item_factors[test], fit.playlist_factors)


def measure_both_agreements(fits: Sequence[Fit]) -> Agreements:
    """Return agreement by similarity and by dot product, of at most `MAX_QUERIES` tracks or playlists each."""
    return {
        "similarity": _rows(fits, "cosine", len(fits[0].item_factors)),
        "dot": _rows(fits, "dot", len(fits[0].playlist_factors)),  # type: ignore[arg-type]
    }


def _rows(fits: Sequence[Fit], metric: Any, n_queries: int) -> list[dict[str, Any]]:
    queries = np.arange(n_queries)
    if n_queries > MAX_QUERIES:
        queries = np.sort(np.random.default_rng(0).choice(queries, MAX_QUERIES, replace=False))
    measured = measure_agreement(fits, KS, metric, queries)
    return [
        {name: getattr(row, name) for name in REPORTED} | {"n_queries": len(row.queries)} for row in measured
    ]
