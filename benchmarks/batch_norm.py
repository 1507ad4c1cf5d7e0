"""Training steps of a CNN with our batch norm, compared with Keras's."""

from collections.abc import Iterator

import keras
import numpy as np

from benchmarks.comparison import Comparison, Line, best_seconds
from benchmarks.front_end import AUDIO, magnitudes
from benchmarks.settings import Settings
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.models import cnn, get_baseline

BATCH_SIZE = 32
N_FACTORS = 200


def measure(settings: Settings) -> Iterator[Line]:
    x = magnitudes(BATCH_SIZE, seed=0)
    y = np.random.default_rng(0).normal(size=(BATCH_SIZE, N_FACTORS)).astype(np.float32)
    ours = cnn.build(get_baseline("cnn-bn"), N_FACTORS, AUDIO)
    peer = keras.models.clone_model(ours, clone_function=_with_own_batch_norm)
    peer.set_weights(ours.get_weights())
    for model in (ours, peer):
        model.compile("adam", "mse", jit_compile=False)
    np.testing.assert_allclose(ours(x, training=True), peer(x, training=True), rtol=1e-4, atol=1e-5)

    def step(model: keras.Model) -> None:
        model.train_on_batch(x, y)

    seconds = best_seconds((lambda: step(ours), lambda: step(peer)), settings.repeats)
    rates = [BATCH_SIZE / one for one in seconds]
    yield Comparison("batch norm", "training step of cnn-bn", *rates, "patches/s", "Keras's batch norm", 1.3)


def _with_own_batch_norm(layer: keras.layers.Layer) -> keras.layers.Layer:
    is_ours = isinstance(layer, FusedBatchNormalization)
    return (keras.layers.BatchNormalization if is_ours else type(layer)).from_config(layer.get_config())
