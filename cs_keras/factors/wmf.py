"""Weighted matrix factorisation of interaction counts (Hu, Koren & Volinsky 2008), fitted by `implicit`.

Playlist u prefers track i or not: p_ui is 1 where the count r_ui is above 0, else 0, held with confidence
c_ui = 1 + α·w(r_ui), w(r) being r, log(1 + r) or 1 (Hu et al. propose a logarithm too). Factors x_u, y_i minimise
Σ_ui c_ui (p_ui − x_u·y_i)² + λ (Σ_u ‖x_u‖² + Σ_i ‖y_i‖²), by turns: given the playlists' X, a track's are
(XᵀC_iX + λI)⁻¹ XᵀC_i p_i (their equation 5), and the other way round (4).

Every half-step is solved exactly (Cholesky), not by implicit's default of three conjugate-gradient steps: only then
is a fitted track's y_i the same function of X as that of a track folded in afterwards.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from threadpoolctl import threadpool_limits

from cs_keras.config import OMIT_IF_DEFAULT, check_choice
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.spark.counts import SparkCounts

FloatArray = npt.NDArray[np.float32]
Protocol = Literal["strict", "thesis"]
Weight = Literal["count", "log", "binary"]
Engine = Literal["implicit", "spark"]
Counts: TypeAlias = scipy.sparse.csr_matrix | SparkCounts
T = TypeVar("T")


@dataclass(frozen=True)
class WmfConfig:
    """Settings of the factorisation, by implicit's names.

    Parameters
    ----------
    factors : int
        Dimensions of the space, at least 1. 200 is the most that Hu et al. tried, and did best with.
    alpha : float
        Confidence gained with a weight of 1, above 0. Hu et al. found 40 to be good; implicit's own default is 1.
    regularization : float
        λ, above 0, so that a track with few interactions has one solution. implicit's default. With the engine
        "spark", that of one interaction; see `cs_keras.factors.spark.counts`.
    iterations : int
        Sweeps over playlists and tracks, at least 1. implicit's default; Hu et al. needed about 10.
    seed : int
        Seed of the initial factors, at least 0.
    weight : {"count", "log", "binary"}
        Weight of a count r above 0, which alpha multiplies: r, log(1 + r) or 1.
    engine : {"implicit", "spark"}
        What fits: implicit, in this process, or Spark. It decides the penalty of new items too.

    Raises
    ------
    ConfigError
        A value is outside its range.
    """

    factors: int = 200
    alpha: float = 40.0
    regularization: float = 0.01
    iterations: int = 15
    seed: int = 0
    weight: Weight = "count"
    engine: Engine = field(default="implicit", metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        for name, least in (("factors", 1), ("iterations", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} must be an integer of at least {least}. Received: {value!r}.")
        for name in ("alpha", "regularization"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a finite number above 0. Received: {value!r}.")
        check_choice("weight", self.weight, get_args(Weight))
        check_choice("engine", self.engine, get_args(Engine))


def read_wmf_config(config: Mapping[str, Any]) -> WmfConfig:
    """Return the settings of the factorisation among those of a factors file, `Factors.config`."""
    return WmfConfig(
        **{field.name: config[field.name] for field in fields(WmfConfig) if field.name in config}
    )


@dataclass(frozen=True, eq=False)
class WmfFit:
    """Factors of all playlists and tracks under one protocol.

    Parameters
    ----------
    item_factors : ndarray of float32, shape (n_tracks, factors)
    playlist_factors : ndarray of float32, shape (n_playlists, factors)
    has_factors : ndarray of bool, shape (n_tracks,)
        False where no playlist with factors holds the track; its row is zero.
    n_unfitted_playlists : int
        Playlists without a track to fit on; their rows are zero.
    """

    item_factors: FloatArray
    playlist_factors: FloatArray
    has_factors: npt.NDArray[np.bool_]
    n_unfitted_playlists: int


def fit_wmf(
    user_items: Counts,
    config: WmfConfig,
    *,
    initial_item_factors: FloatArray | None = None,
    num_threads: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Factorise a matrix of interaction counts.

    The same seed gives the same bits for any number of threads.

    Parameters
    ----------
    user_items : csr_matrix or SparkCounts, shape (n_playlists, n_tracks)
        Counts, none negative. Spark fits those that it holds.
    config : WmfConfig
    initial_item_factors : ndarray of float32, shape (n_tracks, factors), optional
        By default those of `draw_item_factors`, which are implicit's. Playlists need none: the first half-step
        solves for them. Spark draws its own.
    num_threads : int, default=0
        0 for all cores.

    Returns
    -------
    item_factors : ndarray of float32, shape (n_tracks, factors)
        The exact solution given `playlist_factors`; zero for a track that no playlist holds.
    playlist_factors : ndarray of float32, shape (n_playlists, factors)
        Zero for an empty playlist.

    Raises
    ------
    DataError
        A count is negative or not finite, none is above 0, or the counts are too large to solve.
    """
    if isinstance(user_items, SparkCounts):
        return user_items.fit(config)
    confidence = _confidence(user_items, config)
    if confidence.nnz == 0:
        raise DataError(
            f"expected interactions to fit on; every count in the {confidence.shape} matrix is 0."
        )

    if initial_item_factors is None:
        initial_item_factors = draw_item_factors(confidence.shape, config)

    def solve(model: Any) -> tuple[FloatArray, FloatArray]:
        model.item_factors = initial_item_factors.astype(model.dtype)  # a copy: implicit works in place
        model.fit(confidence, show_progress=False)
        return model.item_factors.astype(np.float32), model.user_factors.astype(np.float32)

    return _solve(solve, config, num_threads)


