"""What every baseline declares: its settings, its input, and how it is trained."""

import dataclasses
import math
from typing import Any

import keras

from cs_keras.config import check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import FrontEndConfig


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is fitted; the defaults are those of the reference thesis (Pohl 2019, section 5.2.1).

    Attributes
    ----------
    loss
        ``mse`` or ``cosine``, on scaled factors.
    learning_rate, beta_1, beta_2, epsilon, decay
        Of Adam; the rate at step t is ``learning_rate / (1 + decay * t)``.
    batch_size
        Sequences in a batch.
    epochs
        At most so many passes.
    patience
        Stop after this many epochs without a lower validation loss; 0 never stops early.
    """

    loss: str = "mse"
    learning_rate: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    decay: float = 1e-8
    batch_size: int = 32
    epochs: int = 5
    patience: int = 5

    def __post_init__(self) -> None:
        check_choice("training.loss", self.loss, ("mse", "cosine"))
        check_range("training.batch_size", self.batch_size, 1)
        check_range("training.epochs", self.epochs, 1)
        check_range("training.patience", self.patience, 0)
        check_range("training.decay", self.decay, 0)
        for name in ("learning_rate", "epsilon"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"training.{name} must be a finite number above 0. Received: {getattr(self, name)}."
                )
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"training.{name} must be at least 0 and below 1. Received: {getattr(self, name)}."
                )


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One row of the result tables: a model's own settings with all that it is trained on and by.

    Attributes
    ----------
    key
        Name on the command line.
    model
        The ``Config`` of the model's file.
    training, sequence, front_end
        Settings of the fit, the input and the decibel mel spectrogram.
    procedure
        ``regression``: sequences to factors, a track's prediction the mean over its sequences; ``codebook``:
        a codebook of frames, then a regression from whole tracks' histograms; ``features``: features of sequences
        from a network that is not trained, then a regression from them; ``triplet``: an embedding of sequences,
        trained on triplets, then a regression from it.
    """

    key: str
    model: Any
    training: TrainingConfig = TrainingConfig()
    sequence: SequenceConfig = SequenceConfig()
    front_end: FrontEndConfig = FrontEndConfig()
    procedure: str = "regression"


def architecture(baseline: Baseline) -> Baseline:
    """Return `baseline` without weights that were trained elsewhere, so that it builds anywhere."""
    if getattr(baseline.model, "weights", None) is None:
        return baseline
    return dataclasses.replace(baseline, model=dataclasses.replace(baseline.model, weights=None))


def trainable_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters of `model`."""
    return sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)


def stored_bytes(model: keras.Model) -> int:
    """Return about how many bytes `model` takes on disk, with its optimiser if it is compiled."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else [])]
    return sum(int(v.shape.num_elements()) * 4 for v in variables) + 1_000_000


def dense_head(x: Any, units: tuple[int, ...], n_factors: int, dropout: float = 0.0) -> Any:
    """Return dense layers (ELU, he_normal) and the output layer, which starts at zero: the mean of scaled factors.

    Parameters
    ----------
    x
        Keras tensor, shape (batch, n).
    units
        Neurons of each hidden layer.
    n_factors
        Outputs.
    dropout
        Share of each hidden layer's outputs dropped in training.
    """
    for number, n in enumerate(units, 1):
        x = keras.layers.Dense(n, "elu", kernel_initializer="he_normal", name=f"dense_{number}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{number}")(x)
    return keras.layers.Dense(n_factors, kernel_initializer="zeros", dtype="float32", name="factors")(x)
