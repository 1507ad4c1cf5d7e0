"""Attributes of tracks to factors, without audio: the attribute network of Nieto 2017, and simpler models.

``attributes`` takes a table's attributes, encoded as one vector a track (`cs_keras.data.attributes.encoding`),
through dense layers, trained as the source trained its own on about 400 expert attributes: cosine distance, Adam
with Keras's default settings, dropout 0.5, batches of 256, early stopping. The source shows its layers as a diagram
without numbers; two of 1,024 are ours, as are ELU and the other choices common to all baselines here. Its network
took 37 epochs; ours may take 200 and stops after 10 without a lower validation loss.

``attributes-infonce``, ``-histories``, ``-bpr``, ``-softmax`` and ``-drlim`` are the same network trained by a loss
that compares the tracks of a batch (`cs_keras.training.losses.contrastive`, `cs_keras.training.losses.playlists`).
``attributes-heteroscedastic`` and ``attributes-mixture`` predict a standard deviation with each factor, by one
normal distribution and by a mixture of three (`cs_keras.models.distribution`).

``attributes-attention`` takes the frames of a table of `cs-keras embed --sequences`, which attention, mean and
maximum pool into one vector (`cs_keras.layers.attention_pooling`). The other models take statistics over these
frames.

``attributes-linear`` is a ridge regression from the same vectors, ``attributes-gcv`` one with a penalty for each
factor, ``attributes-kernel`` one with Gaussian kernels, ``attributes-trees`` gradient-boosted trees,
``attributes-best`` is ``attributes-kernel`` on quantiles, for unit-length factors and overlap (docs/attributes.md),
``attributes-ials`` a linear map that is learnt in a factorisation of the interactions
(`cs_keras.factors.feature_als`). ``genre-label`` and ``genre-label-linear`` take
only the genres of the dataset's own track table: a reference for models with more attributes or with audio.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range
from cs_keras.data.attributes.encoding import SCALINGS
from cs_keras.errors import ConfigError
from cs_keras.layers.attention_pooling import AttentionPooling
from cs_keras.models.declaration import ATTRIBUTES, GENRES
from cs_keras.models.regressors import RegressorConfig, regressor_head, regressor_space
from cs_keras.models.spaces import DENSE, DROPOUT, draw, training_space
from cs_keras.models.spec import Baseline, TrainingConfig

N_ATTRIBUTES = 400  # of the source: `build` assumes as many, before the table is known


@dataclasses.dataclass(frozen=True)
class Config(RegressorConfig):
    """Settings of encoding and regressor.

    Attributes
    ----------
    max_categories
        Maximum number of labels of a column; of more, the most frequent in train tracks are used.
    numeric_scaling
        Of numeric attributes: ``standardize``, or ``quantile``, which first maps the quantiles of the train tracks
        to those of a normal distribution, so that long tails and outliers count less.
    max_frames
        Maximum number of frames of a track that the network pools; of more, evenly spaced ones are used. 0 for the
        mean, standard deviation and maximum over all.
    units
        Outputs of the pooling, each by attention, mean and maximum.
    fit_validation
        Fit ``kernel_ridge`` to validation tracks too, with width and penalty by cross-validation of all. The run's
        prediction of a validation track is then by a fit without the tracks of its fold, as validation losses and
        the weights of a stacked ensemble need it.
    """

    dense: tuple[int, ...] = (1024, 1024)
    dropout: float = 0.5
    max_categories: int = 1000
    numeric_scaling: str = dataclasses.field(default="standardize", metadata=OMIT_IF_DEFAULT)
    max_frames: int = dataclasses.field(default=0, metadata=OMIT_IF_DEFAULT)
    units: int = dataclasses.field(default=64, metadata=OMIT_IF_DEFAULT)
    fit_validation: bool = dataclasses.field(default=False, metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.max_categories", self.max_categories, 1)
        check_choice("model.numeric_scaling", self.numeric_scaling, SCALINGS)
        check_range("model.max_frames", self.max_frames, 0)
        check_range("model.units", self.units, 1)
        if self.fit_validation and self.regressor != "kernel_ridge":
            raise ConfigError(
                "model.fit_validation needs predictions by exact cross-validation: expected model.regressor "
                f"kernel_ridge. Received: {self.regressor}."
            )
        if self.max_frames and self.is_solved:
            raise ConfigError(
                f"model.max_frames needs a network that pools frames: expected model.regressor dense. Received: "
                f"{self.regressor}."
            )


TRAINING = TrainingConfig(  # of Nieto's networks
    loss="cosine",
    learning_rate=1e-3,
    epsilon=1e-7,
    schedule="constant",
    batch_size=256,
    epochs=200,
    patience=10,
)
_DENSE = Baseline("attributes", Config(), TRAINING, procedure=ATTRIBUTES)
_OBJECTIVES: dict[str, dict[str, Any]] = {
    "infonce": {"loss": "infonce", "temperature": 0.3},  # see docs/what-works.md
    "histories": {"loss": "infonce_histories", "temperature": 0.3},
    "bpr": {"loss": "bpr"},
    "softmax": {"loss": "sampled_softmax", "popularity_correction": 1.0},
    "drlim": {"loss": "drlim"},
    "heteroscedastic": {"loss": "gaussian_nll"},
    "mixture": {"loss": "mixture_nll"},
}
_LINEAR = Baseline(
    "attributes-linear", Config(regressor="ridge"), TrainingConfig(batch_size=256), procedure=ATTRIBUTES
)
VARIANTS = {
    "attributes": _DENSE,
    "attributes-attention": dataclasses.replace(
        _DENSE, key="attributes-attention", model=Config(max_frames=80, dense=(512,))
    ),
    "attributes-linear": _LINEAR,
    **{
        f"attributes-{name}": dataclasses.replace(
            _DENSE, key=f"attributes-{name}", training=dataclasses.replace(TRAINING, **changes)
        )
        for name, changes in _OBJECTIVES.items()
    },
    "attributes-gcv": dataclasses.replace(_LINEAR, key="attributes-gcv", model=Config(regressor="ridge_gcv")),
    "attributes-kernel": dataclasses.replace(
        _LINEAR, key="attributes-kernel", model=Config(regressor="kernel_ridge")
    ),
    "attributes-best": dataclasses.replace(
        _LINEAR,
        key="attributes-best",
        model=Config(regressor="kernel_ridge", numeric_scaling="quantile"),
        training=TrainingConfig(batch_size=256, loss="unit_mse", monitor="val_overlap@10"),
    ),
    "attributes-trees": dataclasses.replace(_LINEAR, key="attributes-trees", model=Config(regressor="trees")),
    "attributes-mlp": dataclasses.replace(_DENSE, key="attributes-mlp", model=Config(regressor="mlp")),
    "attributes-ials": dataclasses.replace(_LINEAR, key="attributes-ials", model=Config(regressor="ials")),
    "genre-label": dataclasses.replace(_DENSE, key="genre-label", procedure=GENRES),
    "genre-label-linear": dataclasses.replace(_LINEAR, key="genre-label-linear", procedure=GENRES),
}


def build_regressor(baseline: Baseline, n_factors: int, n_features: int, n_frames: int = 0) -> keras.Model:
    """Build the regressor from encoded attributes, (batch, n_features), to scaled factors, (batch, n_factors).

    With `n_frames` they are frames with flags; see `cs_keras.data.attributes.encoding.SequenceEncoding`.
    """
    x = attributes = keras.Input((n_features,), name="attributes")
    if n_frames:
        x = keras.layers.Reshape((n_frames, n_features // n_frames), name="frames")(x)
        x = AttentionPooling(baseline.model.units, name="pooled_frames")(x)
    return keras.Model(attributes, regressor_head(x, baseline.model, n_factors), name=baseline.network_name)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the model for `N_ATTRIBUTES` encoded attributes; `audio` is not used."""
    return build_regressor(baseline, n_factors, N_ATTRIBUTES, baseline.model.max_frames)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    start = baseline.model
    if start.max_frames:
        options = {"max_frames": (20, 40, 80), "units": (32, 64, 128), "dense": DENSE, "dropout": DROPOUT}
        return {"model": draw(hp, "model", options, start), "training": training_space(hp, baseline)}
    model, training = regressor_space(hp, baseline)
    model |= draw(hp, "model", {"numeric_scaling": SCALINGS}, start)
    return {"model": model, "training": training}