def draw_item_factors(shape: tuple[int, int], config: WmfConfig) -> FloatArray:
    """Draw the initial item factors that implicit draws for a matrix of `shape` (n_playlists, n_tracks).

    float32, shape (n_tracks, factors). Fits of some of these tracks can start from some of these rows.
    """
    n_playlists, n_tracks = shape
    rng = np.random.default_rng(config.seed)
    rng.random((n_playlists, config.factors), dtype=np.float32)  # implicit draws those of playlists first
    return rng.random((n_tracks, config.factors), dtype=np.float32) * np.float32(0.01)


def fold_in_items(
    user_items: Counts,
    playlist_factors: FloatArray,
    config: WmfConfig,
    *,
    num_threads: int = 0,
) -> FloatArray:
    """Solve for tracks' factors while the playlists' stay fixed (Hu et al. 2008, equation 5).

    Parameters
    ----------
    user_items : csr_matrix or SparkCounts, shape (n_playlists, n_new_tracks)
        Counts, none negative; those of Spark are collected block by block.
    playlist_factors : ndarray of float32, shape (n_playlists, factors)
    config : WmfConfig
        That of the fit. With the engine "spark" the penalty of a track is that of its interactions with playlists
        that have factors.
    num_threads : int, default=0
        0 for all cores.

    Returns
    -------
    ndarray of float32, shape (n_new_tracks, factors)
        Zero for a track that no playlist with factors holds.

    Raises
    ------
    DataError
        A count is negative or not finite, too large to solve, or the shapes do not fit together.
    """
    expected = (user_items.shape[0], config.factors)
    if playlist_factors.shape != expected:
        raise DataError(f"playlist_factors must be of shape {expected}. Received: {playlist_factors.shape}.")
    if isinstance(user_items, SparkCounts):
        blocks = (fold_in_items(one, playlist_factors, config) for one in user_items.column_blocks())
        return np.concatenate(list(blocks))
    if config.engine == "spark":
        return _solve_each(user_items, playlist_factors, config)
    item_users = _confidence(user_items, config).T.tocsr()

    def solve(model: Any) -> FloatArray:
        model.user_factors = np.ascontiguousarray(playlist_factors, dtype=model.dtype)
        item_factors: FloatArray = model.recalculate_item(range(item_users.shape[0]), item_users)
        return item_factors.astype(np.float32)

    return _solve(solve, config, num_threads)


