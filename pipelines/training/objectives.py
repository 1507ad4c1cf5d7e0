"""Targets and losses of a regression to factors, by ``training.loss``."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import scipy.sparse

from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.errors import ConfigError
from cs_keras.evaluation.search.topk import top_k_dot, top_k_similar
from cs_keras.factors.interactions import Interactions, align, load_interactions
from cs_keras.factors.store import Factors
from cs_keras.factors.wmf import read_wmf_config, weigh_counts
from cs_keras.models.spec import TrainingConfig
from cs_keras.storage.location import is_file
from cs_keras.training.losses.contrastive import drlim, info_nce
from cs_keras.training.losses.likelihood import negative_log_likelihood
from cs_keras.training.losses.objective import Objective
from cs_keras.training.losses.playlists import bpr, history_info_nce, sampled_softmax
from cs_keras.training.losses.prediction_error import (
    MAX_TRACKS,
    make_track_numbers,
    weighted_prediction_error,
)
from pipelines.training.targets import Matrix, TrainingData, scaled_factors


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingTargets:
    """Targets and loss of a regression.

    Attributes
    ----------
    examples
        Targets in batches, shape (n_tracks, n), float32.
    objective
        Objective to minimise; None for the loss that the settings name, with scaled factors as targets.
    """

    examples: Matrix
    objective: Objective | None = None


def make_training_targets(data: TrainingData, factors: Factors, training: TrainingConfig) -> TrainingTargets:
    """Make the targets for ``training.loss``: scaled factors, followed by those of the extra factors.

    For ``unit_mse``, factors are first brought to one length, the mean of the train tracks; they are scaled like
    other targets, so that predictions are scaled back in the same way.

    Losses of interactions use those of train tracks, and of validation tracks for early stopping.

    Raises
    ------
    ConfigError
        When the loss needs interactions that do not exist or do not match the factors, or labels.
    """
    if training.loss == "binary_crossentropy" and not np.isin(data.targets, (0, 1)).all():
        raise ConfigError(
            f"training.loss = binary_crossentropy needs labels, 0 or 1 (--labels). Received: factors "
            f"{factors.name!r}."
        )
    if training.loss in LOSSES_OF_TRACKS:
        if len(data.targets) > MAX_TRACKS:
            raise ConfigError(
                f"training.loss = {training.loss} takes at most {MAX_TRACKS} tracks. "
                f"Received: {len(data.targets)}."
            )
        loss = LOSSES_OF_TRACKS[training.loss](data, factors, training)
        return TrainingTargets(make_track_numbers(len(data.targets)), Objective(loss))
    if training.n_distributions:
        loss = negative_log_likelihood(data.targets.shape[1], training.n_distributions)
        return TrainingTargets(data.targets, Objective(loss))
    several = [_examples(data, one, training.loss) for one in (factors, *data.extra)]
    return TrainingTargets(np.hstack(several) if data.extra else several[0])


def _make_weighted_prediction_error(
    data: TrainingData, factors: Factors, training: TrainingConfig
) -> keras.losses.Loss:
    if factors.config is None:
        raise ConfigError(
            "training.loss = wpe needs the interactions that factors were fitted on, and factors "
            f"{factors.name!r} are imported: use another loss, or factors made by `cs-keras factors`."
        )
    wmf = read_wmf_config(factors.config)
    user_items = weigh_counts(open_seen_interactions(data, factors, "training.loss = wpe"), wmf.weight)
    return weighted_prediction_error(user_items, factors.playlist_factors, factors.scaler, wmf.alpha)


def _make_info_nce(data: TrainingData, factors: Factors, training: TrainingConfig) -> keras.losses.Loss:
    prior = _log_prior(data, factors, training)
    return info_nce(factors.item_factors, factors.scaler, training.temperature, prior)


def _make_history_info_nce(
    data: TrainingData, factors: Factors, training: TrainingConfig
) -> keras.losses.Loss:
    user_items = open_seen_interactions(data, factors, "training.loss = infonce_histories")
    is_train = np.isin(np.arange(len(data.targets)), data.train)
    return history_info_nce(
        factors.item_factors,
        factors.scaler,
        user_items,
        is_train,
        training.temperature,
        training.popularity_correction,
    )


def _make_bpr(data: TrainingData, factors: Factors, training: TrainingConfig) -> keras.losses.Loss:
    user_items = open_seen_interactions(data, factors, "training.loss = bpr")
    dislikes = _open_dislikes(data, factors, training)
    return bpr(factors.playlist_factors, factors.scaler, user_items, training.temperature, dislikes)


def _make_sampled_softmax(
    data: TrainingData, factors: Factors, training: TrainingConfig
) -> keras.losses.Loss:
    user_items = open_seen_interactions(data, factors, "training.loss = sampled_softmax")
    prior = _log_prior(data, factors, training)
    return sampled_softmax(
        factors.playlist_factors,
        factors.scaler,
        user_items,
        training.temperature,
        prior,
        _open_dislikes(data, factors, training),
    )


def _make_drlim(data: TrainingData, factors: Factors, training: TrainingConfig) -> keras.losses.Loss:
    """Similar to a track are itself and the train tracks with the nearest reference factors."""
    n, rows = training.n_neighbours, np.arange(len(data.targets))
    if n >= len(data.train):
        raise ConfigError(
            f"training.n_neighbours must be below the number of train tracks, {len(data.train)}. Received: {n}."
        )
    similar = np.repeat(rows[:, np.newaxis], n + 1, axis=1)
    of_train, of_validation = (
        _directions(factors.item_factors[own]) for own in (data.train, data.validation)
    )
    similar[data.train, 1:] = data.train[top_k_similar(of_train, n).indices]
    similar[data.validation, 1:] = data.train[top_k_dot(of_validation, of_train, n).indices]
    return drlim(factors.item_factors, factors.scaler, similar, training.margin)


LOSSES_OF_TRACKS: dict[str, Callable[[TrainingData, Factors, TrainingConfig], keras.losses.Loss]] = {
    "wpe": _make_weighted_prediction_error,
    "infonce": _make_info_nce,
    "infonce_histories": _make_history_info_nce,
    "bpr": _make_bpr,
    "sampled_softmax": _make_sampled_softmax,
    "drlim": _make_drlim,
}
"""Losses whose examples are track numbers, by their names in settings."""


def _examples(data: TrainingData, factors: Factors, loss: str) -> Matrix:
    """Scale factors, shape (n_tracks, n_factors), for ``unit_mse`` after bringing them to one length."""
    if loss != "unit_mse":
        return scaled_factors(factors)
    length = np.linalg.norm(factors.item_factors[data.train], axis=1).mean()
    return factors.scaler.transform(_directions(factors.item_factors) * length)


def _directions(factors: Matrix) -> Matrix:
    """Bring factors, shape (n, n_factors), to length 1, except rows of zeros."""
    lengths = np.linalg.norm(factors, axis=1, keepdims=True)
    return np.asarray(factors / np.where(lengths > 0, lengths, 1), np.float32)


def _log_prior(data: TrainingData, factors: Factors, training: TrainingConfig) -> Matrix | None:
    """Return the logarithm of the popularity of tracks with its weight, shape (n_tracks,); None without one."""
    if not training.popularity_correction:
        return None
    user_items = open_seen_interactions(data, factors, "training.popularity_correction")
    n_playlists = np.maximum(user_items.getnnz(axis=0), 1)
    return np.asarray(training.popularity_correction * np.log(n_playlists), np.float32)


def open_seen_interactions(data: TrainingData, factors: Factors, setting: str) -> scipy.sparse.csr_matrix:
    """Open the interactions of train and validation tracks, in the order of `factors`, for `setting`.

    Counts, shape (n_playlists, n_tracks); columns of other tracks are empty.
    """
    return _of_seen_tracks(_open_interactions(data, factors, setting).user_items, data)


def _open_dislikes(
    data: TrainingData, factors: Factors, training: TrainingConfig
) -> scipy.sparse.csr_matrix | None:
    """Open the dislikes of train and validation tracks in the same way; None unless they are the negatives."""
    if training.negatives != "disliked":
        return None
    setting = "training.negatives = disliked"
    dislikes = _open_interactions(data, factors, setting).dislikes
    seen = None if dislikes is None else _of_seen_tracks(dislikes, data)
    if seen is None or not seen.nnz:
        raise ConfigError(
            f"{setting} needs dislikes of train tracks by listeners who have other interactions: expected a column "
            f"of feedback in the file that `cs-keras factors` reads. Received: no such dislikes."
        )
    return seen


def _open_interactions(data: TrainingData, factors: Factors, setting: str) -> Interactions:
    path = data.dataset.folder / INTERACTIONS_FILE
    needed = f"{setting} needs the interactions that factors were fitted on"
    if not is_file(path):
        raise ConfigError(f"{needed}, and there is no {path}; `cs-keras factors` makes it.")
    interactions = align(load_interactions(path), factors.track_ids)
    if interactions.playlist_ids.tolist() != factors.playlist_ids.tolist():
        raise ConfigError(
            f"{needed}, and {path} holds other playlists than factors {factors.name!r}; make these again with "
            "`cs-keras factors`."
        )
    return interactions


def _of_seen_tracks(matrix: scipy.sparse.csr_matrix, data: TrainingData) -> scipy.sparse.csr_matrix:
    """Return a matrix of playlists and tracks without the entries of tracks that are not seen in training."""
    seen = np.zeros(len(data.targets))
    seen[np.concatenate([data.train, data.validation])] = 1
    kept = matrix.multiply(seen[np.newaxis]).tocsr()
    kept.eliminate_zeros()
    return kept
