"""The one training harness: epochs with checkpoints, early stopping, and a history, that a kill cannot spoil."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy.typing as npt
import tensorflow as tf

from cs_keras.errors import ConfigError, CsKerasError, StorageError
from cs_keras.models.spec import TrainingConfig, stored_bytes
from cs_keras.runs import atomic_write, read_json, read_npz, require_space, write_json, write_npz
from cs_keras.training.delivery import MeasuredFunction, deliver
from cs_keras.training.losses import make_loss, make_optimizer

Epoch = dict[str, float]
MEAN_LOSS = "mean_loss"


class Batches(Protocol):
    """Where training examples come from: any epoch can be asked for."""

    steps_per_epoch: int

    def from_epoch(self, epoch: int) -> tf.data.Dataset:
        """Return endless (input, target) batches that begin with the first of `epoch`."""


class DivergenceError(CsKerasError):
    """A loss became infinite or not a number."""


class MemoryExhaustedError(CsKerasError):
    """The machine or its GPU has too little memory for a batch."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a fit gives: the history of its epochs, and which of them the weights are from (counted from 1)."""

    history: list[Epoch]
    best_epoch: int

    @property
    def seconds(self) -> float:
        """Time spent in epochs, summed over all sittings."""
        return sum(epoch["seconds"] for epoch in self.history)


def fit(
    model: keras.Model,
    train: Batches,
    validation: tf.data.Dataset,
    config: TrainingConfig,
    folder: Path,
    on_epoch: Callable[[int, Epoch], None] = lambda number, epoch: None,
    jit: bool = False,
) -> Fitted:
    """Train `model`, going on from the last whole epoch that `folder` holds, and leave it at its best epoch.

    After every epoch the weights, the optimiser's state and the history are stored under one name in one rename,
    so a killed fit repeats at most one epoch, with the same batches, and ends as an undisturbed one.

    A model that was built under the scope of a strategy is trained on all of its devices: each takes a share of
    every batch, and batch norm takes its statistics over all shares, so loss and gradients are those of one device
    but for rounding. (Where a batch does not divide evenly, what is left over counts more in those statistics.)

    Parameters
    ----------
    model
        Built, not compiled.
    train, validation
        Batches of (input, target), of validation a known number; inputs go to the devices in the dtype they have.
    config
        Optimiser, loss, epochs, patience.
    folder
        Receives ``checkpoint/``, ``metrics.jsonl`` and ``tensorboard/``.
    on_epoch
        Called after each epoch with its number, from 1, and its figures.
    jit
        Compile the steps with XLA.

    Returns
    -------
    Fitted
        History and the epoch the weights are from: the one of the lowest validation loss. An epoch's figures are
        ``loss``, ``val_loss``, ``seconds``, and of its training part alone those of `MeasuredFunction`.

    Raises
    ------
    ConfigError
        When XLA cannot compile the model.
    DivergenceError
        When a loss is not finite.
    MemoryExhaustedError
        When a batch does not fit into memory.
    StorageError
        When a checkpoint cannot be written or read.
    """
    strategy = model.distribute_strategy
    with strategy.scope(), _explained(model, config):
        steps = _compile(model, config, jit)
        checkpoints = _Checkpoints(folder / "checkpoint")
        history = checkpoints.restore(model)
        log = _EpochLog(checkpoints, history, config, folder, on_epoch, steps)
        if not _finished(history, config):
            model.fit(
                deliver(train.from_epoch(len(history)), strategy),
                # Endless, with its length beside it: Keras cannot see the length of what goes to devices.
                validation_data=deliver(validation.repeat(), strategy),
                validation_steps=len(validation),
                initial_epoch=len(history),
                epochs=config.epochs,
                steps_per_epoch=train.steps_per_epoch,
                callbacks=[log, keras.callbacks.TensorBoard(str(folder / "tensorboard"), profile_batch=0)],
                verbose=0,
            )
        checkpoints.load_best(model)
    return Fitted(history, _best(history) + 1)


def _compile(model: keras.Model, config: TrainingConfig, jit: bool) -> MeasuredFunction:
    """Compile `model` and return the function that takes its training steps."""
    strategy, loss = model.distribute_strategy, make_loss(config)
    loss.reduction = "mean_with_sample_weight"  # without weights, which only several replicas have, the mean
    if strategy.num_replicas_in_sync > 1:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Model doesn't support `jit_compile=True`")  # said below
        # Keras weights its own mean loss by the sizes of shares; this one is exact on any number of replicas.
        mean = keras.metrics.MeanMetricWrapper(loss.fn, name=MEAN_LOSS)
        model.compile(make_optimizer(config), loss, weighted_metrics=[mean], jit_compile=jit)
    if model.jit_compile != jit:
        raise ConfigError(
            f"XLA cannot compile {model.name} on this machine, as cuDNN's recurrent layers exclude it; train that "
            "model without --jit."
        )
    # Were it built while the first step is traced, the initial loss scale would stay in that step as a constant.
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    model.make_test_function()
    steps = MeasuredFunction(model.train_function, strategy)
    model.train_function = steps  # Keras makes its own only where there is none
    model.test_function = MeasuredFunction(model.test_function, strategy)
    return steps


