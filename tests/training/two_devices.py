"""Fits on one and on two processors, in a process of its own: TensorFlow divides a processor only before it starts.

``python -m tests.training.two_devices FOLDER`` writes FOLDER/results.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cs_keras import config
from cs_keras.data.batches import TrainingBatches, prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.models import get_baseline, load_model, model_module
from cs_keras.models.spec import TrainingConfig
from cs_keras.training.execution import ExecutionConfig, choose_devices, dtype_policy, make_strategy
from cs_keras.training.fit import fit
from cs_keras.training.predict import predict_tracks
from tests.data.small import AUDIO, write_small

LENGTHS = [36, 20, 28, 9]  # in windows of 4 frames 9, 5 and 7 to train on, so 21: batches of 6, 6, 6 and 3
ROWS = np.arange(4)
SEQUENCE = SequenceConfig(frames=4)
TRAINING = TrainingConfig(learning_rate=1e-3, batch_size=6, epochs=2)
SMALL = {
    "cnn": {"model": {"filters": 4, "dense": [8]}},
    "cnn-bn": {"model": {"filters": 4, "dense": [8]}},
    "lstm": {"model": {"units": [4], "dense": [8], "dropout": 0.5}},
}


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


def build(key: str, devices: int | None, policy: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(0)
    changes = {"sequence": {"frames": 4}, "front_end": {"n_mels": 3}}
    baseline = config.replace(get_baseline(key), config.merge(changes, SMALL[key]))
    strategy = make_strategy(choose_devices(ExecutionConfig(policy, devices=devices), TRAINING.batch_size))
    with strategy.scope(), dtype_policy(policy):
        return model_module(key).build(baseline, 2, AUDIO)


def train(model: keras.Model, dataset: Dataset, folder: Path, n_train: int, interrupt: bool = False) -> dict:
    targets = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    batches = TrainingBatches(dataset, ROWS[:n_train], targets, SEQUENCE, TRAINING.batch_size, seed=0)
    inputs, windows = prediction_batches(dataset, ROWS[3:], SEQUENCE, 2)  # 3 windows: batches of 2 and 1
    outputs = tf.data.Dataset.from_tensor_slices(targets[windows.row]).batch(2)

    def stop(number: int, figures: dict[str, float]) -> None:
        if interrupt:
            raise Interrupted

    validation = tf.data.Dataset.zip((inputs, outputs))
    fitted = fit(model, batches, validation, TRAINING, folder, stop)
    return {
        "losses": [[epoch["loss"], epoch["val_loss"]] for epoch in fitted.history],
        "shares": [epoch["input_wait_share"] for epoch in fitted.history],
        "sum of weights": float(sum(np.abs(w).sum(dtype=float) for w in model.get_weights())),
        "predicted": predict_tracks(model, dataset, ROWS, SEQUENCE, 4).tolist(),
    }


def resumed(key: str, policy: str, dataset: Dataset, folder: Path, devices: tuple[int, int]) -> dict:
    """Train an epoch on devices[0], be interrupted, and go on with devices[1]."""
    try:
        train(build(key, devices[0], policy), dataset, folder, 3, interrupt=True)
    except Interrupted:
        return train(build(key, devices[1], policy), dataset, folder, 3)
    raise AssertionError("not interrupted")


def main(folder: Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    dataset = Dataset(write_small(folder / "dataset", LENGTHS))
    results: dict[str, Any] = {"default": build("cnn", None).distribute_strategy.num_replicas_in_sync}
    for n in (1, 2):
        results[f"cnn on {n}"] = train(build("cnn", n), dataset, folder / f"cnn-{n}", 3)
        # Of tracks 0 and 1, 14 windows: batches of 6, 6 and 2, which two devices share evenly.
        results[f"cnn-bn on {n}"] = train(build("cnn-bn", n), dataset, folder / f"cnn-bn-{n}", 2)
    results["cnn on 2, then 1"] = resumed("cnn", "float32", dataset, folder / "moved", (2, 1))
    lstm = build("lstm", 2, "mixed_float16")
    results["lstm on 2"] = train(lstm, dataset, folder / "lstm", 3)
    results["lstm on 2, then 2"] = resumed("lstm", "mixed_float16", dataset, folder / "again", (2, 2))
    results["optimizer"] = type(lstm.optimizer).__name__
    keras.Model(lstm.input, lstm.output).save(folder / "lstm.keras")
    loaded = load_model(folder / "lstm.keras")
    results["loaded lstm"] = {
        "replicas": loaded.distribute_strategy.num_replicas_in_sync,
        "predicted": predict_tracks(loaded, dataset, ROWS, SEQUENCE, 4).tolist(),
    }
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
