"""What leads from features that are computed once to factors: dense layers, ridge or support vector regression."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.kernel_regression import KernelRegression
from cs_keras.models.spaces import DENSE, DROPOUT, choose, draw, training_space
from cs_keras.models.spec import Baseline, dense_head

REGRESSORS = ("dense", "ridge", "svm")
OUTPUT = "factors"  # name of the last layer, whichever regressor


@dataclasses.dataclass(frozen=True)
class RegressorConfig:
    """Settings of the regressor, beside those of the features in a model's own ``Config``.

    Ridge and svm are solved, not trained by gradients. Of ``training`` they take the batch size alone, by which
    features are computed; what they minimise is their own, so ``training.loss`` must be ``mse``.

    Attributes
    ----------
    regressor
        ``dense``: dense layers; ``ridge``: a linear map; ``svm``: for each factor a support vector regression with
        Gaussian kernels.
    dense, dropout
        Of ``dense``: neurons of each hidden layer, and the share of their outputs dropped in training.
    penalty
        Of ``ridge``: ``penalty * sum(w**2)`` is added to the squared error summed over examples; scikit-learn's
        `alpha`.
    C, epsilon
        Of ``svm``: weight of errors beside smoothness, and the error of a scaled factor that costs nothing.
    gamma
        Of ``svm``: kernels are ``exp(-gamma * |x - y|² / (n_features * variance))``, with the variance of all
        features together; 1 is scikit-learn's ``scale``.
    max_examples
        Of ``svm``: of more examples a random sample is used, as memory grows with their square and time faster.
    """

    regressor: str = "dense"
    dense: tuple[int, ...] = (1024, 1024, 1024)
    dropout: float = 0.0
    penalty: float = 100.0
    C: float = 1.0
    epsilon: float = 0.1
    gamma: float = 1.0
    max_examples: int = 2000

    def __post_init__(self) -> None:
        check_choice("model.regressor", self.regressor, REGRESSORS)
        for n in self.dense:
            check_range("model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_range("model.epsilon", self.epsilon, 0)
        check_range("model.max_examples", self.max_examples, 2)
        for name in ("penalty", "C", "gamma"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"model.{name} must be above 0. Received: {getattr(self, name)}.")


HEAD_SETTINGS = tuple(field.name for field in dataclasses.fields(RegressorConfig))
"""Of a model's Config: no feature depends on them."""


def regressor_head(x: Any, config: RegressorConfig, n_factors: int) -> Any:
    """Return scaled factors, zero until the regressor is trained or solved.

    Parameters
    ----------
    x
        Keras tensor, shape (batch, n).
    config
        Which regressor.
    n_factors
        Outputs.

    Returns
    -------
    KerasTensor
        Shape (batch, n_factors), float32.
    """
    if config.regressor == "svm":
        return KernelRegression(0, x.shape[1], n_factors, 1.0, name=OUTPUT)(x)
    is_dense = config.regressor == "dense"
    return dense_head(x, config.dense if is_dense else (), n_factors, config.dropout)


def join_stages(name: str, *stages: keras.Model) -> keras.Model:
    """Return the model `name` that leads its input, sound, through `stages` one after another."""
    x = sound = keras.Input(stages[0].input_shape[1:], name=stages[0].input.name)
    for stage in stages:
        x = stage(x)
    return keras.Model(sound, x, name=name)


def regressor_space(hp: Any, baseline: Baseline) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return changes of the regressor, and of the training that dense layers alone have.

    Parameters
    ----------
    hp
        ``keras_tuner.HyperParameters``.
    baseline
        What the search starts from; its model's settings are a `RegressorConfig`.
    """
    start = baseline.model
    model = {"regressor": choose(hp, "model.regressor", REGRESSORS, start.regressor)}
    with hp.conditional_scope("model.regressor", ["dense"]):
        model |= draw(hp, "model", {"dense": DENSE, "dropout": DROPOUT}, start)
        training = training_space(hp, baseline)
    with hp.conditional_scope("model.regressor", ["ridge"]):
        model |= draw_logarithmic(hp, {"penalty": (1.0, 1e7)}, start)
    with hp.conditional_scope("model.regressor", ["svm"]):
        model |= draw(hp, "model", {"epsilon": (0.03, 0.1, 0.3)}, start)
        model |= draw_logarithmic(hp, {"C": (0.1, 10.0), "gamma": (0.03, 3.0)}, start)
    return model, training


def draw_logarithmic(hp: Any, ranges: Mapping[str, tuple[float, float]], start: Any) -> dict[str, float]:
    """Return a number for each setting of a model that is active, by its logarithm between two others.

    Parameters
    ----------
    hp
        ``keras_tuner.HyperParameters``.
    ranges
        Lowest and highest number for each setting; a default beyond them widens them.
    start
        ``Config`` whose values are the defaults.
    """
    drawn = {}
    for name, (low, high) in ranges.items():
        default = getattr(start, name)
        drawn[name] = hp.Float(
            f"model.{name}", min(low, default), max(high, default), sampling="log", default=default
        )
    return {name: value for name, value in drawn.items() if value is not None}
