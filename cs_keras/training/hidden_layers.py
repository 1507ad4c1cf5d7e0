"""Hidden layers of a trained network as features for other tasks.

Transfer by supervised pre-training (van den Oord, Dieleman & Schrauwen 2014): activations of the last hidden layer
of a network that predicts factors; or of any other layer, means of its maps, as Choi et al. (2017) do.
"""

import dataclasses
import difflib
from typing import Any

import keras

from cs_keras.errors import ConfigError
from cs_keras.models.regressors import OUTPUT

_RESCALING = (keras.layers.Dropout, keras.layers.BatchNormalization)


@dataclasses.dataclass(frozen=True)
class HiddenLayer:
    """A layer whose output can be used as features.

    Attributes
    ----------
    name
        Name of the layer; in a nested model, after the name of that model and a slash.
    shape
        Shape of its output, batch first; None where it depends on the length of a track.
    n_features
        Length of the last axis, which remains when all others are averaged over.
    is_rescaling
        Whether it only rescales the features of the layer before it.
    """

    name: str
    shape: tuple[int | None, ...]
    n_features: int
    is_rescaling: bool


def list_hidden_layers(model: keras.Model) -> list[HiddenLayer]:
    """Return the layers before the factors of a functional model, in the order of computation.

    Nested models are included. Outputs other than vectors or maps of real numbers are not, and a layer whose output
    the last one only copies, as that of `cs_keras.models.own` does, is none either.
    """
    found = _walk(model, "")
    ends = [i for i, layer in enumerate(found) if layer.name.rpartition("/")[2] == OUTPUT]
    hidden, last = found[: ends[-1] if ends else -1], model.layers[-1]
    if isinstance(last, keras.layers.Activation) and hidden:
        copied = next((layer for layer in model.layers if layer.name == hidden[-1].name), None)
        if copied is not None and copied.output is last.input:
            del hidden[-1]
    return hidden


def choose_default_layer(layers: list[HiddenLayer]) -> str:
    """Return the name of the last hidden layer that is not batch norm or dropout."""
    return next(layer.name for layer in reversed(layers) if not layer.is_rescaling)


def resolve_layer_name(layers: list[HiddenLayer], name: str) -> str:
    """Return the full name of a layer, given that or, if it is unique, the part after the last slash.

    Raises
    ------
    ConfigError
        There is no such layer, or several.
    """
    whole = [layer.name for layer in layers]
    if name in whole:
        return name
    found = [one for one in whole if one.rpartition("/")[2] == name]
    if not found:
        close = difflib.get_close_matches(name, whole, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"The model has no hidden layer {name!r}; `cs-keras features RUN --list` shows its {len(whole)}.{hint}"
        )
    if len(found) > 1:
        raise ConfigError(f"The model has {len(found)} layers {name!r}: name one of {', '.join(found)}.")
    return found[0]


def build_hidden_model(model: keras.Model, name: str) -> keras.Model:
    """Return the part of a functional model up to one layer; layers and weights are shared with `model`.

    `name` is the full name of a layer of `list_hidden_layers`. The layer's output is averaged over all axes but the
    first and the last, which leaves one number per channel or unit: shape (batch, n_features), float32.
    """
    part = cut_model(model, name)
    features = keras.ops.cast(part.output, "float32")
    axes = tuple(range(1, len(features.shape) - 1))
    return keras.Model(part.input, keras.ops.mean(features, axis=axes) if axes else features)


def cut_model(model: keras.Model, name: str) -> keras.Model:
    """Return `model` up to a layer of `list_hidden_layers`, whose output is that of the result, unchanged."""
    return _cut(model, name.split("/"))


def _walk(model: keras.Model, prefix: str) -> list[HiddenLayer]:
    found: list[HiddenLayer] = []

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        outputs = layer(*inputs, **options)
        name = f"{prefix}{layer.name}"
        if isinstance(layer, keras.Model):
            found.extend(_walk(layer, f"{name}/"))
        elif isinstance(outputs, keras.KerasTensor) and "float" in outputs.dtype:
            shape = tuple(outputs.shape)
            if len(shape) < 2 or not shape[-1]:
                return outputs
            found.append(HiddenLayer(name, shape, shape[-1], isinstance(layer, _RESCALING)))
        return outputs

    _rebuild(model, call)
    return found


def _cut(model: keras.Model, path: list[str]) -> keras.Model:
    """Return `model` up to the layer at `path`, names of models inside models first."""
    wanted: list[Any] = []

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        outputs = layer(*inputs, **options)
        if layer.name == path[0]:
            wanted.append(_cut(layer, path[1:])(*inputs) if path[1:] else outputs)
        return outputs

    rebuilt = _rebuild(model, call)
    return keras.Model(rebuilt.input, wanted[0])


def _rebuild(model: keras.Model, call: Any) -> keras.Model:
    """Rebuild `model` from its own layers, with each called by `call`."""
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
