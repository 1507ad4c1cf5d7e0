"""Attributes estimated from audio, then factors from the estimates: Nieto 2017.

An audio network, the estimator, is trained on the attributes of a table, encoded as one vector a track. Its
estimate for a track, the mean over the track's sequences, replaces the attributes of all tracks, also of those in
the table, so that the regressor of `cs_keras.models.attributes` is trained on the kind of input that it will be
given. The source reports a cosine distance of 0.22, against 0.15 for the experts' own attributes.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.models import attributes, check_key, get_baseline, model_module
from cs_keras.models.declaration import ESTIMATED_ATTRIBUTES
from cs_keras.models.regressors import OUTPUT, join_stages, regressor_head, regressor_space
from cs_keras.models.spaces import augment_space, front_end_space, sequence_space
from cs_keras.models.spec import Baseline

ESTIMATES = "attributes"  # name of the estimator's output layer


@dataclasses.dataclass(frozen=True)
class Config(attributes.Config):
    """Settings of estimator, encoding and regressor.

    Attributes
    ----------
    estimator
        Key of an end-to-end model, whose network and training settings the estimator has; its loss is the mean
        squared error of encoded attributes. ``sequence``, ``front_end`` and ``augment`` default to those of this
        model.
    branch_settings
        By the key of the estimator, settings that differ from those of its own run:
        ``--set models.estimated-attributes.model.branch_settings.cnn-bn.training.epochs=10``.
    """

    estimator: str = "cnn-bn"
    branch_settings: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_key(self.estimator)
        if not get_baseline(self.estimator).procedure.is_end_to_end:
            raise ConfigError(
                "model.estimator must be a model that is trained end to end from sequences to factors, such as "
                f"cnn-bn. Received: {self.estimator!r}."
            )
        for key in self.branch_settings:
            if key != self.estimator:
                raise ConfigError(f"model.branch_settings must name {self.estimator}. Received: {key!r}.")

    @property
    def branches(self) -> tuple[str, ...]:
        """The key of the estimator, which is trained first."""
        return (self.estimator,)


VARIANTS = {
    "estimated-attributes": Baseline(
        "estimated-attributes", Config(), attributes.TRAINING, procedure=ESTIMATED_ATTRIBUTES
    )
}


def build_estimator(baseline: Baseline, n_features: int, audio: AudioConfig) -> keras.Model:
    """Build the estimator from audio, (batch, frames, frame_size), to encoded attributes, (batch, n_features).

    `baseline` is the estimator's, and `audio` the audio settings of the dataset.
    """
    body = model_module(baseline.key).build(baseline, n_features, audio)
    estimates = keras.layers.Dense(n_features, dtype="float32", name=ESTIMATES)
    return keras.Model(body.input, estimates(body.get_layer(OUTPUT).input), name=f"{baseline.key}_estimator")


def build_regressor(baseline: Baseline, n_factors: int, n_features: int) -> keras.Model:
    """Build the regressor from estimates, (batch, n_features), to scaled factors, (batch, n_factors)."""
    estimates = keras.Input((n_features,), name=ESTIMATES)
    factors = regressor_head(estimates, baseline.model, n_factors)
    return keras.Model(estimates, factors, name=f"{baseline.network_name}_regressor")


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model for `cs_keras.models.attributes.N_ATTRIBUTES` attributes."""
    estimator = dataclasses.replace(
        get_baseline(baseline.model.estimator),
        sequence=baseline.sequence,
        front_end=baseline.front_end,
        augment=baseline.augment,
    )
    stages = (
        build_estimator(estimator, attributes.N_ATTRIBUTES, audio),
        build_regressor(baseline, n_factors, attributes.N_ATTRIBUTES),
    )
    return join_stages(baseline.network_name, *stages)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    model, training = regressor_space(hp, baseline)
    spaces = {"sequence": sequence_space, "front_end": front_end_space, "augment": augment_space}
    audio = {name: space(hp, baseline) for name, space in spaces.items()}
    return {"model": model, "training": training, **audio}