def split_playlist_factors(
    weights: npt.ArrayLike, held: npt.ArrayLike, item_factors: FloatArray, config: WmfConfig
) -> npt.NDArray[np.float64]:
    """Split the factors of a playlist into shares of its tracks (Hu et al. 2008, section 5).

    Parameters
    ----------
    weights : array_like, shape (n_held,), float
        Weights of its tracks, see `weigh_counts`.
    held : array_like, shape (n_held,), int
        Rows of these tracks.
    item_factors : ndarray of float32, shape (n_tracks, factors)
        Factors of all tracks that were fitted.
    config : WmfConfig
        That of the fit.

    Returns
    -------
    ndarray of float64, shape (n_held, factors)
        Their sum is the solution for the playlist while the tracks' factors stay fixed, equation 4.
    """
    items = item_factors.astype(np.float64)
    own, gain = items[np.asarray(held)], config.alpha * np.asarray(weights, np.float64)
    penalty = config.regularization * (len(own) if config.engine == "spark" else 1)
    normal = items.T @ items + (own.T * gain) @ own + penalty * np.eye(items.shape[1])
    return np.asarray(np.linalg.solve(normal, own.T * (1 + gain)).T)


def fold_in_boosted(
    user_items: scipy.sparse.csr_matrix,
    playlist_factors: FloatArray,
    config: WmfConfig,
    predicted: FloatArray,
    half_fill: float,
) -> FloatArray:
    """Fold in tracks whose missing interactions are filled with predicted ones.

    Content-boosted collaborative filtering (Melville, Mooney & Nagarajan 2002) replaces missing ratings by those of
    a content model before it compares users, and trusts the model less where there are many ratings. Here the
    preference 0 of a playlist without the track becomes ``s x·ŷ``, with confidence 1 as before, and
    ``s = h / (h + n)`` for a track in n playlists: the predicted factors ŷ at n = 0, a plain fold-in as n grows.

    Parameters
    ----------
    user_items, playlist_factors, config
        As for `fold_in_items`.
    predicted : ndarray of float32, shape (n_new_tracks, factors)
        Factors predicted from content; those of a track without interactions are returned as they are.
    half_fill : float
        h, above 0: the number of playlists at which half of a predicted preference is filled in.

    Returns
    -------
    ndarray of float32, shape (n_new_tracks, factors)

    Raises
    ------
    DataError
        A count is negative or not finite.
    """
    n_playlists = np.diff(user_items[playlist_factors.any(axis=1)].tocsc().indptr)
    share = (half_fill / (half_fill + n_playlists))[:, np.newaxis]
    return np.where(
        n_playlists[:, np.newaxis] > 0,
        _solve_each(user_items, playlist_factors, config, share * predicted),
        predicted,
    )


def _solve_each(
    user_items: scipy.sparse.csr_matrix,
    playlist_factors: FloatArray,
    config: WmfConfig,
    fill: npt.NDArray[Any] | None = None,
) -> FloatArray:
    """Solve track by track; playlists without one prefer it by their dot product with its row of `fill`.

    Only playlists that have factors count: a fit has no others. Spark's penalty is that of an interaction times
    their number.
    """
    is_known = playlist_factors.any(axis=1)
    weights = weigh_counts(user_items[is_known], config.weight).tocsc()
    x = playlist_factors[is_known].astype(np.float64)
    gram, identity = x.T @ x, np.eye(config.factors)
    item_factors = np.zeros((weights.shape[1], config.factors), np.float32)
    for track, (first, last) in enumerate(zip(weights.indptr, weights.indptr[1:], strict=False)):
        if first < last:
            own, gain = (
                x[weights.indices[first:last]],
                config.alpha * weights.data[first:last].astype(np.float64),
            )
            penalty = config.regularization * (last - first if config.engine == "spark" else 1)
            wanted = (1 + gain) @ own
            if fill is not None:
                wanted += gram @ fill[track] - own.T @ (own @ fill[track])
            normal = gram + (own.T * gain) @ own + penalty * identity
            item_factors[track] = np.linalg.solve(normal, wanted)
    return item_factors


