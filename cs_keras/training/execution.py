"""Execution of a model: dtype policy, XLA, and the devices that share a batch."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import keras
import tensorflow as tf

from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError

DTYPE_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
    """Execution settings of a network; all published numbers were computed with the defaults.

    Attributes
    ----------
    dtype_policy
        Keras's policy: ``float32``; ``mixed_float16``, which computes in float16 on float32 variables and scales
        the loss; or ``mixed_bfloat16``. The front end and the output layer stay float32 under each.
    jit
        Compile training and prediction with XLA.
    devices
        GPUs that share every batch, or None for as many of those there are as divide the batch size.
    """

    dtype_policy: str = "float32"
    jit: bool = False
    devices: int | None = None

    def __post_init__(self) -> None:
        check_choice("execution.dtype_policy", self.dtype_policy, DTYPE_POLICIES)
        if self.devices is not None:
            check_range("execution.devices", self.devices, 1)
        if self.jit and (self.devices or 1) > 1:
            raise ConfigError(
                "execution.jit compiles for one device, so execution.devices must be 1 with it. "
                f"Received: {self.devices}."
            )


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set the dtype policy of layers created in this context."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def choose_devices(config: ExecutionConfig, batch_size: int) -> tuple[str, ...]:
    """Return the names of the devices to train on: GPUs, or where there is none the CPU.

    `batch_size` is that of all devices together. Raises ConfigError when there are fewer devices than configured,
    or they cannot share a batch equally.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = tuple(device.name for device in devices)
    if config.devices is None:
        n = 1 if config.jit else max(n for n in range(1, len(names) + 1) if batch_size % n == 0)
        return names[:n]
    if config.devices > len(names):
        raise ConfigError(
            f"execution.devices must be at most {len(names)}, as TensorFlow finds {', '.join(names)} on this "
            f"machine. Received: {config.devices}."
        )
    if batch_size % config.devices:
        raise ConfigError(
            f"training.batch_size must be a multiple of execution.devices = {config.devices}. "
            f"Received: {batch_size}."
        )
    return names[: config.devices]


@functools.cache
def make_strategy(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """Return the strategy under whose scope to build a model for `devices`: mirrored when there are several.

    The same devices get the same strategy: two would use the same numbers for their collective operations, and
    TensorFlow would confuse those of different models.
    """
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()
