"""Metric learning to rank on Bag of Tones: the strongest shallow baseline of van den Oord et al. 2013, section 5.

After McFee, Barrington and Lanckriet ("Learning Content Similarity for Music Recommendation", 2012): square roots
of the histograms, whose Euclidean distance is the Hellinger distance; their principal components; and a metric
under which the nearest train tracks are those with the most similar factors. Lists of similar tracks use that
metric. For lists of playlists a ridge regression leads from metric coordinates to factors.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import FrontEndConfig
from cs_keras.models import bot
from cs_keras.models.blocks import dense_head
from cs_keras.models.declaration import RANKING
from cs_keras.models.regressors import join_stages
from cs_keras.models.spaces import draw, draw_logarithmic, front_end_space
from cs_keras.models.spec import Baseline, TrainingConfig

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class RankingConfig:
    """Settings of `cs_keras.training.feature_learning.metric_learning`.

    Attributes
    ----------
    C
        Weight of ranking errors relative to the trace of W.
    epochs, batch_size
        Passes over the queries, and queries per step.
    step
        Step size relative to the largest possible norm of the subgradient; step t uses ``step / sqrt(t)``.
    max_others
        Number of irrelevant tracks that a query is compared with, drawn anew each time.
    """

    C: float = 1e3
    epochs: int = 20
    batch_size: int = 32
    step: float = 5.0
    max_others: int = 500

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_others"):
            check_range(f"model.ranking.{name}", getattr(self, name), 1)
        for name in ("C", "step"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"model.ranking.{name} must be above 0. Received: {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True)
class Config(bot.Config):
    """Settings of codebook, histograms and metric; the regressor is always ``ridge``.

    Attributes
    ----------
    n_components
        Number of principal components; fewer where there are fewer train tracks.
    n_relevant
        Number of nearest train tracks, by factors, that count as relevant.
    ranking
        Settings of the optimisation.
    """

    regressor: str = "ridge"
    penalty: float = 1.0
    n_components: int = 64
    n_relevant: int = 10
    ranking: RankingConfig = RankingConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("model.regressor", self.regressor, ("ridge",))
        check_choice("model.scaling", self.scaling, ("none",))
        check_range("model.n_components", self.n_components, 1, self.n_centroids)
        check_range("model.n_relevant", self.n_relevant, 1)


VARIANTS = {
    "mlr": Baseline(
        "mlr", Config(), TrainingConfig(), front_end=FrontEndConfig(order="mel_db"), procedure=RANKING
    )
}


def build_metric(baseline: Baseline) -> keras.Model:
    """Build the model from histograms, (batch, n_centroids), to metric coordinates, (batch, n_components)."""
    config: Config = baseline.model
    histogram = keras.Input((config.n_centroids,), name="histogram")
    x = keras.ops.sqrt(histogram)
    coordinates = keras.layers.Dense(
        config.n_components, dtype="float32", trainable=False, name="coordinates"
    )
    return keras.Model(histogram, coordinates(x), name=f"{baseline.key}_metric")


def set_metric(metric: keras.Model, mean: npt.ArrayLike, kernel: npt.ArrayLike) -> None:
    """Set the weights of the model that `build_metric` returned.

    `mean`, shape (n_centroids,), is that of the square roots of train tracks' histograms, which is subtracted;
    `kernel`, shape (n_centroids, n_components), maps centred square roots to metric coordinates.
    """
    metric.get_layer("coordinates").set_weights([np.asarray(kernel), -np.asarray(mean) @ np.asarray(kernel)])


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Build the regressor from metric coordinates, (batch, n_components), to scaled factors, (batch, n_factors)."""
    coordinates = keras.Input((baseline.model.n_components,), name="coordinates")
    return keras.Model(coordinates, dense_head(coordinates, (), n_factors), name=f"{baseline.key}_regressor")


def build_stages(baseline: Baseline, n_factors: int, audio: AudioConfig) -> tuple[keras.Model, ...]:
    """Build the four models that `build` joins: features, histograms, metric and regressor."""
    return (
        bot.build_features(baseline, audio),
        bot.build_codebook(baseline),
        build_metric(baseline),
        build_regressor(baseline, n_factors),
    )


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model."""
    return join_stages(baseline.key, *build_stages(baseline, n_factors, audio))


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    start = baseline.model
    options = {
        "n_mfcc": (13, 20, 30),
        "deltas": (0, 1, 2),
        "n_components": (16, 32, 64, 128),
        "n_relevant": (5, 10, 20),
    }
    model = draw(hp, "model", options, start) | draw_logarithmic(hp, "model", {"penalty": (0.01, 1e4)}, start)
    hp.Fixed("front_end.order", baseline.front_end.order)  # cepstra are taken of decibel mel bands
    return {"model": model, "front_end": front_end_space(hp, baseline)}
