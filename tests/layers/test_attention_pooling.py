import keras
import numpy as np
from scipy.special import softmax

from cs_keras.layers.attention_pooling import AttentionPooling


def test_it_equals_numpy_and_ignores_frames_that_are_not_there():
    random = np.random.default_rng(0)
    frames = random.normal(size=(2, 5, 4)).astype(np.float32)
    frames[..., -1] = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    layer = AttentionPooling(3)
    found = layer(frames).numpy()
    kernel, attention, weight, bias = (
        np.asarray(getattr(layer, name)) for name in ("kernel", "attention", "weight", "bias")
    )
    for row, (own, n) in enumerate(zip(frames, (3, 5), strict=True)):
        x = own[:n, :-1]
        hidden = np.maximum(x @ kernel + bias, 0)
        shares = softmax((np.tanh(x @ attention) @ weight)[:, 0])
        expected = [shares @ hidden, hidden.mean(axis=0), hidden.max(axis=0)]
        np.testing.assert_allclose(found[row], np.concatenate(expected), atol=1e-6)
    changed = frames.copy()
    changed[0, 3:, :-1] = 9.0
    np.testing.assert_array_equal(layer(changed).numpy(), found)


def test_it_survives_saving(tmp_path):
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, AttentionPooling(3)(inputs))
    model.save(tmp_path / "model.keras")
    frames = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(frames), model(frames))
