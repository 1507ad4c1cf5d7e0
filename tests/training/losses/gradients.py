"""Values and gradients of losses whose examples are track numbers, and central differences to compare them with."""

import keras
import numpy as np
import tensorflow as tf

from cs_keras.factors.scaling import fit_scaler
from cs_keras.training.losses.prediction_error import make_track_numbers

SCALER = fit_scaler("standardize", 5 + 2 * np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32))
"""Of three factors."""


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def value_and_slope(loss, order, factors):
    """Values for tracks `order`, and the gradient of their mean by unscaled predictions `factors`."""
    outputs = tf.constant(SCALER.transform(factors))
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        values = loss.fn(make_track_numbers(max(order) + 1)[order], outputs)
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


def minimise(loss, outputs, gather=None, n_steps=150, learning_rate=0.1):
    """Minimise a loss by free outputs, from `outputs`; those of example n are row ``gather[n]``, by default n."""
    gather = np.arange(len(outputs)) if gather is None else gather
    outputs = tf.Variable(outputs)
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build([outputs])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss.fn(make_track_numbers(len(gather)), tf.gather(outputs, gather)))
        optimizer.apply([tape.gradient(value, outputs)], [outputs])

    for _ in range(n_steps):
        step()
    return outputs.numpy()
