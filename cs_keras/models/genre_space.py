"""A genre classifier whose probabilities are an embedding space: Cardorelle 2018.

The source trained a convolutional network to classify genres from decibel mel spectrograms of 30 s. Its softmax
output for a track is the track's position in a *genre space*, and a playlist is the ten nearest tracks by Euclidean
distance. The source shows its network as a diagram without numbers and does not describe the training: the body
here is that of `cs_keras.models.cnn`, pooled over time, small enough for few labels. Lists of similar tracks use
distances in genre space. For lists of playlists, which the source did not make, a ridge regression leads to
factors.

``genre-space`` takes sequences of 6 s, as most baselines here, and ``genre-space-30s`` the source's 30 s.
"""

import dataclasses
from typing import Any, ClassVar

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.models import cnn
from cs_keras.models.blocks import dense_head
from cs_keras.models.declaration import GENRE_SPACE
from cs_keras.models.regressors import OUTPUT, join_stages
from cs_keras.models.spaces import draw_logarithmic
from cs_keras.models.spec import Baseline, TrainingConfig

N_GENRES = 10  # of GTZAN, on which the source was tested: `build` assumes as many
PROBABILITIES = "genres"  # name of the output layer of the classifier


@dataclasses.dataclass(frozen=True)
class Config(cnn.Config):
    """Settings of the classifier's body, as in `cnn.Config`, and of the regressor.

    Attributes
    ----------
    min_tracks
        Minimum number of train tracks of a genre; rarer genres are left out.
    penalty
        Penalty of the ridge regression from probabilities to factors, as alpha of scikit-learn.
    """

    filters: int = 32
    pool_frames: tuple[int, ...] = (4, 4, 4)
    pool_mels: tuple[int, ...] = (2, 4, 4)
    time_pooling: str = "mean_max"
    dropout: float = 0.3
    min_tracks: int = 10
    penalty: float = 1.0
    regressor: ClassVar[str] = "ridge"  # linear: its output for the mean is the mean of its outputs

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.min_tracks", self.min_tracks, 1)
        if not self.penalty > 0:
            raise ConfigError(f"model.penalty must be above 0. Received: {self.penalty}.")

    @property
    def is_solved(self) -> bool:
        """Whether the regressor is solved in closed form."""
        return True


_TRAINING = TrainingConfig(learning_rate=3e-4, schedule="cosine", epochs=20)
VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("genre-space", Config(), _TRAINING, procedure=GENRE_SPACE),
        Baseline("genre-space-30s", Config(), _TRAINING, SequenceConfig(frames=1292), procedure=GENRE_SPACE),
    )
}


def build_classifier(baseline: Baseline, n_genres: int, audio: AudioConfig) -> keras.Model:
    """Build the classifier from audio, (batch, frames, frame_size), to probabilities, (batch, n_genres)."""
    body = cnn.build(baseline, n_genres, audio)
    genres = keras.layers.Dense(n_genres, "softmax", dtype="float32", name=PROBABILITIES)
    return keras.Model(body.input, genres(body.get_layer(OUTPUT).input), name=f"{baseline.key}_classifier")


def build_regressor(baseline: Baseline, n_genres: int, n_factors: int) -> keras.Model:
    """Build the regressor from probabilities, (batch, n_genres), to scaled factors, (batch, n_factors)."""
    genres = keras.Input((n_genres,), name=PROBABILITIES)
    return keras.Model(genres, dense_head(genres, (), n_factors), name=f"{baseline.key}_regressor")


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model for `N_GENRES` genres."""
    classifier = build_classifier(baseline, N_GENRES, audio)
    return join_stages(baseline.key, classifier, build_regressor(baseline, N_GENRES, n_factors))


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    space = cnn.search_space(hp, baseline)
    space["model"] |= draw_logarithmic(hp, "model", {"penalty": (0.01, 100.0)}, baseline.model)
    return space
