"""Networks that predict a distribution of each factor: their outputs, and the moments of these.

With ``training.loss = gaussian_nll`` a network predicts a normal distribution of each scaled factor
(heteroscedastic regression: Nix & Weigend 1994), with ``mixture_nll`` a mixture of normal distributions with
diagonal covariance (mixture density network: Bishop 1994). Its layer ``factors`` then has the parameters, followed
by the layer ``moments``: the mean and the mean square of each factor. The model's output is the mean alone.

Moments are averaged over the sequences of a track, as outputs of any model are. Their mean is the moments of the
mixture of the sequences' distributions, so that its variance is, by the law of total variance, the mean of the
variances plus the variance of the means.
"""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.models import model_module
from cs_keras.models.regressors import OUTPUT
from cs_keras.models.spec import Baseline

MOMENTS = "moments"  # name of the layer
MIN_DEVIATION = 0.01  # of a scaled factor; without a floor, targets met exactly have no finite likelihood
_UNIT = math.log(math.expm1(1 - MIN_DEVIATION))  # with which the deviation of an untrained network is 1

Matrix = npt.NDArray[np.float32]


def build_network(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build a baseline by its file, with the moments of its distribution where its loss is of one.

    See `cs_keras.models.declaration.ModelFile.build` for parameters, result and errors.
    """
    n_parameters = count_parameters(n_factors, baseline.training.n_distributions)
    network = model_module(baseline.key).build(baseline, n_parameters, audio)
    return add_moments(network, n_factors, baseline.training.n_distributions)


def count_parameters(n_factors: int, n_distributions: int) -> int:
    """Return the number of outputs of the layer ``factors``: the factors themselves without distributions."""
    if not n_distributions:
        return n_factors
    return 2 * n_factors * n_distributions + (n_distributions if n_distributions > 1 else 0)


def split_parameters(parameters: Any, n_factors: int, n_distributions: int) -> tuple[Any, Any, Any]:
    """Return log weights, means and standard deviations of normal distributions.

    Parameters
    ----------
    parameters
        Output of the layer ``factors``, shape (batch, `count_parameters`), float32. Zeros stand for equal weights,
        deviations of 1, and means that are evenly spaced from -1 to 1, as equal ones would stay equal; the mean of
        a single distribution is 0.

    Returns
    -------
    log_weights, means, deviations
        Shapes (batch, n_distributions), and twice (batch, n_distributions, n_factors); deviations of at least
        `MIN_DEVIATION`.
    """
    n, shape = n_distributions * n_factors, (-1, n_distributions, n_factors)
    means = ops.reshape(parameters[:, :n], shape)
    deviations = MIN_DEVIATION + ops.softplus(ops.reshape(parameters[:, n : 2 * n], shape) + _UNIT)
    if n_distributions == 1:
        return ops.zeros_like(parameters[:, :1]), means, deviations
    # Number by number: Keras misplaces the axes of an array that is a constant of a functional model.
    starts = enumerate(np.linspace(-1, 1, n_distributions).tolist())
    means = ops.stack([means[:, number] + start for number, start in starts], axis=1)
    return ops.log_softmax(parameters[:, 2 * n :]), means, deviations


def add_moments(network: keras.Model, n_factors: int, n_distributions: int) -> keras.Model:
    """Return `network` with moments and mean of the distributions that it has the parameters of, if it has any.

    From the same input to the mean of scaled factors, shape (batch, n_factors), float32.
    """
    if not n_distributions:
        return network
    log_weights, means, deviations = split_parameters(network.output, n_factors, n_distributions)
    weights = ops.expand_dims(ops.exp(log_weights), -1)
    mean = ops.sum(weights * means, axis=1)
    square = ops.sum(weights * (ops.square(deviations) + ops.square(means)), axis=1)
    moments = keras.layers.Concatenate(dtype="float32", name=MOMENTS)([mean, square])
    return keras.Model(network.input, moments[:, :n_factors], name=network.name)


def trained_part(model: keras.Model) -> keras.Model:
    """Return the model whose output the loss takes: `model`, or its part up to the parameters of distributions."""
    return _cut(model, OUTPUT)


def moments_model(model: keras.Model) -> keras.Model:
    """Return the model whose outputs are averaged over sequences: `model`, or its part up to the moments.

    These have shape (batch, 2 * n_factors): means, then mean squares.
    """
    return _cut(model, MOMENTS)


def _cut(model: keras.Model, name: str) -> keras.Model:
    """Return `model` up to a layer, with shared weights, if it predicts a distribution of each factor."""
    if all(layer.name != MOMENTS for layer in model.layers):
        return model
    return keras.Model(model.input, model.get_layer(name).output, name=model.name)


def split_moments(outputs: Matrix, n_factors: int) -> tuple[Matrix, Matrix | None]:
    """Return mean and standard deviation of scaled factors, twice shape (n, n_factors), float32.

    `outputs` are of `moments_model`, (n, 2 * n_factors); of models without moments, (n, n_factors), the deviation
    is None. It is at least `MIN_DEVIATION`, which rounding could otherwise undercut.
    """
    mean = outputs[:, :n_factors]
    if outputs.shape[1] == n_factors:
        return mean, None
    variance = outputs[:, n_factors:].astype(np.float64) - np.square(mean.astype(np.float64))
    return mean, np.sqrt(np.maximum(variance, MIN_DEVIATION**2)).astype(np.float32)
