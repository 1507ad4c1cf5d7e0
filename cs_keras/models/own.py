"""Baselines that a program registers itself, without a file in this package: see `register_baseline`."""

import dataclasses
import hashlib
import inspect
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import replace
from cs_keras.errors import ConfigError, StorageError
from cs_keras.layers.waveform import audio_input
from cs_keras.models import load_model
from cs_keras.models.blocks import input_spectrogram
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.registry import REGISTRY, Entry
from cs_keras.models.regressors import OUTPUT
from cs_keras.models.spaces import shared_space
from cs_keras.models.spec import Baseline
from cs_keras.run_files.names import MODEL_FILE
from cs_keras.runs import digest

MODULE = "own"  # of the entries in the registry

Network = Callable[[Any, int], Any]

VARIANTS: dict[str, Baseline] = {}
_NETWORKS: dict[str, Network | keras.Model] = {}


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the network.

    Attributes
    ----------
    source
        SHA-256 of the function's source and of what it refers to, or of a model's layers and weights, so that a
        changed network is another run.
    """

    source: str = ""


def register_baseline(
    key: str, network: Network | keras.Model, settings: Mapping[str, Any] | None = None
) -> None:
    """Make a network of your own a baseline, which `run_baselines` trains and evaluates as any other.

    Parameters
    ----------
    key
        Its name, of lower-case letters, digits and hyphens. A name of your own can be registered again.
    network
        Function from a Keras tensor, the decibel mel spectrogram, shape (batch, frames, n_mels, 1), and the number
        of factors to a Keras tensor, shape (batch, n_factors). Or a model, built already, with an output of shape
        (batch, n_factors): from the decibel mel spectrogram, or from frames of the dataset, shape (batch, frames,
        frame_size), with a front end of its own (`build_front_end`). Each training starts from a copy of the model
        with its present weights. Layers and functions of your own have the decorator
        ``keras.saving.register_keras_serializable()``, without which Keras loads no saved model of them.
    settings
        Nested settings of ``cs-keras settings`` that differ from the defaults, such as
        ``{"training": {"epochs": 10}, "sequence": {"frames": 128}}``.

    Raises
    ------
    ConfigError
        When the key is another model's, a setting is wrong, a model cannot be copied, or loaded once it is saved, a
        function's source cannot be read, or it refers to a layer that exists already, which every training would
        go on with.

    Examples
    --------
    >>> import keras
    >>> import cs_keras as cs
    >>> def tiny(mel, n_factors):
    ...     mean = keras.layers.GlobalAveragePooling2D()(mel)
    ...     return keras.layers.Dense(n_factors)(mean)
    >>> cs.register_baseline("tiny", tiny, {"training": {"epochs": 2}})
    >>> dense = keras.Sequential([cs.build_front_end(frames=64), keras.layers.Flatten(), keras.layers.Dense(32)])
    >>> cs.register_baseline("dense", dense, {"sequence": {"frames": 64}})
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key):
        raise ConfigError(f"A key has lower-case letters, digits and hyphens. Received: {key!r}.")
    if key in REGISTRY and REGISTRY[key].module != MODULE:
        raise ConfigError(f"There is a model {key!r} already; choose another key.")
    if isinstance(network, keras.Model):
        network = _copy(network)
        _require_loadable(f"The model {network.name}", network)
        summary, source = f"The model {network.name}", _describe_model(network)
    else:
        try:
            summary, source = inspect.getdoc(network) or key, _describe(network, set())
        except (OSError, TypeError) as error:
            raise ConfigError(
                f"The source of {network!r} cannot be read; expected a function of a file."
            ) from error
    VARIANTS[key] = replace(Baseline(key, Config(digest(source))), dict(settings or {}))
    REGISTRY[key] = Entry(MODULE, "Own models", summary.partition("\n")[0], 0, "")
    _NETWORKS[key] = network


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the network."""
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    network = _NETWORKS[baseline.key]
    has_front_end = isinstance(network, keras.Model) and len(network.input_shape) == 3
    x = inputs if has_front_end else input_spectrogram(magnitude, baseline, audio)
    try:
        outputs = _copy(network)(x) if isinstance(network, keras.Model) else network(x, n_factors)
    except ValueError as error:  # of Keras, for input of another shape
        raise ConfigError(
            f"The network of {baseline.key} cannot take shape {tuple(x.shape)}: {_reason(error)}"
        ) from error
    shape = getattr(outputs, "shape", None)  # several outputs are a list
    if shape != (None, n_factors):
        raise ConfigError(
            f"The network of {baseline.key} must return shape (None, {n_factors}). "
            f"Received: {type(outputs).__name__ if shape is None else tuple(shape)}."
        )
    outputs = keras.layers.Activation("linear", dtype="float32", name=OUTPUT)(outputs)
    model = keras.Model(inputs, outputs, name=baseline.key)
    _require_loadable(f"The network of {baseline.key}", model)
    return model


def _describe_model(model: keras.Model) -> list[Any]:
    """Return layers and digests of the weights."""
    return [model.to_json(), [hashlib.sha256(weight.tobytes()).hexdigest() for weight in model.get_weights()]]


def _copy(model: keras.Model) -> keras.Model:
    """Return a model of the same layers and weights, which can be trained without a change of `model`.

    ConfigError when it is not built, or Keras cannot copy it.
    """
    if not model.built:
        raise ConfigError(f"The model {model.name} is not built; begin it with keras.Input.")
    try:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The model {model.name} cannot be copied: expected layers and a model that Keras can build from "
            f"their get_config. Received: {_reason(error)}"
        ) from error
    return copy


def _require_loadable(name: str, model: keras.Model) -> None:
    """Raise ConfigError unless Keras loads a model that it has saved, which would else fail after the training."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        try:
            model.save(path)
            load_model(path)
        except Exception as error:  # Keras's of many kinds, and those of the layers' own code
            cause = error.__cause__ if isinstance(error, StorageError) and error.__cause__ else error
            unknown = re.search(r"Could not locate (\w+ '[^']+')", str(cause))
            raise ConfigError(
                f"{name} cannot be loaded once it is saved: expected layers and functions of Keras, or your own "
                "with the decorator keras.saving.register_keras_serializable(), and no lambda. Received: "
                f"{f'{unknown[1]}.' if unknown else _reason(cause)}"
            ) from error


def _reason(error: BaseException) -> str:
    """Return the first line in which an error of Keras says what was wrong."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()  # codes of bold text
    said = (line.strip() for line in lines if not line.startswith("Exception encountered when calling"))
    return next(filter(None, said), type(error).__name__)


def _holds_layer(value: Any) -> bool:
    """Return whether `value` is a layer or model, or a list, tuple or mapping with one."""
    if isinstance(value, Mapping):
        return any(map(_holds_layer, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_layer, value))
    return isinstance(value, keras.layers.Layer)


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
        elif _holds_layer(value):
            raise ConfigError(
                f"{function.__name__} refers to the layer or model {name}, which every training would go on with: "
                "build it inside of the function, load it there from a file, or register a whole model."
            )
        elif not inspect.ismodule(value):
            described.append([name, re.sub(r" at 0x[0-9a-f]+", "", repr(value))])  # another in each process
    return described


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of training and input from `hp`."""
    return shared_space(hp, baseline)
