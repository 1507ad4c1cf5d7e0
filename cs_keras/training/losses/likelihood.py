"""The negative log-likelihood of factors under the distributions that a network predicts."""

import math
from typing import Any

import keras
from keras import ops

from cs_keras.models.distribution import split_parameters
from cs_keras.training.losses.objective import FunctionLoss


def negative_log_likelihood(n_factors: int, n_distributions: int) -> keras.losses.Loss:
    """Return the loss of (targets, parameters) to (batch,), float32, in nats per factor.

    Targets are scaled factors, shape (batch, n_factors); parameters those of `n_distributions` normal distributions
    with diagonal covariance; see `cs_keras.models.distribution.split_parameters`. With weights w, means m and
    deviations s it is (Nix & Weigend 1994, of one distribution; Bishop 1994, of several)::

        -log sum_k w_k prod_f N(y_f; m_kf, s_kf²) / n_factors
    """

    def loss(targets: Any, parameters: Any) -> Any:
        log_weights, means, deviations = split_parameters(
            ops.cast(parameters, "float32"), n_factors, n_distributions
        )
        errors = (ops.expand_dims(ops.cast(targets, "float32"), 1) - means) / deviations
        log_densities = -0.5 * ops.square(errors) - ops.log(deviations) - 0.5 * math.log(2 * math.pi)
        return -ops.logsumexp(log_weights + ops.sum(log_densities, axis=2), axis=1) / n_factors

    return FunctionLoss(loss, "nll")
