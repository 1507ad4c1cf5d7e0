"""Regressors from precomputed features to factors: dense layers, and others that are solved."""

import dataclasses
from typing import Any

import keras
import numpy as np

from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.kernel_regression import KernelRegression
from cs_keras.layers.tree_ensemble import TreeEnsemble
from cs_keras.models.blocks import dense_head
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, choose, draw, draw_logarithmic, training_space
from cs_keras.models.spec import Baseline

TRAINED = ("dense", "mlp")  # by gradients; others are solved
REGRESSORS = (*TRAINED, "ridge", "ridge_gcv", "kernel_ridge", "svm", "trees", "ials")
SEARCHED = tuple(name for name in REGRESSORS if name != "ials")
KERNEL_REGRESSORS = ("kernel_ridge", "svm")
OUTPUT = "factors"  # name of the last layer of every regressor
NORM = "norm_features"
MIN_VARIANCE = 1e-6  # added to each variance, so that features that hardly vary are not amplified
BLOCK = 1024  # examples


@dataclasses.dataclass(frozen=True)
class RegressorConfig(ModelConfig):
    """Settings of the regressor; a model's own ``Config`` adds those of the features.

    Ridge and svm are solved in closed form. They use only the batch size of ``training``, for computing features,
    and minimise an error of their own, so ``training.loss`` must be ``mse`` or ``unit_mse``.

    Attributes
    ----------
    regressor
        ``dense``: dense layers; ``mlp``: the same with batch norm before each activation; ``ridge``: ridge
        regression; ``ridge_gcv``: the same on standardised features, with a penalty for each factor by generalised
        cross-validation; ``kernel_ridge``: ridge regression with Gaussian kernels, whose width and penalty are
        chosen by cross-validation within the train tracks, with the tracks of an artist in one fold
        (`cs_keras.training.feature_learning.kernel_ridge`), for the lowest squared error or the best
        ``training.monitor``; ``svm``: for each factor a support vector regression with Gaussian kernels; ``trees``:
        gradient-boosted trees, whose size and number are chosen on validation tracks by ``training.monitor``
        (`cs_keras.training.feature_learning.boosted_trees`); ``ials``: a linear map that is learnt in a
        factorisation of the interactions (`cs_keras.factors.feature_als`), not from factors.
    dense, dropout
        Units of each hidden layer of ``dense`` and ``mlp``, and the dropout rate after it.
    penalty
        Penalty of ``ridge`` and ``ials``: ``penalty * sum(w**2)`` is added to the squared error summed over
        examples, as scikit-learn's `alpha`.
    C, epsilon
        Regularization parameter of ``svm``, and the width of its epsilon-tube in scaled factors.
    gamma
        Kernel coefficient of ``svm``: ``exp(-gamma * |x - y|² / (n_features * variance))``, with the variance over
        all features; 1 is scikit-learn's ``scale``.
    max_examples
        Maximum number of examples of ``svm`` and ``kernel_ridge``, drawn at random from more: memory grows
        quadratically with them.
    prior
        Weight of features in ``ials``: precision of a track's factors around the map of its features, in units of
        the mean over factors of what all playlists say about a track that none holds (the diagonal of ``XᵀX``).
    """

    regressor: str = "dense"
    dense: tuple[int, ...] = (1024, 1024, 1024)
    dropout: float = 0.0
    penalty: float = 100.0
    C: float = 1.0
    epsilon: float = 0.1
    gamma: float = 1.0
    max_examples: int = 2000
    prior: float = dataclasses.field(default=0.1, metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        check_choice("model.regressor", self.regressor, REGRESSORS)
        for n in self.dense:
            check_range("model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_range("model.epsilon", self.epsilon, 0)
        check_range("model.max_examples", self.max_examples, 2)
        for name in ("penalty", "C", "gamma", "prior"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"model.{name} must be above 0. Received: {getattr(self, name)}.")

    @property
    def is_solved(self) -> bool:
        """Whether the regressor is solved, instead of trained by gradients."""
        return self.regressor not in TRAINED

    @property
    def solved_losses(self) -> tuple[str, ...]:
        """Squared errors of factors as they are, or of one length; ``ials`` has no factors as targets."""
        return ("mse",) if self.regressor == "ials" else ("mse", "unit_mse")


HEAD_SETTINGS = tuple(field.name for field in dataclasses.fields(RegressorConfig))
"""Settings of a model's Config on which no feature depends."""


def regressor_head(x: Any, config: RegressorConfig, n_factors: int) -> Any:
    """Add the output layers, whose scaled factors are zero until the regressor is trained or solved.

    From shape (batch, n) to (batch, n_factors), float32.
    """
    if config.regressor in KERNEL_REGRESSORS:
        return KernelRegression(0, x.shape[1], n_factors, 1.0, name=OUTPUT)(x)
    if config.regressor == "trees":
        return TreeEnsemble(0, 0, n_factors, n_factors, 0, name=OUTPUT)(x)
    units = () if config.is_solved else config.dense
    return dense_head(x, units, n_factors, config.dropout, config.regressor == "mlp")


def standardised_regressor(baseline: Baseline, n_features: int, n_factors: int) -> keras.Model:
    """Build the regressor from features, (batch, n_features), to scaled factors, (batch, n_factors).

    It first standardises each feature, since their scales differ: by batch norm before dense layers, and by
    statistics that `adapt` fits for a regressor that is solved.
    """
    config: RegressorConfig = baseline.model
    features = keras.Input((n_features,), name="features")
    if config.is_solved:
        norm = keras.layers.BatchNormalization(
            epsilon=MIN_VARIANCE, center=False, scale=False, dtype="float32", name=NORM
        )
    else:
        norm = keras.layers.BatchNormalization(name=NORM)
    return keras.Model(
        features, regressor_head(norm(features), config, n_factors), name=f"{baseline.key}_regressor"
    )


def adapt(regressor: keras.Model, baseline: Baseline, features: Any) -> None:
    """Fit the standardisation of `regressor` to the `features` of train sequences, shape (n, n_features).

    A batch norm with weights of its own learns means and variances during training.
    """
    norm, n = regressor.get_layer(NORM), len(features)
    if norm.trainable_weights:
        return
    mean = np.mean(features, axis=0, dtype=np.float64)
    # Features may be larger than memory.
    blocks = (features[first : first + BLOCK] for first in range(0, n, BLOCK))
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(sum(np.square(block - mean).sum(axis=0) for block in blocks) / n)


def join_stages(name: str, *stages: keras.Model) -> keras.Model:
    """Chain `stages` into one model called `name`."""
    x = inputs = keras.Input(stages[0].input_shape[1:], name=stages[0].input.name)
    for stage in stages:
        x = stage(x)
    return keras.Model(inputs, x, name=name)


def regressor_space(hp: Any, baseline: Baseline) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw settings of the regressor, and of the training of dense layers; others are fitted to squared error.

    Interactions, which ``ials`` needs, are not part of every dataset: it is searched only if it is the start.
    """
    start = baseline.model
    model = {"regressor": choose(hp, "model.regressor", SEARCHED, start.regressor)}
    with hp.conditional_scope("model.regressor", [*TRAINED]):
        model |= draw(hp, "model", {"dense": DENSE, "dropout": DROPOUT}, start)
        training = training_space(hp, baseline)
    if model["regressor"] not in TRAINED:
        training = {"loss": baseline.training.loss if start.is_solved else "mse"}
    with hp.conditional_scope("model.regressor", ["ials"]):
        model |= draw_logarithmic(hp, "model", {"prior": (1e-3, 10.0)}, start)
    with hp.conditional_scope("model.regressor", ["ridge", "ials"]):
        model |= draw_logarithmic(hp, "model", {"penalty": (1.0, 1e7)}, start)
    with hp.conditional_scope("model.regressor", ["svm"]):
        model |= draw(hp, "model", {"epsilon": (0.03, 0.1, 0.3)}, start)
        model |= draw_logarithmic(hp, "model", {"C": (0.1, 10.0), "gamma": (0.03, 3.0)}, start)
    return model, training