@contextlib.contextmanager
def _explained(model: keras.Model, config: TrainingConfig) -> Iterator[None]:
    """Raise what a user can act on instead of TensorFlow's account of it."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryExhaustedError(
            f"The model and batches of {config.batch_size} sequences do not fit into memory; try a smaller "
            "batch (--set training.batch_size=...)."
        ) from error
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        if model.jit_compile and "XLA" in str(error):
            raise ConfigError(f"XLA cannot compile {model.name}; train that model without --jit.") from error
        raise


class _EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Times epochs, stores them, and decides when to stop."""

    def __init__(
        self,
        checkpoints: "_Checkpoints",
        history: list[Epoch],
        config: TrainingConfig,
        folder: Path,
        on_epoch: Callable[[int, Epoch], None],
        steps: MeasuredFunction,
    ) -> None:
        super().__init__()
        self._checkpoints, self._history, self._config = checkpoints, history, config
        self._folder, self._on_epoch, self._steps = folder, on_epoch, steps

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._began = time.perf_counter()
        self._steps.restart()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {f"{part}loss": float((logs or {})[part + MEAN_LOSS]) for part in ("", "val_")}
        if not all(map(math.isfinite, figures.values())):
            raise DivergenceError(
                f"Training diverged: in epoch {epoch + 1} the loss is {figures['loss']} and the validation loss "
                f"{figures['val_loss']}; try a lower learning rate (--set training.learning_rate=...)."
            )
        figures["seconds"] = time.perf_counter() - self._began
        figures.update(self._steps.figures())
        self._history.append(figures)
        self._checkpoints.store(self.model, self._history)
        with atomic_write(self._folder / "metrics.jsonl", "w") as file:
            file.writelines(json.dumps({"epoch": n, **e}) + "\n" for n, e in enumerate(self._history, 1))
        self._on_epoch(epoch + 1, figures)
        self.model.stop_training = _finished(self._history, self._config)


class _Checkpoints:
    """Whole epochs on disk: a folder an epoch, of which the newest counts, and the best epoch's weights."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, model: keras.Model, history: list[Epoch]) -> None:
        """Store the state after the last epoch of `history`."""
        name = f"epoch-{len(history):05d}"
        temporary = self._folder / f"{name}.tmp"
        require_space(self._folder.parent, 2 * stored_bytes(model))  # once more for the best epoch
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            model.save_weights(temporary / "state.weights.h5")
            write_npz(temporary / "seeds.npz", **_seeds(model))
            write_json(temporary / "history.json", history)
            if _best(history) == len(history) - 1:
                best = self._folder / "best.tmp.weights.h5"
                best.unlink(missing_ok=True)
                _link(temporary / "state.weights.h5", best)
                best.replace(self._folder / "best.weights.h5")
            temporary.rename(self._folder / name)
        except OSError as error:
            raise StorageError(f"Cannot write checkpoint {self._folder / name}: {error}.") from error
        for old in sorted(self._folder.glob("epoch-?????"))[:-1]:
            shutil.rmtree(old)

    def restore(self, model: keras.Model) -> list[Epoch]:
        """Bring `model` and its optimiser to the newest whole epoch and return the history so far."""
        newest = sorted(self._folder.glob("epoch-?????"))[-1:]
        if not newest:
            return []
        self._load(model, newest[0] / "state.weights.h5")
        seeds = read_npz(newest[0] / "seeds.npz", *_seeds(model))
        for variable, state in zip(_seed_variables(model), seeds.values(), strict=True):
            variable.assign(state)
        history: list[Epoch] = read_json(newest[0] / "history.json")
        return history

    def load_best(self, model: keras.Model) -> None:
        """Bring `model` to its best epoch."""
        self._load(model, self._folder / "best.weights.h5")

    def _load(self, model: keras.Model, path: Path) -> None:
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise StorageError(
                f"Checkpoint {path} cannot be read; delete {self._folder} to train this model from the start."
            ) from error


def _seed_variables(model: keras.Model) -> list[Any]:
    """Return the states that dropout draws from: Keras does not count them among the weights."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _seeds(model: keras.Model) -> dict[str, npt.NDArray[Any]]:
    return {f"seed_{n}": v.numpy() for n, v in enumerate(_seed_variables(model))}


def _link(path: Path, other: Path) -> None:
    """Give a file a second name, which costs nothing, or where the file system has no such thing copy it."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def _best(history: list[Epoch]) -> int:
    return min(range(len(history)), key=lambda i: history[i]["val_loss"])


def _finished(history: list[Epoch], config: TrainingConfig) -> bool:
    if not history:
        return False
    waited = len(history) - 1 - _best(history)
    return len(history) >= config.epochs or bool(config.patience and waited >= config.patience)
