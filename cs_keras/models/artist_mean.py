"""The mean factors of an artist's train tracks, shrunk by their number: a reference for models of known artists.

A new track of an artist with n train tracks is predicted as ``(n * artist mean + c * global mean) / (n + c)``, the
best linear prediction if tracks scatter around their artist, and artists around the global mean, with variances of
ratio c. Both variances are estimated from the train tracks (`cs_keras.training.artists`): empirical Bayes. Tracks
of other artists get the global mean.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.artists import ShrunkMean
from cs_keras.models.declaration import ARTIST_MEAN, ModelConfig
from cs_keras.models.regressors import OUTPUT
from cs_keras.models.spaces import draw_logarithmic
from cs_keras.models.spec import Baseline


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of the artist mean.

    Attributes
    ----------
    shrinkage
        Factor on the estimate of c.
    """

    shrinkage: float = 1.0

    def __post_init__(self) -> None:
        if not self.shrinkage > 0:
            raise ConfigError(f"model.shrinkage must be above 0. Received: {self.shrinkage}.")

    @property
    def is_solved(self) -> bool:
        """True: nothing is trained by gradients."""
        return True


VARIANTS = {"artist-mean": Baseline("artist-mean", Config(), procedure=ARTIST_MEAN)}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the model from the sum of an artist's scaled factors, and their number, (batch, n_factors + 1).

    `audio` is not used.
    """
    artist = keras.Input((n_factors + 1,), name="artist")
    factors = ShrunkMean(n_factors, name=OUTPUT)([artist[:, :-1], artist[:, -1:]])
    return keras.Model(artist, factors, name=baseline.network_name)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw the shrinkage from `hp`."""
    return {"model": draw_logarithmic(hp, "model", {"shrinkage": (0.1, 10.0)}, baseline.model)}
