"""Bag of Tones: section 5.1 of the reference thesis (Pohl 2019).

MFCCs with first and second differences; a codebook of 4,000 centroids by mini-batch k-means (Sculley 2010) on
train tracks; a track is the histogram of its frames' nearest centroids; dense layers map it to factors. The
histograms are computed once, so the dense part trains for 50 epochs, as the thesis's other regressor on
embeddings does.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.layers.bag_of_tones import BagOfTones
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram
from cs_keras.layers.mfcc import mfcc
from cs_keras.models.spec import Baseline, TrainingConfig, dense_head


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of codebook and network.

    Attributes
    ----------
    n_mfcc
        Coefficients of a frame.
    deltas
        Differences over time beside them: 0, 1 or 2.
    n_centroids
        Size of the codebook.
    batch_frames
        Frames in a mini-batch of k-means.
    max_passes
        Passes over the train tracks after which k-means stops though centroids still move.
    tolerance, patience
        K-means stops once centroids move less than `tolerance` on average for `patience` mini-batches running.
    dense
        Neurons of each hidden dense layer.
    dropout
        Share of each hidden dense layer's outputs dropped in training.
    """

    n_mfcc: int = 13
    deltas: int = 2
    n_centroids: int = 4000
    batch_frames: int = 16_384
    max_passes: int = 5
    tolerance: float = 1e-6
    patience: int = 10
    dense: tuple[int, ...] = (1024, 1024, 1024)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range("model.n_mfcc", self.n_mfcc, 1)
        check_choice("model.deltas", self.deltas, (0, 1, 2))
        check_range("model.n_centroids", self.n_centroids, 2)
        check_range("model.batch_frames", self.batch_frames, 1)
        check_range("model.max_passes", self.max_passes, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        for n in self.dense:
            check_range("model.dense", n, 1)

    @property
    def n_features(self) -> int:
        """Numbers in a frame: coefficients and their differences."""
        return self.n_mfcc * (1 + self.deltas)


_SETTINGS: dict[str, Any] = {
    "training": TrainingConfig(epochs=50),
    "front_end": FrontEndConfig(order="mel_db"),  # cepstra are taken of decibel mel bands
    "procedure": "codebook",
}
VARIANTS = {
    "bot": Baseline("bot", Config(), **_SETTINGS),
    "bot-wide": Baseline("bot-wide", Config(dense=(2048, 2048, 2048)), **_SETTINGS),
}


def build_features(baseline: Baseline, audio: AudioConfig) -> keras.Model:
    """Return (batch, frames, n_bins) magnitudes to (batch, frames, n_features) MFCCs with differences."""
    config: Config = baseline.model
    check_range("model.n_mfcc", config.n_mfcc, 1, baseline.front_end.n_mels)
    magnitude = keras.Input((None, audio.n_bins), name="magnitude")
    mel_db = mel_spectrogram(magnitude, baseline.front_end, audio)
    return keras.Model(magnitude, mfcc(mel_db, config.n_mfcc, config.deltas), name=f"{baseline.key}_features")


def build_codebook(baseline: Baseline) -> keras.Model:
    """Return (batch, frames, n_features) frames to (batch, n_centroids) histograms."""
    config: Config = baseline.model
    frames = keras.Input((None, config.n_features), name="frame_features")
    layer = BagOfTones(config.n_centroids, config.n_features, name="bag_of_tones")
    return keras.Model(frames, layer(frames), name=f"{baseline.key}_codebook")


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Return (batch, n_centroids) histograms to (batch, n_factors) scaled factors: all that gradients train."""
    config: Config = baseline.model
    histogram = keras.Input((config.n_centroids,), name="histogram")
    return keras.Model(
        histogram,
        dense_head(histogram, config.dense, n_factors, config.dropout),
        name=f"{baseline.key}_regressor",
    )


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Return the whole model, from (batch, frames, n_bins) magnitudes of any length to (batch, n_factors)."""
    magnitude = keras.Input((None, audio.n_bins), name="magnitude")
    stages = (build_features(baseline, audio), build_codebook(baseline), build_regressor(baseline, n_factors))
    x = magnitude
    for stage in stages:
        x = stage(x)
    return keras.Model(magnitude, x, name=baseline.key)


def search_space(hp: Any) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of a `Baseline`.

    The default point is the thesis's ``bot``.
    """
    return {
        "model": {
            "n_mfcc": hp.Choice("model.n_mfcc", [13, 20, 30], default=13),
            "deltas": hp.Choice("model.deltas", [0, 1, 2], default=2),
            "n_centroids": hp.Choice("model.n_centroids", [250, 500, 1000, 2000, 4000], default=4000),
            "dense": [hp.Choice("model.units", [256, 512, 1024, 2048], default=1024)]
            * hp.Int("model.dense_layers", 1, 3, default=3),
            "dropout": hp.Float("model.dropout", 0.0, 0.5, step=0.1, default=0.0),
        },
        "training": {
            "learning_rate": hp.Float("training.learning_rate", 1e-5, 1e-2, sampling="log", default=1e-4)
        },
        "front_end": {"n_mels": hp.Choice("front_end.n_mels", [40, 64, 96, 128], default=128)},
    }
