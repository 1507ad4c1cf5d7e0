"""A classifier of genres whose probabilities are a space to be near in: Cardorelle 2018.

The source trained a convolutional network to tell genres from decibel mel spectrograms of 30 s. What its softmax
says of a track is its place in a *genre space*, and a playlist is the ten tracks nearest by Euclidean distance. It
shows its network as a picture and tells nothing of its training: the body here is that of `cs_keras.models.cnn`,
pooled over time, small enough for labels that are few. Lists of similar tracks go by places in that space. For
lists of playlists, which the source did not make, a ridge regression leads from places to factors.

``genre-space`` hears 6 s at a time, as most baselines here, and ``genre-space-30s`` the source's 30 s.
"""

import dataclasses
from typing import Any, ClassVar

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.models import cnn
from cs_keras.models.regressors import OUTPUT, draw_logarithmic, join_stages
from cs_keras.models.spec import Baseline, TrainingConfig

N_GENRES = 10  # as GTZAN, on which the source was tested, has: what `build` assumes, where no dataset says
GENRES = "genres"  # name of the layer of the probabilities


@dataclasses.dataclass(frozen=True)
class Config(cnn.Config):
    """Settings beside those of the classifier's body, which `cnn.Config` explains.

    Attributes
    ----------
    min_tracks
        Genres of fewer train tracks are left out.
    penalty
        Of the ridge regression from probabilities to factors; see `cs_keras.models.regressors.RegressorConfig`.
    """

    filters: int = 32
    pool_frames: tuple[int, ...] = (4, 4, 4)
    pool_mels: tuple[int, ...] = (2, 4, 4)
    time_pooling: str = "mean_max"
    dropout: float = 0.3
    min_tracks: int = 10
    penalty: float = 1.0
    regressor: ClassVar[str] = "ridge"  # linear: the mean of its outputs is its output for the mean

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.min_tracks", self.min_tracks, 1)
        if not self.penalty > 0:
            raise ConfigError(f"model.penalty must be above 0. Received: {self.penalty}.")


_TRAINING = TrainingConfig(learning_rate=3e-4, schedule="cosine", epochs=20)
VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("genre-space", Config(), _TRAINING, procedure="genre_space"),
        Baseline(
            "genre-space-30s", Config(), _TRAINING, SequenceConfig(frames=1292), procedure="genre_space"
        ),
    )
}


def build_classifier(baseline: Baseline, n_genres: int, audio: AudioConfig) -> keras.Model:
    """Return (batch, frames, frame_size) sound to (batch, n_genres) probabilities, float32."""
    body = cnn.build(baseline, n_genres, audio)
    genres = keras.layers.Dense(n_genres, "softmax", dtype="float32", name=GENRES)
    return keras.Model(body.input, genres(body.get_layer(OUTPUT).input), name=f"{baseline.key}_classifier")


def build_regressor(baseline: Baseline, n_genres: int, n_factors: int) -> keras.Model:
    """Return (batch, n_genres) probabilities to (batch, n_factors) scaled factors: what is solved."""
    genres = keras.Input((n_genres,), name=GENRES)
    factors = keras.layers.Dense(n_factors, kernel_initializer="zeros", dtype="float32", name=OUTPUT)
    return keras.Model(genres, factors(genres), name=f"{baseline.key}_regressor")


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Return the whole model, for `N_GENRES` genres: (batch, frames, frame_size) sound to (batch, n_factors)."""
    classifier = build_classifier(baseline, N_GENRES, audio)
    return join_stages(baseline.key, classifier, build_regressor(baseline, N_GENRES, n_factors))


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of `baseline`, the default point."""
    space = cnn.search_space(hp, baseline)
    space["model"] |= draw_logarithmic(hp, {"penalty": (0.01, 100.0)}, baseline.model)
    return space
