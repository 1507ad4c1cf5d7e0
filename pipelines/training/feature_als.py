"""The output layer of a model whose map from features to factors is learnt in a factorisation of interactions."""

import dataclasses

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
from cs_keras.factors.cross_fitting import align_playlists
from cs_keras.factors.feature_als import fit_feature_als
from cs_keras.factors.store import Factors
from cs_keras.factors.wmf import read_wmf_config
from cs_keras.models.regressors import RegressorConfig
from pipelines.training.objectives import open_seen_interactions
from pipelines.training.targets import Rows, TrainingData

Doubles = npt.NDArray[np.float64]


def solve_feature_als(
    data: TrainingData, factors: Factors, config: RegressorConfig, rows: Rows, features: Doubles
) -> tuple[Doubles, Doubles]:
    """Return kernel, (n_features, n_factors), and bias, (n_factors,), from features to scaled factors.

    The factorisation has the settings of `factors`, starts from their playlists, and is fitted to the interactions
    of train tracks. Its space is then rotated onto that of `factors` by the playlists they share. A rotation leaves
    the similarity of its tracks as it is, so lists of similar tracks are those of its own space; dot products are
    with the playlists of `factors`.

    Parameters
    ----------
    data, factors, config
        Train tracks, reference factors, and settings of the regressor.
    rows
        Track table row of each example, shape (n,); the features of a track are the mean of its examples'.
    features
        Shape (n, n_features).

    Raises
    ------
    ConfigError
        When interactions do not exist, or `factors` were not fitted to them.
    """
    setting = "model.regressor = ials"
    if factors.config is None:
        raise ConfigError(
            f"{setting} needs the interactions that factors were fitted on, and factors {factors.name!r} are "
            "imported: use another regressor, or factors made by `cs-keras factors`."
        )
    tracks, track = np.unique(rows, return_inverse=True)
    means = np.zeros((len(tracks), features.shape[1]))
    np.add.at(means, track, features)
    means /= np.bincount(track)[:, np.newaxis]
    x = factors.playlist_factors
    fit = fit_feature_als(
        open_seen_interactions(data, factors, setting)[:, tracks],
        means,
        x,
        dataclasses.replace(read_wmf_config(factors.config), factors=x.shape[1]),
        config.prior * float(np.square(x).sum(dtype=np.float64)) / x.shape[1],
        config.penalty,
    )
    rotation, _ = align_playlists(fit.playlist_factors.astype(np.float32), x)
    scaler = factors.scaler
    return fit.weights @ rotation / scaler.scale, (fit.intercept @ rotation - scaler.offset) / scaler.scale
