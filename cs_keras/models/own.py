"""Baselines that a program registers itself, without a file in this package: see `register_baseline`."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import replace
from cs_keras.errors import ConfigError
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import input_spectrogram
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.registry import REGISTRY, Entry
from cs_keras.models.regressors import OUTPUT
from cs_keras.models.spaces import shared_space
from cs_keras.models.spec import Baseline
from cs_keras.runs import digest

MODULE = "own"  # of the entries in the registry

VARIANTS: dict[str, Baseline] = {}
_NETWORKS: dict[str, Callable[[Any, int], Any]] = {}


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    source
        SHA-256 of the function's source and of what it refers to, so that a changed network is another run.
    """

    source: str = ""


def register_baseline(
    key: str, network: Callable[[Any, int], Any], settings: Mapping[str, Any] | None = None
) -> None:
    """Make a network of your own a baseline, which `run_baselines` trains and evaluates as any other.

    Parameters
    ----------
    key
        Its name, of lower-case letters, digits and hyphens. A name of your own can be registered again.
    network
        Function from a Keras tensor, the decibel mel spectrogram, shape (batch, frames, n_mels, 1), and the number
        of factors to a Keras tensor, shape (batch, n_factors).
    settings
        Nested settings of ``cs-keras settings`` that differ from the defaults, such as
        ``{"training": {"epochs": 10}, "sequence": {"frames": 128}}``.

    Raises
    ------
    ConfigError
        When the key is another model's, a setting is wrong, or the function's source cannot be read.

    Examples
    --------
    >>> import keras
    >>> import cs_keras as cs
    >>> def tiny(mel, n_factors):
    ...     mean = keras.layers.GlobalAveragePooling2D()(mel)
    ...     return keras.layers.Dense(n_factors)(mean)
    >>> cs.register_baseline("tiny", tiny, {"training": {"epochs": 2}})
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key):
        raise ConfigError(f"A key has lower-case letters, digits and hyphens. Received: {key!r}.")
    if key in REGISTRY and REGISTRY[key].module != MODULE:
        raise ConfigError(f"There is a model {key!r} already; choose another key.")
    try:
        source = _describe(network, set())
    except (OSError, TypeError) as error:
        raise ConfigError(
            f"The source of {network!r} cannot be read; expected a function of a file."
        ) from error
    VARIANTS[key] = replace(Baseline(key, Config(digest(source))), dict(settings or {}))
    REGISTRY[key] = Entry(MODULE, "Own models", (inspect.getdoc(network) or key).partition("\n")[0], 0)
    _NETWORKS[key] = network


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    outputs = _NETWORKS[baseline.key](input_spectrogram(magnitude, baseline, audio), n_factors)
    if tuple(outputs.shape) != (None, n_factors):
        raise ConfigError(
            f"The network of {baseline.key} must return shape (None, {n_factors}). "
            f"Received: {tuple(outputs.shape)}."
        )
    outputs = keras.layers.Activation("linear", dtype="float32", name=OUTPUT)(outputs)
    return keras.Model(inputs, outputs, name=baseline.key)


def _describe(function: Callable[..., Any], seen: set[str]) -> list[Any]:
    """Return the source of a function, its defaults, and the values of what it refers to, of functions their own.

    OSError or TypeError when there is no source; `seen` holds names of functions that were described before.
    """
    if (
        inspect.getfile(function) == "<string>"
    ):  # of eval; Python 3.13 takes the text of `python -c` for its source
        raise OSError("there is no file")
    names = inspect.getclosurevars(function)
    described: list[Any] = [
        inspect.getsource(function),
        repr(function.__defaults__),
        repr(function.__kwdefaults__),
    ]
    for name, value in sorted({**names.globals, **names.nonlocals}.items()):
        if inspect.isfunction(value) and value.__module__ == function.__module__:
            if value.__qualname__ not in seen:
                described.append([name, _describe(value, seen | {value.__qualname__})])
        elif inspect.isroutine(value) or inspect.isclass(value):
            described.append([name, f"{value.__module__}.{value.__qualname__}"])
        elif not inspect.ismodule(value):
            described.append([name, re.sub(r" at 0x[0-9a-f]+", "", repr(value))])  # another in each process
    return described


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of training and input from `hp`."""
    return shared_space(hp, baseline)
