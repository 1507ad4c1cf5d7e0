"""Distribution of batches to devices: shares of replicas, prefetching to GPUs, and throughput."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import tensorflow as tf

from cs_keras.data.batches import without_autotuning

Logs = dict[str, Any]


class Batches(Protocol):
    """Training batches that can start at any epoch."""

    steps_per_epoch: int

    def from_epoch(self, epoch: int) -> tf.data.Dataset:
        """Return endless (input, target) batches, starting with the first of `epoch`."""


def distribute_batches(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Any:
    """Return `dataset` as `strategy`'s devices take it: prefetched to GPUs, in the dtype it has.

    On one device batches stay as they are. On several each gets an equal share of every batch, and sample weights
    are added that make weighted means over all replicas those of the undivided batch; see `split_over_replicas`.
    """
    dataset = without_autotuning(dataset)
    n_replicas = strategy.num_replicas_in_sync
    if n_replicas == 1:
        return prefetch_to_gpu(dataset)
    shares = dataset.map(lambda *batch: split_over_replicas(batch, n_replicas)).unbatch()
    return strategy.distribute_datasets_from_function(lambda context: shares)


def prefetch_to_gpu(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` with its batches prefetched to the first GPU, or as it is where there is none."""
    gpus = tf.config.list_logical_devices("GPU")
    return dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name)) if gpus else dataset


def split_over_replicas(batch: tuple[tf.Tensor, ...], n_replicas: int) -> tuple[tf.Tensor, ...]:
    """Return tensors, shape (n, ...), with an axis of replicas in front, and a weight for each example, float32.

    Of n examples each replica gets n // n_replicas of its own, with weight 1. The remainder goes to every replica
    with weight 1 / n_replicas. So shares are never empty and have the same shape, every replica's weights sum to n
    / n_replicas, and losses and gradients are those of the undivided batch.
    """
    n = tf.shape(batch[0])[0]
    n_own = n // n_replicas

    def share(values: tf.Tensor) -> tf.Tensor:
        own = tf.reshape(values[: n_replicas * n_own], (n_replicas, n_own, *values.shape[1:]))
        left_over = tf.repeat(values[tf.newaxis, n_replicas * n_own :], n_replicas, axis=0)
        return tf.concat([own, left_over], axis=1)

    weights = [tf.ones((n_replicas, n_own)), tf.fill((n_replicas, n % n_replicas), 1 / n_replicas)]
    return *map(share, batch), tf.concat(weights, axis=1)


class TimedFunction:
    """A train or test function of Keras's that fetches its batch on the host, so that waiting for it can be timed.

    Keras's own fetches inside the compiled step, where waiting and computing cannot be distinguished.
    """

    def __init__(self, function: Callable[[Iterator[Any]], Logs], strategy: tf.distribute.Strategy) -> None:
        self._function, self._strategy = function, strategy
        self._step: Callable[[Any], Logs] | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a measurement."""
        self._began = time.perf_counter()
        self._seconds = self._waited = 0.0
        self._n_sequences = self._n_bytes = 0

    def __call__(self, iterator: Any) -> Logs:
        """Run one step on the next batch of `iterator`, an iterator of tf.data, and return its figures."""
        step = self._step or self._trace(iterator.element_spec)
        requested = time.perf_counter()
        batch = next(iterator)
        self._waited += time.perf_counter() - requested
        # Reading the figures waits for the devices, so that they are idle whenever the next batch is waited for.
        logs = {name: value.numpy() for name, value in step(batch).items()}
        for inputs in self._strategy.experimental_local_results(batch[0]):
            self._n_sequences += inputs.shape[0]
            self._n_bytes += inputs.shape.num_elements() * inputs.dtype.size
        self._seconds = time.perf_counter() - self._began
        return logs

    def _trace(self, element_spec: Any) -> Callable[[Any], Logs]:
        """Return the function of a batch, traced once for batches of any size, the last and smaller one too."""
        function = self._function

        def step(batch: Any) -> Logs:
            return function(iter([batch]))

        self._step = tf.function(step, input_signature=[element_spec], autograph=False)
        return self._step

    def speed(self) -> dict[str, float]:
        """Return speed from the start of the measurement to the end of the last step.

        ``sequences_per_s`` and ``mb_per_s`` (10⁶ bytes of input) count what was delivered to the devices;
        ``input_wait_share`` is the share of time, 0 to 1, in which they stood idle because a batch was not ready.
        """
        return {
            "sequences_per_s": self._n_sequences / self._seconds,
            "mb_per_s": self._n_bytes / 1e6 / self._seconds,
            "input_wait_share": self._waited / self._seconds,
        }
