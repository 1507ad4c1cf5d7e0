"""Attention over the train tracks of an artist, after ACARec (2026).

As `cs_keras.models.artist_residual`, but tracks of the artist that resemble the new one weigh more, and dense
layers correct the combination. The embedding of a track is what its content model predicts: a position in the space
of factors, where tracks that share listeners are near. Training starts from the closed-form solution of
``artist-residual``, with equal weights, and stops early by validation tracks. A train track's own factors are
masked.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.layers.artists import ArtistAttention, ContentAndArtist, Fallback, ShrunkMean
from cs_keras.models import artist_residual
from cs_keras.models.artist_residual import ARTIST_MEAN, COMBINED, EVIDENCE
from cs_keras.models.blocks import dense_head
from cs_keras.models.declaration import ARTIST_ATTENTION
from cs_keras.models.spaces import DROPOUT, draw, draw_logarithmic, training_space
from cs_keras.models.spec import Baseline, TrainingConfig

DENSE = ((), (128,), (512,))


@dataclasses.dataclass(frozen=True)
class Config(artist_residual.Config):
    """Settings of attention and correction.

    Attributes
    ----------
    n_dimensions
        Of the projected embeddings.
    dense, dropout
        Units of each hidden layer of the correction, and the dropout rate after it.
    max_tracks
        Maximum number of an artist's tracks; of more, a random choice is used. Each track of the dataset takes
        memory for that many vectors of twice the number of factors.
    """

    n_dimensions: int = 32
    dense: tuple[int, ...] = ()
    dropout: float = 0.0
    max_tracks: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for n in (self.n_dimensions, self.max_tracks, *self.dense):
            check_range("model.n_dimensions, model.max_tracks and model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)

    @property
    def is_solved(self) -> bool:
        """False: it is trained, from a start in closed form."""
        return False


TRAINING = TrainingConfig(
    learning_rate=3e-4, epsilon=1e-7, schedule="constant", batch_size=256, epochs=200, patience=10
)
VARIANTS = {"artist-attention": Baseline("artist-attention", Config(), TRAINING, procedure=ARTIST_ATTENTION)}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the model to scaled factors, shape (batch, n_factors); `audio` is not used.

    Its input has shape (batch, 1 + n_tracks, 2 * n_factors + 1). The first row is the new track: zeros, factors
    predicted from content and a flag, 1 where there is content. Each other is a train track of the artist: factors,
    predictions and a flag, 1 where there is a track.
    """
    config: Config = baseline.model
    inputs = keras.Input((None, 2 * n_factors + 1), name="content_and_artist")
    content, has_content = inputs[:, 0, n_factors:-1], inputs[:, 0, -1:]
    vectors, flags = inputs[:, 1:, :-1], inputs[:, 1:, -1]
    n = ops.sum(flags, axis=1, keepdims=True)
    total = ops.sum(vectors[:, :, :n_factors] * flags[:, :, None], axis=1)
    artist_mean = ShrunkMean(n_factors, name=ARTIST_MEAN)
    artist_mean.trainable = False  # tracks without content are predicted as by the baseline of that name
    artist = artist_mean([total, n])
    attention = ArtistAttention(2 * n_factors, config.n_dimensions, name=EVIDENCE)
    evidence = attention([content, vectors[:, :, n_factors:], vectors, flags])
    both = ContentAndArtist(name=COMBINED)([content, evidence])
    known = keras.layers.Concatenate(name="known")([content, evidence])
    correction = dense_head(known, config.dense, n_factors, config.dropout)
    factors = Fallback(name="fallback")([both + correction, content, artist, has_content, n])
    return keras.Model(inputs, factors, name=baseline.network_name)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of attention, correction and training from `hp`."""
    options = {"n_dimensions": (8, 16, 32, 64), "dense": DENSE, "dropout": DROPOUT}
    model = draw(hp, "model", options, baseline.model)
    model |= draw_logarithmic(hp, "model", {"shrinkage": (0.1, 10.0)}, baseline.model)
    return {"model": model, "training": training_space(hp, baseline)}
