"""The output layer of ``ials`` on factors whose playlists and tracks are at hand."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import ConfigError
from cs_keras.factors.feature_als import fit_feature_als
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors
from cs_keras.factors.wmf import WmfConfig, fit_wmf
from cs_keras.models.regressors import RegressorConfig
from pipelines.training import feature_als
from pipelines.training.feature_als import solve_feature_als

N_TRACKS, N_FEATURES = 30, 4
CONFIG = WmfConfig(factors=3, alpha=2.0, regularization=0.5, iterations=5)
COUNTS = scipy.sparse.csr_matrix(np.random.default_rng(0).poisson(0.4, (50, N_TRACKS)).astype(np.float32))


def make_factors():
    item_factors, playlist_factors = fit_wmf(COUNTS, CONFIG)
    return Factors(
        name="wmf",
        track_ids=np.array([f"t{n}" for n in range(N_TRACKS)]),
        item_factors=item_factors,
        has_factors=np.ones(N_TRACKS, np.bool_),
        playlist_ids=np.array([f"p{n}" for n in range(50)]),
        playlist_factors=playlist_factors,
        scaler=fit_scaler("standardize", item_factors),
        protocol="strict",
        config=dataclasses.asdict(CONFIG),
        quality={},
    )


def test_its_space_is_rotated_onto_that_of_the_factors_and_keeps_its_similarities(monkeypatch):
    monkeypatch.setattr(feature_als, "open_seen_interactions", lambda data, factors, setting: COUNTS)
    factors, random = make_factors(), np.random.default_rng(1)
    tracks = np.arange(5, N_TRACKS)  # others have no features
    rows = np.repeat(tracks, 2)
    features = random.normal(size=(len(rows), N_FEATURES))  # two sequences of each track
    kernel, bias = solve_feature_als(
        None, factors, RegressorConfig(regressor="ials", penalty=2.0, prior=0.5), rows, features
    )
    new = random.normal(size=(20, N_FEATURES))
    found = factors.scaler.inverse((new @ kernel + bias).astype(np.float32))

    x = factors.playlist_factors
    precision = 0.5 * np.linalg.eigvalsh(x.T @ x.astype(float)).mean()
    means = features.reshape(-1, 2, N_FEATURES).mean(axis=1)
    fit = fit_feature_als(COUNTS[:, tracks], means, x, CONFIG, precision, 2.0)
    own = new @ fit.weights + fit.intercept
    np.testing.assert_allclose(found @ found.T, own @ own.T, rtol=1e-3, atol=1e-5)  # float32, scaled twice
    # No rotation brings its playlists nearer to those of the factors.
    turn = np.linalg.lstsq(own, found, rcond=None)[0]
    residual = np.square(fit.playlist_factors @ turn - x).sum()
    for _ in range(20):
        other, _ = np.linalg.qr(np.eye(3) + 0.1 * random.normal(size=(3, 3)))
        assert np.square(fit.playlist_factors @ turn @ (other * np.sign(np.diag(other))) - x).sum() > residual


def test_imported_factors_are_refused():
    factors = dataclasses.replace(make_factors(), config=None)
    with pytest.raises(
        ConfigError, match="model.regressor = ials needs the interactions .* 'wmf' are imported"
    ):
        solve_feature_als(
            None, factors, RegressorConfig(regressor="ials"), np.arange(N_TRACKS), np.ones((N_TRACKS, 1))
        )
