"""Training with checkpoints after every epoch, early stopping, and a history; resumes after a killed process."""

import contextlib
import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from cs_keras.errors import ConfigError, CsKerasError
from cs_keras.models.spec import TrainingConfig
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.training import write_metrics
from cs_keras.training.batch_distribution import Batches, TimedFunction, distribute_batches
from cs_keras.training.batch_norm import RecalibrateBatchNorm
from cs_keras.training.checkpoints import Checkpoints, Epoch, best_epoch
from cs_keras.training.losses.objective import MEAN_LOSS, Objective, make_loss, penalize_kernels
from cs_keras.training.optimizer import AverageWhileValidating, make_optimizer


class DivergenceError(CsKerasError):
    """A loss became infinite or not a number."""


class MemoryExhaustedError(CsKerasError):
    """The machine or its GPU has too little memory for a batch."""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """History of a fit, and the epoch its weights are from (counted from 1)."""

    history: list[Epoch]
    best_epoch: int

    @property
    def seconds(self) -> float:
        """Time spent in epochs, summed over all processes that continued the fit."""
        return sum(epoch["seconds"] for epoch in self.history)


def fit(
    model: keras.Model,
    train: Batches,
    validation: tf.data.Dataset,
    config: TrainingConfig,
    folder: Path,
    on_epoch: Callable[[int, Epoch], None] = lambda number, epoch: None,
    jit: bool = False,
    objective: Objective | None = None,
    until: int | None = None,
    measure: Callable[[], float] | None = None,
    pretrained: Sequence[str] = (),
    progress: Progress | None = None,
    label: str = "training",
) -> FitResult:
    """Train `model` from the last complete epoch in `folder`, and load the weights of its best epoch.

    After every epoch the weights, the optimiser's state and the history are stored with one atomic rename, so a
    killed fit repeats at most one epoch, with the same batches, and ends like an uninterrupted one.

    A model that was built under the scope of a strategy is trained on all of its devices: each takes a share of
    every batch, and batch norm takes its statistics over all shares, so loss and gradients are those of one device
    up to rounding. (Where a batch does not divide evenly, the remainder counts more in those statistics.)
    Before each validation the moving statistics of batch norms are recalibrated; see `RecalibrateBatchNorm`.

    Parameters
    ----------
    model
        Built, not compiled.
    train, validation
        Batches of (input, target), a known number for validation; inputs go to the devices in their stored dtype.
    config
        Optimiser, schedule, loss, epochs, patience, averaging and penalty.
    folder
        Receives ``checkpoint/``, ``metrics.jsonl`` and ``tensorboard/``.
    jit
        Compile the steps with XLA.
    objective
        Replaces the loss that `config` names.
    until
        Stop after this epoch; schedules still span all epochs of `config`. A later call with a higher number
        resumes.
    measure
        Returns the value of ``config.monitor`` for the weights as they are. It is called at the end of each
        validation and decides which epoch is the best; None for the validation loss.
    pretrained
        Names of the layers of `model` to freeze for ``config.frozen_epochs``, and then to train at their own rate.
    progress, label
        Receives the steps of each epoch, with the mean loss so far, under this label.

    Returns
    -------
    FitResult
        History, and the best epoch, whose weights are loaded. An epoch has ``loss``, ``val_loss``, the monitored
        metric, the objective's metrics with and without the prefix ``val_``, ``seconds``, and for its
        training part the speed of `TimedFunction`.

    Raises
    ------
    ConfigError
        XLA cannot compile the model.
    DivergenceError
        A loss is not finite.
    MemoryExhaustedError
        A batch does not fit into memory.
    StorageError
        A checkpoint cannot be written or read.
    """
    strategy = model.distribute_strategy
    with strategy.scope(), _clear_errors(model, config), contextlib.ExitStack() as shown:
        objective = objective or Objective(make_loss(config))
        weights = [weight for name in pretrained for weight in model.get_layer(name).trainable_weights]
        optimizer = make_optimizer(config, train.steps_per_epoch, weights)
        penalize_kernels(model, config.l2)
        steps = _compile(model, objective, optimizer, jit)
        monitor = _Monitor(config.monitor if measure else "val_loss", measure)
        checkpoints = Checkpoints(folder / "checkpoint", monitor.name)
        history = checkpoints.restore(model)
        names = [metric.name for metric in objective.metrics]
        end = dataclasses.replace(config, epochs=min(config.epochs, until or config.epochs))
        log = _EpochLog(checkpoints, history, end, folder, on_epoch, steps, names, monitor)
        averages = [AverageWhileValidating()] if config.ema else []
        bar = _EpochBar(progress or SilentProgress(), label, end.epochs, train.steps_per_epoch, shown)
        board = keras.callbacks.TensorBoard(str(folder / "tensorboard"), profile_batch=0)
        if not _finished(history, end, monitor.name):
            model.fit(
                distribute_batches(train.from_epoch(len(history)), strategy),
                # Endless, with its length given: Keras cannot see the length of distributed datasets.
                validation_data=distribute_batches(validation.repeat(), strategy),
                validation_steps=len(validation),
                initial_epoch=len(history),
                epochs=end.epochs,
                steps_per_epoch=train.steps_per_epoch,
                # Before a validation, averages precede statistics, which are of the weights that are validated;
                # after it, the metric is measured before the weights are restored.
                callbacks=[monitor, *averages, RecalibrateBatchNorm(train), log, board, bar],
                verbose=0,
            )
        checkpoints.load_best(model)
    return FitResult(history, best_epoch(history, monitor.name) + 1)


