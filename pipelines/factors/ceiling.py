"""The ceiling: agreement on test tracks between fits of the same interactions."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.fits.agreement import measure_agreement
from cs_keras.evaluation.fits.alignment import Fit
from cs_keras.evaluation.overlap import KS, MAX_QUERIES
from cs_keras.factors.repeats import fit_halves, refit_with_next_seed
from cs_keras.factors.wmf import Counts, Protocol, WmfConfig, WmfFit

Agreements = dict[str, list[dict[str, Any]]]
REPORTED = ("k", "overlap", "low", "high", "n_candidates")  # of an Agreement, as JSON


def measure_ceiling(
    user_items: Counts,
    is_train: npt.NDArray[np.bool_],
    is_test: npt.NDArray[np.bool_],
    fit: WmfFit,
    config: WmfConfig,
    protocol: Protocol,
    n_playlists: int | None = None,
) -> tuple[WmfFit, tuple[WmfFit, ...], dict[str, Agreements]]:
    """Fit again with another seed and on halves of the playlists, and compare the test tracks' lists.

    It takes about two and a half times as long as the first fit. `user_items`, of shape
    (n_playlists, n_tracks), is what `fit` was fitted on with `config` under `protocol`. Lists by dot product are of
    the first `n_playlists`, by default of all. DataError is raised when the refit fails.

    Returns
    -------
    second
        Fit with another seed, under the same protocol.
    halves
        Fits of two random halves of the playlists; none if they could not be fitted.
    agreement
        JSON values: by ``second_seed``, and ``halves`` if both could be fitted, and by ``similarity`` (cosine) or
        ``dot``, a row for each list length. Empty if fewer than two test tracks have interactions.
    """
    second = refit_with_next_seed(user_items, is_train, config, protocol)
    test = is_test & fit.has_factors
    if np.count_nonzero(test) < 2:
        return second, (), {}
    agreement = {"second_seed": measure_test_agreement([fit, second], test, n_playlists)}
    halves: tuple[WmfFit, ...] = ()
    with contextlib.suppress(DataError):  # too few interactions to halve: report the second seed alone
        halves = fit_halves(user_items, is_train, config, protocol)
        agreement["halves"] = measure_test_agreement(halves, test, n_playlists)
    return second, halves, agreement


def measure_test_agreement(
    fits: Sequence[WmfFit], test: npt.NDArray[np.bool_], n_playlists: int | None = None
) -> Agreements:
    """Return agreement by similarity and by dot product, of at most `MAX_QUERIES` tracks or playlists each."""
    of_test = [Fit(fit.item_factors[test], fit.playlist_factors[:n_playlists]) for fit in fits]
    metrics: dict[str, tuple[Any, int]] = {
        "similarity": ("cosine", len(of_test[0].item_factors)),
        "dot": ("dot", len(fits[0].playlist_factors[:n_playlists])),
    }
    agreements = {}
    for kind, (metric, n_queries) in metrics.items():
        queries = np.arange(n_queries)
        if n_queries > MAX_QUERIES:
            queries = np.sort(np.random.default_rng(0).choice(queries, MAX_QUERIES, replace=False))
        agreements[kind] = [
            {name: getattr(row, name) for name in REPORTED} | {"n_queries": len(row.queries)}
            for row in measure_agreement(of_test, KS, metric, queries)
        ]
    return agreements
