"""A trained network with inner activations as further outputs: spectrogram, first layer, last hidden layer."""

import dataclasses
from typing import Any

import kapre
import keras
import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.layers.front_end import Decibel

FRONT_END = (Decibel, kapre.ApplyFilterbank)
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D)
SAME_UNITS = (  # layers between a convolution and the next layer with weights of its own
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.ReLU,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FirstLayer:
    """The first convolution of a network whose kernel covers more than one point of the spectrogram.

    Kernels are summed over input channels, shape (n_filters, n_frames, n_mels), float32; one that spans a whole
    axis has the length of that axis. Edges are numbers of positions, (first, last), at either end of its output
    that depend on padding.
    """

    name: str
    kernels: npt.NDArray[np.float32]
    edge_steps: tuple[int, int]
    edge_mels: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class TappedModel:
    """A network with its inner outputs.

    Attributes
    ----------
    model
        Audio, (batch, frames, frame_size), to a dict of float32 tensors, as far as they exist: ``mel`` (batch,
        frames, n_mels), decibels; ``filters`` (batch, n_steps, n_mels, n_filters), the first layer after its norm
        and activation; ``units`` (batch, n_units), the last hidden dense layer.
    first
        The layer of ``filters``.
    top
        Name of the layer of ``units``.
    """

    model: keras.Model
    first: FirstLayer | None
    top: str | None


def tap_model(model: keras.Model) -> TappedModel:
    """Add inner outputs to a functional model; layers and weights are shared with `model`.

    Nested models are searched too. Only a convolution after a front end of this package counts: others do not see
    mel bands. Raises DataError when there is neither a convolution nor a hidden dense layer.
    """
    watcher = _Watcher()
    whole = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=watcher.call, recursive=True
    )
    found = {name: tensor for name, (_, tensor) in watcher.found.items()}
    if not {"filters", "units"} & set(found):
        raise DataError(f"The network {model.name} has neither a convolution nor a hidden dense layer.")
    outputs = {}
    if "mel" in found:
        outputs["mel"] = keras.ops.squeeze(found["mel"], -1)
    if "filters" in found:
        outputs["filters"] = _by_time_and_mel(found["filters"], watcher.time_axis)
    if "units" in found:
        outputs["units"] = found["units"]
    floats = {name: keras.ops.cast(tensor, "float32") for name, tensor in outputs.items()}
    first = _first_layer(watcher.convolution, watcher.time_axis) if watcher.convolution else None
    return TappedModel(keras.Model(whole.input, floats), first, watcher.top)


class _Watcher:
    """Records the outputs of interest while the layers of a model are called in order."""

    def __init__(self) -> None:
        # Layer and output of "mel", "filters", "units" and "last dense".
        self.found: dict[str, tuple[Any, Any]] = {}
        self.convolution: Any = None
        self.time_axis = 1  # of the input of the convolution
        self.top: str | None = None
        self._last = ""  # dense layer

    def call(self, layer: Any, *inputs: Any, **options: Any) -> Any:
        if isinstance(layer, keras.Model):
            return self._call_model(layer, *inputs)
        outputs = layer(*inputs, **options)
        if isinstance(layer, FRONT_END) and self.convolution is None:
            self.found["mel"] = layer, outputs
        elif isinstance(layer, keras.layers.Permute) and self.convolution is None:
            self.time_axis = layer.dims.index(self.time_axis) + 1
        elif (  # the first convolution; one of 1 x 1 only mixes channels
            self.convolution is None
            and "mel" in self.found
            and isinstance(layer, CONVOLUTIONS)
            and max(layer.kernel_size) > 1
        ):
            self.convolution = layer
            self.found["filters"] = layer, outputs
        elif isinstance(layer, SAME_UNITS) and inputs[0] is self._output("filters"):
            self.found["filters"] = layer, outputs
        elif isinstance(layer, keras.layers.Dense):
            if "last dense" in self.found:  # hidden: the last dense layer outputs factors
                self.found["units"], self.top = self.found["last dense"], self._last
            self.found["last dense"], self._last = (layer, outputs), layer.name
        return outputs

    def _call_model(self, model: keras.Model, x: Any) -> Any:
        """Call a nested model, whose layers were called before, with the outputs found in it."""
        own = [name for name, (layer, _) in self.found.items() if any(layer is one for one in model.layers)]
        opened = keras.Model(model.input, [model.output, *(self._output(name) for name in own)])
        outputs, *taps = opened(x) if own else (model(x),)
        for name, tensor in zip(own, taps, strict=True):
            self.found[name] = opened, tensor
        return outputs

    def _output(self, name: str) -> Any:
        return self.found.get(name, (None, None))[1]


def _by_time_and_mel(maps: Any, time_axis: int) -> Any:
    """Bring activations of any convolution to shape (batch, n_steps, n_mels, n_filters)."""
    if len(maps.shape) == 4:
        return maps if time_axis == 1 else keras.ops.transpose(maps, (0, 2, 1, 3))
    return keras.ops.expand_dims(maps, 2 if time_axis == 1 else 1)


def _first_layer(layer: Any, time_axis: int) -> FirstLayer:
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float32)
    edges = [_edge(*pair, layer.padding) for pair in zip(layer.kernel_size, layer.strides, strict=True)]
    if kernel.ndim == 4:
        kernel = kernel.sum(axis=2)
    else:  # the other axis holds the channels, and kernels span it
        edges.append((0, 0))
    kernels = np.moveaxis(kernel, -1, 0)
    if time_axis == 2:
        kernels, edges = kernels.swapaxes(1, 2), edges[::-1]
    return FirstLayer(layer.name, np.ascontiguousarray(kernels), *edges)


def _edge(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """Return the maximum number of positions at either end that depend on padding."""
    return (0, 0) if padding == "valid" else (-(-((kernel - 1) // 2) // stride), -(-(kernel // 2) // stride))
