import numpy as np
import pytest
import tensorflow as tf

from cs_keras.factors.scaling import fit_scaler
from cs_keras.training.contrastive_losses import info_nce
from cs_keras.training.prediction_error import make_track_numbers

N_TRACKS, N_FACTORS = 7, 3
ORDER = [5, 0, 2, 2, 6]  # two sequences of one track
SCALER = fit_scaler("standardize", 5 + 2 * np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32))


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def value_and_slope(loss, order, factors):
    """Values, and the gradient of their mean, by unscaled factors of the examples."""
    outputs = tf.constant(SCALER.transform(factors))
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        values = loss.fn(make_track_numbers(N_TRACKS)[order], outputs)
        mean = tf.reduce_mean(values)
    return values.numpy(), tape.gradient(mean, outputs).numpy() / SCALER.scale


def numeric_slope(by_hand, factors, step=1e-5):
    """Central differences of the mean of ``by_hand(factors)``, in float64."""
    slope = np.zeros(factors.shape)
    for at in np.ndindex(factors.shape):
        change = np.zeros(factors.shape)
        change[at] = step
        slope[at] = (by_hand(factors + change).mean() - by_hand(factors - change).mean()) / (2 * step)
    return slope


@pytest.mark.parametrize("prior", [None, np.linspace(-1, 2, N_TRACKS)])
def test_info_nce_is_the_cross_entropy_among_the_other_tracks_of_the_batch(prior):
    reference, predicted = draw(N_TRACKS, N_FACTORS), draw(len(ORDER), N_FACTORS, seed=1)

    def by_hand(factors):
        losses = np.zeros(len(ORDER))
        for i, track in enumerate(ORDER):
            candidates = [track, *(other for other in ORDER if other != track)]
            logits = unit(factors[i]) @ unit(reference[candidates].astype(float)).T / 0.3
            logits -= 0 if prior is None else prior[candidates]
            losses[i] = np.log(np.exp(logits).sum()) - logits[0]
        return losses

    found, slope = value_and_slope(info_nce(reference, SCALER, 0.3, prior), ORDER, predicted)
    np.testing.assert_allclose(found, by_hand(predicted.astype(float)), rtol=1e-4)  # float32, scaled twice
    np.testing.assert_allclose(slope, numeric_slope(by_hand, predicted.astype(float)), rtol=1e-3, atol=1e-5)


def test_info_nce_learns_how_much_likelier_a_track_is_for_its_audio_and_with_the_correction_how_likely():
    """Of four tracks two sound alike, of which one is played three times as often; no cosine is at its bound."""
    sound = np.array([0, 0, 1, 2])
    popularity = np.array([3.0, 1.0, 1.0, 1.0])
    reference = np.eye(4, dtype=np.float32)
    plain = fit_scaler("none", reference)
    for share, expected in ((0.0, 1.0), (1.0, 3.0)):
        loss = info_nce(reference, plain, 0.05, (share * np.log(popularity)).astype(np.float32))
        outputs = tf.Variable(np.full((3, 4), 0.1, np.float32))
        optimizer = tf.keras.optimizers.Adam(0.03)
        for _ in range(400):
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(loss.fn(make_track_numbers(4), tf.gather(outputs, sound)))
            optimizer.apply([tape.gradient(value, outputs)], [outputs])
        odds = np.exp((unit(outputs.numpy())[0] @ (reference[0] - reference[1])) / 0.05)
        assert odds == pytest.approx(expected, rel=0.02)