def _compile(
    model: keras.Model, objective: Objective, optimizer: keras.optimizers.Optimizer, jit: bool
) -> TimedFunction:
    """Compile `model` and return its training function."""
    strategy, loss = model.distribute_strategy, objective.loss
    if strategy.num_replicas_in_sync > 1:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Model doesn't support `jit_compile=True`")  # reported below
        # Keras weights its own mean loss by the sizes of shares; this one is exact on any number of replicas.
        mean = objective.mean or keras.metrics.MeanMetricWrapper(loss.fn, name=MEAN_LOSS)
        model.compile(optimizer, loss, weighted_metrics=[mean, *objective.metrics], jit_compile=jit)
    if model.jit_compile != jit:
        raise ConfigError(
            f"XLA cannot compile {model.name} on this machine, because of cuDNN's recurrent layers; train that "
            "model without --jit."
        )
    # Built before the first step is traced, else the initial loss scale would be a constant of that step.
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    model.make_test_function()
    steps = TimedFunction(model.train_function, strategy)
    model.train_function = steps  # Keras makes its own only where there is none
    model.test_function = TimedFunction(model.test_function, strategy)
    return steps


@contextlib.contextmanager
def _clear_errors(model: keras.Model, config: TrainingConfig) -> Iterator[None]:
    """Replace TensorFlow's errors by errors a user can act on."""
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


class _Monitor(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures the metric that decides which epoch is the best, at the end of each validation."""

    def __init__(self, name: str, measure: Callable[[], float] | None) -> None:
        super().__init__()
        self.name, self._measure = name, measure
        self.metrics: dict[str, float] = {}

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        if self._measure:
            self.metrics = {self.name: self._measure()}


class _EpochBar(keras.callbacks.Callback):  # type: ignore[misc]
    """Shows the steps of each epoch and the mean loss so far; `shown` holds what is on the screen."""

    def __init__(
        self, progress: Progress, label: str, n_epochs: int, n_steps: int, shown: contextlib.ExitStack
    ) -> None:
        super().__init__()
        self._progress, self._label, self._n_epochs = progress, label, n_epochs
        self._n_steps, self._shown = n_steps, shown

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._description = f"{self._label}: epoch {epoch + 1} of {self._n_epochs}"
        self._loss = ""
        task = self._progress.task(lambda: self._description + self._loss, self._n_steps)
        self._advance = self._shown.enter_context(task)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._loss = f", loss {(logs or {})[MEAN_LOSS]:.4f}"
        self._advance(1)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._shown.close()


class _EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Times epochs, stores checkpoints, and stops early."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        history: list[Epoch],
        config: TrainingConfig,
        folder: Path,
        on_epoch: Callable[[int, Epoch], None],
        steps: TimedFunction,
        metrics: list[str],
        monitor: _Monitor,
    ) -> None:
        super().__init__()
        self._monitor = monitor
        self._checkpoints, self._history, self._config = checkpoints, history, config
        self._folder, self._on_epoch, self._steps, self._metrics = folder, on_epoch, steps, metrics

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._began = time.perf_counter()
        self._steps.restart()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        metrics = {f"{part}loss": float(logs[part + MEAN_LOSS]) for part in ("", "val_")}
        metrics |= self._monitor.metrics
        if not all(map(math.isfinite, metrics.values())):
            raise DivergenceError(
                f"Training diverged: in epoch {epoch + 1} the loss is {metrics['loss']} and the validation loss "
                f"{metrics['val_loss']}; try a lower learning rate (--set training.learning_rate=...)."
            )
        metrics |= {part + name: float(logs[part + name]) for name in self._metrics for part in ("", "val_")}
        metrics["seconds"] = time.perf_counter() - self._began
        metrics.update(self._steps.speed())
        self._history.append(metrics)
        self._checkpoints.store(self.model, self._history)
        write_metrics(self._folder, self._history)
        self._on_epoch(epoch + 1, metrics)
        self.model.stop_training = _finished(self._history, self._config, self._monitor.name)


def _finished(history: list[Epoch], config: TrainingConfig, monitor: str) -> bool:
    if not history:
        return False
    waited = len(history) - 1 - best_epoch(history, monitor)
    return len(history) >= config.epochs or bool(config.patience and waited >= config.patience)
