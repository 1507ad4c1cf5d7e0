"""Moving averages of weights: what is validated and kept, by the formula, and resumed to the bit."""

import keras
import numpy as np
import pytest

from cs_keras.models.spec import TrainingConfig
from cs_keras.training.fit import fit
from tests.training.test_fit import TRAIN, VALIDATION, build, losses, same_weights

CONFIG = TrainingConfig(learning_rate=1e-2, epochs=3, patience=0, batch_size=8, ema=0.9, l2=1e-3)


def test_the_average_is_that_of_the_weights_after_every_step(tmp_path):
    """Weights without averaging are followed step by step; the average of them is what averaging keeps."""
    followed = []

    class Follow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            followed.append([weight.numpy() for weight in self.model.trainable_variables])

    plain = build()
    plain.compile(keras.optimizers.Adam(1e-2, epsilon=1e-6), "mse")
    plain.fit(TRAIN.from_epoch(0), steps_per_epoch=TRAIN.steps_per_epoch, callbacks=[Follow()], verbose=0)
    expected = followed[0]
    for weights in followed[1:]:
        expected = [0.9 * old + 0.1 * new for old, new in zip(expected, weights, strict=True)]
    config = TrainingConfig(learning_rate=1e-2, epochs=1, batch_size=8, ema=0.9, decay=0.0)
    model = build()
    fitted = fit(model, TRAIN, VALIDATION, config, tmp_path)
    for weight, average in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(weight, average, rtol=1e-4, atol=1e-6)  # float32 sums in another order
    model.compile(loss="mse")
    loss = model.evaluate(VALIDATION, verbose=0, return_dict=True)["loss"]
    assert fitted.history[0]["val_loss"] == pytest.approx(loss, rel=1e-5)  # as above


@pytest.mark.parametrize("epoch", [1, 2])
def test_it_is_resumed_to_the_bit(tmp_path, epoch):
    def interrupt(number, figures):
        if number == epoch:
            raise KeyboardInterrupt

    reference = build()
    expected = fit(reference, TRAIN, VALIDATION, CONFIG, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        fit(build(), TRAIN, VALIDATION, CONFIG, tmp_path / "interrupted", interrupt)
    model = build()
    assert losses(fit(model, TRAIN, VALIDATION, CONFIG, tmp_path / "interrupted")) == losses(expected)
    assert same_weights(model, reference)
    again = build()
    fit(again, TRAIN, VALIDATION, CONFIG, tmp_path / "interrupted")
    assert same_weights(again, reference), "a finished fit is averaged once, not twice"


def test_averaging_does_not_change_the_steps(tmp_path):
    """Training losses, of weights that are not averaged, are those of a fit without averaging."""
    averaged = fit(build(), TRAIN, VALIDATION, CONFIG, tmp_path / "averaged")
    plain = TrainingConfig(learning_rate=1e-2, epochs=3, patience=0, batch_size=8, l2=1e-3)
    other = fit(build(), TRAIN, VALIDATION, plain, tmp_path / "plain")
    assert [a for a, _ in losses(averaged)] == [a for a, _ in losses(other)]
    assert [b for _, b in losses(averaged)] != [b for _, b in losses(other)]
