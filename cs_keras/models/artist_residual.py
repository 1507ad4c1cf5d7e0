"""What the content of a track adds to its artist: content model and shrunk artist mean, combined.

Another baseline, the content model, predicts factors p from audio, attributes or several of them. For a new track
of an artist with train tracks, this model predicts ``own * p + artist * Y - others * P``, where Y and P are shrunk
means (`cs_keras.models.artist_mean`) of the factors and of the content model's predictions of the artist's train
tracks. With weights of 1 that is the best linear prediction where factors are p, plus an effect of the artist, plus
noise (the mixed model of Robinson 1991): what content leaves of the artist's tracks is averaged, not what it
explains. The three weights are fitted by least squares: content that an artist's tracks share must not count twice.

Weights and shrinkage are fitted to train tracks, each with its own factors left out of its artist's, and predicted
by a content model that was trained without it (`folds`). Tracks of new artists are predicted from content alone,
and tracks without content by the artist mean.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.artists import ContentAndArtist, Fallback, ShrunkMean
from cs_keras.models import artist_mean, check_key, get_baseline
from cs_keras.models.declaration import ARTIST_RESIDUAL
from cs_keras.models.spaces import draw_logarithmic
from cs_keras.models.spec import Baseline

ARTIST_MEAN, EVIDENCE, COMBINED = "artist_mean", "evidence", "combined"  # names of layers


@dataclasses.dataclass(frozen=True)
class Config(artist_mean.Config):
    """Settings of content and artist.

    Attributes
    ----------
    content
        Key of the model that predicts factors from content; a fusion joins several.
    branch_settings
        By the key of the content model, settings that differ from those of its own run:
        ``--set models.artist-residual.model.branch_settings.attributes-linear.model.penalty=10``.
    folds
        Parts of the train tracks; the content model is trained once without each of them, and once with all.
    """

    content: str = "attributes-linear"
    branch_settings: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    folds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_key(self.content)
        check_range("model.folds", self.folds, 2)
        if get_baseline(self.content).procedure.takes_artists:
            raise ConfigError(
                f"model.content must be a model of tracks, not of artists. Received: {self.content}."
            )
        for key in self.branch_settings:
            if key != self.content:
                raise ConfigError(f"model.branch_settings must name {self.content}. Received: {key!r}.")

    @property
    def branches(self) -> tuple[str, ...]:
        """The key of the content model, which is trained first."""
        return (self.content,)


VARIANTS = {"artist-residual": Baseline("artist-residual", Config(), procedure=ARTIST_RESIDUAL)}


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the model to scaled factors, shape (batch, n_factors); `audio` is not used.

    Its input has shape (batch, 3 * n_factors + 2): factors predicted from content and a flag, 1 where there is
    content; then the sums of the factors and of the predictions of the artist's tracks, and their number.
    """
    inputs = keras.Input((3 * n_factors + 2,), name="content_and_artist")
    content, has_content = inputs[:, :n_factors], inputs[:, n_factors : n_factors + 1]
    sums, n = inputs[:, n_factors + 1 : -1], inputs[:, -1:]
    evidence = ShrunkMean(2 * n_factors, name=EVIDENCE)([sums, n])
    artist = ShrunkMean(n_factors, name=ARTIST_MEAN)([sums[:, :n_factors], n])
    both = ContentAndArtist(name=COMBINED)([content, evidence])
    factors = Fallback(name="factors")([both, content, artist, has_content, n])
    return keras.Model(inputs, factors, name=baseline.network_name)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw the shrinkage from `hp`; the content model has a search of its own."""
    return {"model": draw_logarithmic(hp, "model", {"shrinkage": (0.1, 10.0)}, baseline.model)}
