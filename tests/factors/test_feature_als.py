import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.factors import feature_als
from cs_keras.factors.feature_als import FeatureAls, fit_feature_als
from cs_keras.factors.wmf import WmfConfig

N_PLAYLISTS, N_TRACKS, N_FACTORS, N_FEATURES = 40, 25, 3, 4
RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.poisson(0.5, (N_PLAYLISTS, N_TRACKS))
FEATURES = RANDOM.normal(size=(N_TRACKS, N_FEATURES))
START = RANDOM.normal(size=(N_PLAYLISTS, N_FACTORS)) * 0.3


def config(**changes):
    return WmfConfig(
        **{"factors": N_FACTORS, "alpha": 2.0, "regularization": 0.5, "iterations": 1, **changes}
    )


def objective(fit, settings, precision, penalty):
    """The objective, written down sum by sum."""
    prior = FEATURES @ fit.weights + fit.intercept
    error = (COUNTS > 0) - fit.playlist_factors @ fit.item_factors.T
    value = ((1 + settings.alpha * COUNTS) * error**2).sum()
    value += settings.regularization * (fit.playlist_factors**2).sum()
    return value + precision * (((fit.item_factors - prior) ** 2).sum() + penalty * (fit.weights**2).sum())


@pytest.mark.parametrize("precision", [0.1, 10.0, 1000.0])
def test_tracks_and_map_are_the_solution_of_one_dense_system(precision):
    """Least squares in all entries of Y, B and the intercept at once, from rows of a design matrix."""
    penalty, n_map = 0.7, (N_FEATURES + 1) * N_FACTORS
    rows, targets = [], []

    def add(weight, target, columns):
        row = np.zeros(N_TRACKS * N_FACTORS + n_map)
        for at, values in columns:
            row[at : at + len(np.atleast_1d(values))] = values
        rows.append(np.sqrt(weight) * row)
        targets.append(np.sqrt(weight) * target)

    for u, i in np.ndindex(COUNTS.shape):
        add(1 + 2.0 * COUNTS[u, i], float(COUNTS[u, i] > 0), [(i * N_FACTORS, START[u])])
    map_at = N_TRACKS * N_FACTORS
    for i, k in np.ndindex(N_TRACKS, N_FACTORS):
        of_features = [(map_at + f * N_FACTORS + k, -value) for f, value in enumerate([*FEATURES[i], 1.0])]
        add(precision, 0.0, [(i * N_FACTORS + k, 1.0), *of_features])
    for entry in range(N_FEATURES * N_FACTORS):
        add(precision * penalty, 0.0, [(map_at + entry, 1.0)])
    expected = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    fit = fit_feature_als(scipy.sparse.csr_matrix(COUNTS), FEATURES, START, config(), precision, penalty)
    found = np.concatenate([fit.item_factors.ravel(), fit.weights.ravel(), fit.intercept])
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())  # conjugate gradients
    assert np.array_equal(fit.playlist_factors, START)


def test_the_objective_falls_and_no_other_tracks_or_map_lower_it():
    settings = [config(iterations=n) for n in (1, 2, 4)]
    fits = [
        fit_feature_als(scipy.sparse.csr_matrix(COUNTS), FEATURES, START, one, 5.0, 0.7) for one in settings
    ]
    values = [objective(fit, settings[0], 5.0, 0.7) for fit in fits]
    assert values == sorted(values, reverse=True)
    random = np.random.default_rng(1)
    for name in ("weights", "intercept", "item_factors"):
        for _ in range(5):
            moved = dict(vars(fits[2]))
            moved[name] = moved[name] + 0.01 * random.normal(size=moved[name].shape)
            assert objective(FeatureAls(**moved), settings[0], 5.0, 0.7) > values[2]


def test_the_map_that_made_the_tracks_is_found_and_places_tracks_without_interactions():
    """Playlists prefer tracks by dot products with B g; the space of a factorisation is free up to a linear map."""
    random = np.random.default_rng(3)
    n_playlists, n_tracks, n_new = 400, 150, 100
    features = random.normal(size=(n_tracks + n_new, N_FEATURES))
    truth = features @ random.normal(size=(N_FEATURES, N_FACTORS))
    playlists = random.normal(size=(n_playlists, N_FACTORS))
    chance = 1 / (1 + np.exp(3 - 1.5 * playlists @ truth[:n_tracks].T))
    counts = scipy.sparse.csr_matrix((random.random(chance.shape) < chance).astype(float))
    start = 0.1 * random.normal(size=(n_playlists, N_FACTORS + 1))  # one for what all playlists prefer
    settings = config(factors=N_FACTORS + 1, iterations=8, regularization=5.0)
    fit = fit_feature_als(counts, features[:n_tracks], start, settings, 10.0, 1.0)
    predicted = features @ fit.weights + fit.intercept
    known, new = np.split(np.hstack([predicted, np.ones((len(predicted), 1))]), [n_tracks])
    mapped = new @ np.linalg.lstsq(known, truth[:n_tracks], rcond=None)[0]
    explained = 1 - ((mapped - truth[n_tracks:]) ** 2).sum() / (truth[n_tracks:] ** 2).sum()
    assert explained > 0.97
    preferred, expected = fit.playlist_factors @ predicted[n_tracks:].T, playlists @ truth[n_tracks:].T
    of_playlists = [np.corrcoef(one, other)[0, 1] for one, other in zip(preferred, expected, strict=True)]
    assert np.median(of_playlists) > 0.9


def test_what_does_not_fit_is_refused(monkeypatch):
    with pytest.raises(DataError, match=r"counts must be of shape \(40, 24\)"):
        fit_feature_als(scipy.sparse.csr_matrix(COUNTS), FEATURES[:-1], START, config(), 1.0, 1.0)
    monkeypatch.setattr(feature_als, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="use factors of fewer dimensions"):
        fit_feature_als(scipy.sparse.csr_matrix(COUNTS), FEATURES, START, config(), 1.0, 1.0)