def fit_protocol(
    user_items: Counts,
    is_train: npt.NDArray[np.bool_],
    config: WmfConfig,
    *,
    protocol: Protocol = "strict",
    num_threads: int = 0,
) -> WmfFit:
    """Fit factors for all tracks, with or without the interactions of tracks outside the train folds.

    Parameters
    ----------
    user_items : csr_matrix or SparkCounts, shape (n_playlists, n_tracks)
        Counts, none negative.
    is_train : ndarray of bool, shape (n_tracks,)
        True for the tracks of the train folds.
    config : WmfConfig
    protocol : {"strict", "thesis"}, default="strict"
        "strict" fits on the train tracks alone and folds the others in against the fixed playlist factors, so that
        nothing about a validation or test track reaches another track or a playlist. "thesis" fits on all.
    num_threads : int, default=0
        0 for all cores.

    Returns
    -------
    WmfFit

    Raises
    ------
    ConfigError
        The protocol is unknown.
    DataError
        `is_train` is not one bool a track, no train track has interactions, or the counts cannot be fitted.
    """
    if protocol not in get_args(Protocol):
        raise ConfigError(f"protocol must be one of {', '.join(get_args(Protocol))}. Received: {protocol!r}.")
    n_tracks = user_items.shape[1]
    if is_train.dtype != np.bool_ or is_train.shape != (n_tracks,):
        raise DataError(
            f"is_train must be bool of shape ({n_tracks},). Received: {is_train.dtype} of shape {is_train.shape}."
        )
    is_fitted = is_train if protocol == "strict" else np.ones(n_tracks, dtype=np.bool_)
    item_factors = np.zeros((n_tracks, config.factors), dtype=np.float32)
    item_factors[is_fitted], playlist_factors = fit_wmf(
        user_items[:, is_fitted], config, num_threads=num_threads
    )
    item_factors[~is_fitted] = fold_in_items(
        user_items[:, ~is_fitted], playlist_factors, config, num_threads=num_threads
    )
    return WmfFit(
        item_factors,
        playlist_factors,
        has_factors=item_factors.any(axis=1),
        n_unfitted_playlists=int((~playlist_factors.any(axis=1)).sum()),
    )


def weigh_counts(user_items: scipy.sparse.csr_matrix, weight: Weight) -> scipy.sparse.csr_matrix:
    """Return the weights of counts, csr_matrix of float32 of the same shape; see `WmfConfig`.

    Raises
    ------
    DataError
        A count is negative or not finite.
    """
    weights = scipy.sparse.csr_matrix(user_items, dtype=np.float32, copy=True)
    weights.sum_duplicates()
    weights.eliminate_zeros()
    if not (np.isfinite(weights.data) & (weights.data > 0)).all():
        raise DataError(
            "counts must be finite and at least 0; implicit would take a negative one for dislike."
        )
    if weight == "log":
        weights.data = np.log1p(weights.data)
    elif weight == "binary":
        weights.data = np.ones_like(weights.data)
    return weights


def _confidence(user_items: scipy.sparse.csr_matrix, config: WmfConfig) -> scipy.sparse.csr_matrix:
    """Store c = 1 + αw where r > 0; implicit takes stored values for c, and c = 1 elsewhere."""
    confidence = weigh_counts(user_items, config.weight)
    with np.errstate(over="ignore"):  # an infinite confidence fails in the solver, with a sentence of its own
        confidence.data = 1 + np.float32(config.alpha) * confidence.data
    return confidence


def _solve(work: Callable[[Any], T], config: WmfConfig, num_threads: int) -> T:
    """Call `work` with implicit's model in float32, and in float64 if float32 is too imprecise to solve.

    It is where there are fewer tracks or playlists than factors. BLAS uses one thread, for speed and because its
    sums depend on the number of threads.
    """
    with threadpool_limits(1, "blas"):
        for dtype in (np.float32, np.float64):
            model = AlternatingLeastSquares(
                factors=config.factors,
                regularization=config.regularization,
                iterations=config.iterations,
                use_cg=False,
                num_threads=num_threads,
                random_state=config.seed,
                dtype=dtype,
            )
            try:
                return work(model)
            except (ValueError, ModelFitError) as error:
                failure = error  # a name bound by `except` ends with its block
    raise DataError(
        f"the normal equations cannot be solved ({failure}); "
        "expected smaller counts or alpha, fewer factors, or more regularization."
    ) from failure
