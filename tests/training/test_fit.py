import errno
import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras.data.batches import ArrayBatches
from cs_keras.errors import StorageError
from cs_keras.models.spec import TrainingConfig
from cs_keras.training.fit import DivergenceError, fit

N_EPOCHS = 3
CONFIG = TrainingConfig(learning_rate=1e-2, epochs=N_EPOCHS, patience=0, batch_size=8)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X, Y = random(20, 6), random(20, 2, seed=1)
TRAIN = ArrayBatches(X, Y, 8, seed=0)
VALIDATION = tf.data.Dataset.from_tensor_slices((random(9, 6, seed=2), random(9, 2, seed=3))).batch(4)


def build():
    """A network with all that has a state: dropout, batch norm, and Adam's moments."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )


def undisturbed_fit(folder, config=CONFIG):
    model = build()
    return model, fit(model, TRAIN, VALIDATION, config, folder)


def losses(fitted):
    return [(epoch["loss"], epoch["val_loss"]) for epoch in fitted.history]


def same_weights(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of an undisturbed fit."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, *undisturbed_fit(folder)


@pytest.fixture
def reference(finished):
    return finished[1:]


class InterruptedBatches:
    """Training batches in whose n-th step, counted from the start of training, the user presses Ctrl-C."""

    steps_per_epoch = TRAIN.steps_per_epoch

    def __init__(self, step):
        self._step = step

    def from_epoch(self, epoch):
        def batches():
            for n, batch in enumerate(TRAIN._batches(epoch), epoch * self.steps_per_epoch):
                if n == self._step:
                    raise RuntimeError("killed")
                yield batch

        return tf.data.Dataset.from_generator(
            batches, output_signature=(tf.TensorSpec((None, 6)), tf.TensorSpec((None, 2)))
        )


def test_the_same_seed_gives_the_same_weights_and_history(reference, tmp_path):
    model, fitted = undisturbed_fit(tmp_path)
    assert losses(fitted) == losses(reference[1])
    assert same_weights(model, reference[0])


@pytest.mark.parametrize("epoch", range(1, N_EPOCHS + 1))
def test_a_fit_interrupted_after_an_epoch_ends_as_an_undisturbed_one(reference, tmp_path, epoch):
    def interrupt(number, figures):
        if number == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(build(), TRAIN, VALIDATION, CONFIG, tmp_path, interrupt)
    model = build()
    fitted = fit(model, TRAIN, VALIDATION, CONFIG, tmp_path)
    assert losses(fitted) == losses(reference[1])
    assert fitted.best_epoch == reference[1].best_epoch
    assert same_weights(model, reference[0])


@pytest.mark.parametrize("step", [1, 4, 3 * N_EPOCHS - 1])
def test_a_fit_killed_inside_an_epoch_ends_as_an_undisturbed_one(reference, tmp_path, step):
    with pytest.raises(tf.errors.OpError, match="killed"):
        fit(build(), InterruptedBatches(step), VALIDATION, CONFIG, tmp_path)
    model = build()
    fitted = fit(model, TRAIN, VALIDATION, CONFIG, tmp_path)
    assert losses(fitted) == losses(reference[1])
    assert same_weights(model, reference[0])


def test_a_fit_interrupted_after_every_epoch_ends_as_an_undisturbed_one(reference, tmp_path):
    def interrupt(number, figures):
        raise KeyboardInterrupt

    for _ in range(N_EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            fit(build(), TRAIN, VALIDATION, CONFIG, tmp_path, interrupt)
    model = build()
    assert losses(fit(model, TRAIN, VALIDATION, CONFIG, tmp_path)) == losses(reference[1])
    assert same_weights(model, reference[0])


def test_a_finished_fit_is_not_trained_again(reference, finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    called = []
    model = build()
    fitted = fit(model, TRAIN, VALIDATION, CONFIG, tmp_path, lambda number, figures: called.append(number))
    assert called == []
    assert losses(fitted) == losses(reference[1])
    assert same_weights(model, reference[0])


def test_the_best_epoch_is_that_of_the_monitored_metric_also_after_interruptions(tmp_path):
    config = replace(CONFIG, monitor="val_cosine", epochs=6, patience=2)
    values = iter(
        [0.1, 0.4, 0.3, 0.2, 0.9, 0.9]
    )  # the best is the second, and two epochs later training stops

    def interrupt(number, figures):
        raise KeyboardInterrupt

    weights = []
    for _ in range(4):
        model = build()
        with pytest.raises(KeyboardInterrupt):
            fit(model, TRAIN, VALIDATION, config, tmp_path, interrupt, measure=lambda: next(values))
        weights.append(model.get_weights())
    model = build()
    fitted = fit(model, TRAIN, VALIDATION, config, tmp_path, measure=lambda: next(values))
    assert [epoch["val_cosine"] for epoch in fitted.history] == [0.1, 0.4, 0.3, 0.2]
    assert fitted.best_epoch == 2
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[1], strict=True))


def test_a_metric_is_measured_by_averaged_weights(tmp_path):
    model = build()

    def measure():
        predicted = model.predict(VALIDATION.map(lambda x, y: x), verbose=0)
        expected = np.concatenate([y for _, y in VALIDATION])
        return -float(np.square(predicted - expected).mean())

    config = replace(CONFIG, monitor="val_cosine", ema=0.9)
    for epoch in fit(model, TRAIN, VALIDATION, config, tmp_path, measure=measure).history:
        assert epoch["val_cosine"] == pytest.approx(-epoch["val_loss"], rel=1e-5)


FINE_TUNING = replace(CONFIG, frozen_epochs=1, pretrained_learning_rate=1e-3)


def fine_tune(folder, batches=TRAIN, on_epoch=lambda number, epoch: None):
    model = build()
    model.layers[0].name = "pretrained"
    return model, lambda: fit(
        model, batches, VALIDATION, FINE_TUNING, folder, on_epoch, pretrained=["pretrained"]
    )


@pytest.mark.parametrize("step", [1, 4])  # in the frozen epoch, and in one after it
def test_fine_tuning_resumes_exactly_in_both_phases(tmp_path, step):
    undisturbed, train = fine_tune(tmp_path / "undisturbed")
    expected = train()
    _, train = fine_tune(tmp_path / "killed", InterruptedBatches(step))
    with pytest.raises(tf.errors.OpError, match="killed"):
        train()
    model, train = fine_tune(tmp_path / "killed")
    assert losses(train()) == losses(expected)
    assert same_weights(model, undisturbed)


def test_pretrained_layers_are_frozen_first(tmp_path):
    seen = []
    start = build().layers[0].get_weights()
    model, train = fine_tune(
        tmp_path, on_epoch=lambda number, epoch: seen.append(model.layers[0].get_weights())
    )
    train()
    moved = [not np.array_equal(weights[0], start[0]) for weights in seen]
    assert moved == [False, True, True]


def test_a_half_written_checkpoint_is_passed_over(reference, tmp_path):
    undisturbed_fit(tmp_path, TrainingConfig(learning_rate=1e-2, epochs=2, patience=0))
    half = tmp_path / "checkpoint" / "epoch-00003.tmp"
    half.mkdir()
    (half / "state.weights.h5").write_bytes(b"half")
    model = build()
    assert losses(fit(model, TRAIN, VALIDATION, CONFIG, tmp_path)) == losses(reference[1])
    assert same_weights(model, reference[0])


def test_more_epochs_go_on_where_fewer_ended(reference, tmp_path):
    _, first = undisturbed_fit(tmp_path, TrainingConfig(learning_rate=1e-2, epochs=2, patience=0))
    assert losses(first) == losses(reference[1])[:2]
    model, fitted = undisturbed_fit(tmp_path)
    assert losses(fitted) == losses(reference[1])
    assert same_weights(model, reference[0])


def test_each_epoch_is_a_line_of_the_log_and_one_checkpoint_is_stored(tmp_path):
    reported = []
    fitted = fit(
        build(),
        TRAIN,
        VALIDATION,
        CONFIG,
        tmp_path,
        lambda number, figures: reported.append((number, figures)),
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": n, **epoch} for n, epoch in enumerate(fitted.history, 1)]
    assert reported == list(enumerate(fitted.history, 1))
    figures = ["loss", "val_loss", "seconds", "sequences_per_s", "mb_per_s", "input_wait_share"]
    assert all(list(epoch) == figures for epoch in fitted.history)
    assert (
        fitted.seconds == pytest.approx(sum(epoch["seconds"] for epoch in fitted.history))
        and fitted.seconds > 0
    )
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "best.weights.h5",
        "epoch-00003",
    ]
    assert list((tmp_path / "tensorboard").rglob("events.*"))


class ScriptedLoss:
    """A model whose validation loss is known: one weight that training moves by one each epoch.

    The loss is linear in the weight, and Adam's first steps have the size of the learning rate; the validation
    target makes the loss fall until the weight meets it and rise after that.
    """

    config = {"learning_rate": 1.0, "epochs": 10, "epsilon": 1e-9, "decay": 0.0, "beta_1": 0.0}

    def __init__(self, target):
        ones = np.ones((4, 1), np.float32)
        self.train = ArrayBatches(ones, 1000 * ones, 4, seed=0)
        self.validation = tf.data.Dataset.from_tensors((ones, target * ones))

    def fit(self, folder, patience):
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
        )
        config = TrainingConfig(patience=patience, **self.config)
        fitted = fit(model, self.train, self.validation, config, folder)
        return float(model.get_weights()[0][0, 0]), fitted


@pytest.mark.parametrize(("patience", "epochs"), [(1, 4), (2, 5), (0, 10)])
def test_training_stops_after_patience_and_returns_the_best_epoch(tmp_path, patience, epochs):
    weight, fitted = ScriptedLoss(target=3.2).fit(tmp_path, patience)
    assert len(fitted.history) == epochs
    assert fitted.best_epoch == 3
    assert weight == pytest.approx(3, abs=0.05)  # Adam's steps shrink a little as the gradient does
    assert fitted.history[2]["val_loss"] == pytest.approx((3.2 - weight) ** 2, rel=1e-4)


def test_a_fit_that_stopped_early_is_not_gone_on_with(tmp_path):
    scripted = ScriptedLoss(target=3.2)
    _, first = scripted.fit(tmp_path, 2)
    weight, again = scripted.fit(tmp_path, 2)
    assert again.history == first.history
    assert weight == pytest.approx(3, abs=0.05)  # as above


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_targets_that_are_not_finite_are_divergence(tmp_path, value):
    targets = Y.copy()
    targets[3, 1] = value
    with pytest.raises(
        DivergenceError, match="Training diverged: in epoch 1 the loss is .*lower learning rate"
    ):
        fit(build(), ArrayBatches(X, targets, 8, seed=0), VALIDATION, CONFIG, tmp_path)


def test_a_huge_learning_rate_is_divergence_and_leaves_no_checkpoint_of_it(tmp_path):
    config = TrainingConfig(learning_rate=1e30, epochs=3)
    with pytest.raises(DivergenceError, match="--set training.learning_rate"):
        fit(build(), TRAIN, VALIDATION, config, tmp_path)
    assert not list((tmp_path).glob("checkpoint/epoch-*"))


@pytest.mark.parametrize(
    "name",
    ["best.weights.h5", "epoch-00003/state.weights.h5", "epoch-00003/history.json", "epoch-00003/seeds.npz"],
)
@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
def test_a_damaged_checkpoint_is_one_sentence(finished, tmp_path, name, damage):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoint" / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"garbage" * 50)
    with pytest.raises(
        StorageError, match=r"Checkpoint .* cannot be read; delete .*|history\.json|seeds\.npz"
    ):
        undisturbed_fit(tmp_path)


def test_a_full_disk_is_one_sentence_and_keeps_the_epoch_before(tmp_path, monkeypatch):
    save_weights = keras.Model.save_weights

    def fill(model, path):
        if "epoch-00002" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        save_weights(model, path)

    monkeypatch.setattr(keras.Model, "save_weights", fill)
    with pytest.raises(StorageError, match="Cannot write checkpoint .*epoch-00002: .*No space left"):
        fit(build(), TRAIN, VALIDATION, CONFIG, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoint").glob("epoch-?????")] == ["epoch-00001"]


def test_the_checkpoint_of_another_model_is_one_sentence(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    with pytest.raises(StorageError, match="Checkpoint .* cannot be read; delete"):
        fit(other, TRAIN, VALIDATION, CONFIG, tmp_path)
