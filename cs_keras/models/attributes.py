"""Attributes of tracks to factors, without any sound: the attribute network of Nieto 2017, and its sceptics.

``attributes`` takes a table's attributes, encoded as one vector a track (`cs_keras.data.attributes.encoding`),
through dense layers, trained as the source trained its own on about 400 expert attributes: cosine distance, Adam
with Keras's default settings, half of each hidden layer dropped, batches of 256, early stopping. The source shows
its layers as a picture without numbers; two of 1,024 are ours, as are ELU and what all baselines here share. Its
network took 37 epochs; ours may take 200 and stops after 10 without a lower validation loss.

``attributes-linear`` is a ridge regression from the same vectors. ``genre-label`` and ``genre-label-linear`` know
the genres of the dataset's own track table and no more: what a table of attributes, or an ear, has to beat.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.models.regressors import RegressorConfig, regressor_head, regressor_space
from cs_keras.models.spec import Baseline, TrainingConfig

N_ATTRIBUTES = 400  # about as many as the source had: what `build` assumes, where no table says


@dataclasses.dataclass(frozen=True)
class Config(RegressorConfig):
    """Settings of the encoding, beside those of the regressor.

    Attributes
    ----------
    max_categories
        Labels of a column that are told apart; of more, those that most train tracks have.
    """

    dense: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5
    max_categories: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.max_categories", self.max_categories, 1)


_DENSE = Baseline(
    "attributes",
    Config(),
    TrainingConfig(
        loss="cosine",
        learning_rate=1e-3,
        epsilon=1e-7,
        schedule="constant",
        batch_size=256,
        epochs=200,
        patience=10,
    ),
    procedure="attributes",
)
_LINEAR = Baseline(
    "attributes-linear", Config(regressor="ridge"), TrainingConfig(batch_size=256), procedure="attributes"
)
VARIANTS = {
    "attributes": _DENSE,
    "attributes-linear": _LINEAR,
    "genre-label": dataclasses.replace(_DENSE, key="genre-label", procedure="genres"),
    "genre-label-linear": dataclasses.replace(_LINEAR, key="genre-label-linear", procedure="genres"),
}


def build_regressor(baseline: Baseline, n_factors: int, n_features: int) -> keras.Model:
    """Return (batch, n_features) encoded attributes to (batch, n_factors) scaled factors: what is trained."""
    attributes = keras.Input((n_features,), name="attributes")
    return keras.Model(attributes, regressor_head(attributes, baseline.model, n_factors), name=baseline.key)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Return the model for `N_ATTRIBUTES` encoded attributes; there is no sound, so `audio` does not matter."""
    return build_regressor(baseline, n_factors, N_ATTRIBUTES)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of `baseline`, the default point."""
    model, training = regressor_space(hp, baseline)
    if model["regressor"] != "dense":
        training = {"loss": "mse"}  # their own, whatever dense layers minimise
    return {"model": model, "training": training}
