"""Values inside a trained network: after its front end, of the kernels of convolutions, and of layers' outputs."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from cs_keras.models.taps import CONVOLUTIONS, FRONT_END, SAME_UNITS
from cs_keras.run_files.inspection import NetworkView
from cs_keras.training.hidden_layers import cut_model, list_hidden_layers

Matrix = npt.NDArray[np.float32]

N_VALUES = 20_000  # of a front end's layer that are kept
N_FILTERS = 16  # filters, and input channels, of a convolution
N_MAPS = 4  # feature maps of a layer
BATCH = 16

_LEARNED = (*CONVOLUTIONS, keras.layers.SeparableConv2D, keras.layers.RNN, keras.layers.Dense)


def view_network(model: keras.Model, windows: Matrix, example: int) -> NetworkView:
    """Return what the pictures of a network show.

    Parameters
    ----------
    model
        Maps (batch, frames, frame_size) to factors.
    windows
        Windows whose values are sampled, shape (n_windows, frames, frame_size), float32.
    example
        Number of the window whose activations are returned.

    Returns
    -------
    NetworkView
        Activations are those of the front end, and of layers with weights after their norm and activation.
    """
    names = [layer.name for layer in list_hidden_layers(model)]
    layers = {name: _find_layer(model, name) for name in names}
    front_end = [name for name, layer in layers.items() if isinstance(layer, FRONT_END)]
    shown = [*front_end, *(name for name in _learned(layers) if name not in front_end)]
    return NetworkView(
        {name: _sample_values(cut_model(model, name), windows) for name in front_end},
        {name: _kernels(layer) for name, layer in layers.items() if isinstance(layer, CONVOLUTIONS)},
        {name: _choose_maps(_run(cut_model(model, name), windows[[example]])[0]) for name in shown},
    )


def _find_layer(model: keras.Model, name: str) -> Any:
    for part in name.split("/"):
        model = next(one for one in model.operations if one.name == part)
    return model


def _learned(layers: dict[str, Any]) -> Iterator[str]:
    """Yield the layers with weights, or the last of the layers after each that have the same units."""
    last = ""
    for name, layer in layers.items():
        if last and not isinstance(layer, SAME_UNITS):
            yield last
            last = ""
        if isinstance(layer, _LEARNED) or last:
            last = name
    if last:
        yield last


def _run(model: keras.Model, windows: Matrix) -> Matrix:
    outputs = model(windows, training=False)
    return np.asarray(keras.ops.convert_to_numpy(outputs), np.float32)


def _sample_values(model: keras.Model, windows: Matrix) -> Matrix:
    """Return a random sample of a layer's outputs for all windows, shape (n_values,)."""
    share, rng, parts = -(-N_VALUES // len(windows)), np.random.default_rng(0), []
    for first in range(0, len(windows), BATCH):
        values = _run(model, windows[first : first + BATCH])
        parts.append(rng.choice(values.ravel(), len(values) * share))
    return np.concatenate(parts)


def _kernels(layer: Any) -> Matrix:
    """Return kernels, (n_filters, n_channels, n_first, n_second), of the largest norms in their own order."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
    if kernel.ndim == 3:  # its input channels are an axis of the picture
        kernel = kernel[:, :, np.newaxis]
    kernel = kernel.transpose(3, 2, 0, 1)
    for axis in (0, 1):
        norms = np.square(kernel, dtype=np.float64).sum(axis=tuple(i for i in range(4) if i != axis))
        kernel = kernel.take(np.sort(np.argsort(-norms, kind="stable")[:N_FILTERS]), axis=axis)
    return np.ascontiguousarray(kernel)


def _choose_maps(output: Matrix) -> Matrix:
    """Return the feature maps of the largest variance in their own order; other outputs as they are."""
    if output.ndim < 3:
        return output
    spread = output.reshape(-1, output.shape[-1]).var(axis=0, dtype=np.float64)
    return output[..., np.sort(np.argsort(-spread, kind="stable")[:N_MAPS])]
