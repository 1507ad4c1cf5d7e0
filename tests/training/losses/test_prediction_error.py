import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from cs_keras.factors.scaling import Scaler, fit_scaler
from cs_keras.training.losses.prediction_error import make_track_numbers, weighted_prediction_error

N_PLAYLISTS, N_TRACKS, N_FACTORS, ALPHA = 12, 7, 3, 10.0


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def counts():
    """Track 2 is in no playlist, track 5 in all."""
    counts = np.random.default_rng(0).poisson(0.7, (N_PLAYLISTS, N_TRACKS)).astype(np.float32)
    counts[:, 2], counts[:, 5] = 0, 3
    return counts


def by_hand(counts, x, y):
    """Equation 5 of van den Oord et al. 2013, playlist by playlist, for each track's factors y, in float64."""
    losses = np.zeros(counts.shape[1])
    for u, i in np.ndindex(counts.shape):
        confidence, preference = 1 + ALPHA * counts[u, i], float(counts[u, i] > 0)
        losses[i] += confidence * (preference - x[u].astype(float) @ y[i].astype(float)) ** 2
    return losses


def unit(counts):
    """What factors of zero score on average over the tracks that anybody listened to."""
    played = counts[:, counts.any(axis=0)]
    return by_hand(played, np.zeros((len(played), 1)), np.zeros((played.shape[1], 1))).mean()


@pytest.mark.parametrize("scaling", ["none", "standardize"])
def test_it_is_the_sum_over_all_playlists(scaling):
    x, y = draw(N_PLAYLISTS, N_FACTORS), draw(N_TRACKS, N_FACTORS, seed=1)
    scaler = fit_scaler(scaling, 5 + 2 * draw(20, N_FACTORS, seed=2))
    loss = weighted_prediction_error(scipy.sparse.csr_matrix(counts()), x, scaler, ALPHA)
    order = [5, 0, 2, 2, 6]
    found = loss.fn(make_track_numbers(N_TRACKS)[order], scaler.transform(y)[order]).numpy()
    expected = by_hand(counts(), x, y)[order] / unit(counts())
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32 sums, through two scalings


def test_factors_of_zero_score_one_on_average():
    scaler = Scaler("none", np.zeros(N_FACTORS, np.float32), np.ones(N_FACTORS, np.float32))
    loss = weighted_prediction_error(
        scipy.sparse.csr_matrix(counts()), draw(N_PLAYLISTS, N_FACTORS), scaler, ALPHA
    )
    played = np.flatnonzero(counts().any(axis=0))
    zeros = np.zeros((len(played), N_FACTORS), np.float32)
    assert float(loss(make_track_numbers(N_TRACKS)[played], zeros)) == pytest.approx(1, rel=1e-5)


def test_its_lowest_point_is_the_step_of_weighted_matrix_factorisation():
    """Where the gradient is zero, y solves (X'CX) y = X'Cp: Hu, Koren & Volinsky 2008, equation 5."""
    x, played = draw(N_PLAYLISTS, N_FACTORS), counts()
    confidence = 1 + ALPHA * played
    solved = np.stack(
        [
            np.linalg.solve((x.T * c) @ x, x.T @ (c * (r > 0)))
            for c, r in zip(confidence.T, played.T, strict=True)
        ]
    )
    scaler = fit_scaler("standardize", draw(20, N_FACTORS, seed=2))
    loss = weighted_prediction_error(scipy.sparse.csr_matrix(played), x, scaler, ALPHA)
    outputs = tf.constant(scaler.transform(solved.astype(np.float32)))
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = tf.reduce_sum(loss.fn(make_track_numbers(N_TRACKS), outputs))
    slope = tape.gradient(value, outputs).numpy()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = tf.reduce_sum(loss.fn(make_track_numbers(N_TRACKS), outputs + 0.1))
    assert np.abs(slope).max() < 1e-4 < 0.1 < np.abs(tape.gradient(value, outputs)).max()
