"""Bag of Tones: section 5.1 of the reference thesis (Pohl 2019).

MFCCs with first and second differences; a codebook of 4,000 centroids by mini-batch k-means (Sculley 2010) on
train tracks; a track is the histogram of its frames' nearest centroids; dense layers map it to factors. The
histograms are computed once, so the dense part trains for 50 epochs, as the thesis's other regressor on
embeddings does. Settings offer other assignments, other scalings of histograms and other regressors.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.bag_of_tones import BagOfTones, InverseDocumentFrequency, SoftBagOfTones
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram
from cs_keras.layers.mfcc import mfcc
from cs_keras.layers.waveform import audio_input
from cs_keras.models.declaration import CODEBOOK
from cs_keras.models.regressors import (
    RegressorConfig,
    join_stages,
    regressor_head,
    regressor_space,
)
from cs_keras.models.spaces import draw, draw_logarithmic, front_end_space
from cs_keras.models.spec import Baseline, TrainingConfig

ASSIGNMENTS = ("hard", "soft")
SCALINGS = ("none", "log", "tfidf")
# The codebook does not depend on these settings.
COUNTING_SETTINGS = ("assignment", "n_nearest", "bandwidth", "scaling")


@dataclasses.dataclass(frozen=True)
class Config(RegressorConfig):
    """Settings of codebook, histograms and regressor.

    Attributes
    ----------
    n_mfcc
        MFCCs per frame.
    deltas
        Order of the highest difference over time that is added: 0, 1 or 2.
    n_centroids
        Size of the codebook.
    batch_frames
        Frames in a mini-batch of k-means.
    max_passes
        Maximum number of passes of k-means over the train tracks.
    tolerance, patience
        K-means stops once centroids move less than `tolerance` on average for `patience` successive mini-batches.
    assignment
        ``hard``: a frame counts for its nearest centroid, as in the thesis; ``soft``: for several, with weights
        that sum to one.
    n_nearest, bandwidth
        Number of centroids of ``soft`` assignment, and the standard deviation of the Gaussian that weights them by
        distance, in the unit of the coefficients (decibels).
    scaling
        Scaling of histograms: ``none``, as in the thesis; ``log``, ``ln(1 + x)``; or ``tfidf``, which weights
        centroids by their inverse document frequency in train tracks.
    """

    penalty: float = 1e5  # sparse histograms over 4,000 centroids have a variance of about 100

    n_mfcc: int = 13
    deltas: int = 2
    n_centroids: int = 4000
    batch_frames: int = 16_384
    max_passes: int = 5
    tolerance: float = 1e-6
    patience: int = 10
    assignment: str = "hard"
    n_nearest: int = 5
    bandwidth: float = 5.0
    scaling: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.n_mfcc", self.n_mfcc, 1)
        check_choice("model.deltas", self.deltas, (0, 1, 2))
        check_range("model.n_centroids", self.n_centroids, 2)
        check_range("model.batch_frames", self.batch_frames, 1)
        check_range("model.max_passes", self.max_passes, 1)
        check_choice("model.assignment", self.assignment, ASSIGNMENTS)
        check_choice("model.scaling", self.scaling, SCALINGS)
        if self.assignment == "soft":
            check_range("model.n_nearest", self.n_nearest, 2, self.n_centroids)
        if not self.bandwidth > 0:
            raise ConfigError(f"model.bandwidth must be above 0. Received: {self.bandwidth}.")

    @property
    def n_features(self) -> int:
        """Features per frame: coefficients and their differences."""
        return self.n_mfcc * (1 + self.deltas)


_SETTINGS: dict[str, Any] = {
    "training": TrainingConfig(epochs=50),
    "front_end": FrontEndConfig(order="mel_db"),  # MFCCs are defined on decibel mel bands
    "procedure": CODEBOOK,
}
# A tenth of the thesis's learning rate: the variance of a histogram's entries is about 100, and at 1e-4 a network
# overfits a small dataset from the second epoch on (docs/decisions.md).
_TRAINED = {**_SETTINGS, "training": TrainingConfig(learning_rate=1e-5, epochs=50)}
VARIANTS = {
    "bot": Baseline("bot", Config(), **_TRAINED),
    "bot-wide": Baseline("bot-wide", Config(dense=(2048, 2048, 2048)), **_TRAINED),
    "bot-linear": Baseline("bot-linear", Config(regressor="ridge", penalty=1e6), **_SETTINGS),
}


def build_features(baseline: Baseline, audio: AudioConfig) -> keras.Model:
    """Build the model from audio, (batch, frames, frame_size), to MFCCs, (batch, frames, n_features)."""
    config: Config = baseline.model
    check_range("model.n_mfcc", config.n_mfcc, 1, baseline.front_end.n_mels)
    inputs, magnitude = audio_input(None, audio)
    mel_db = mel_spectrogram(magnitude, baseline.front_end, audio)
    return keras.Model(inputs, mfcc(mel_db, config.n_mfcc, config.deltas), name=f"{baseline.key}_features")


def build_codebook(baseline: Baseline) -> keras.Model:
    """Build the model from MFCCs, (batch, frames, n_features), to histograms, (batch, n_centroids)."""
    config: Config = baseline.model
    frames = keras.Input((None, config.n_features), name="frame_features")
    size = (config.n_centroids, config.n_features)
    if config.assignment == "soft":
        layer = SoftBagOfTones(*size, config.n_nearest, config.bandwidth, name="bag_of_tones")
    else:
        layer = BagOfTones(*size, name="bag_of_tones")
    return keras.Model(frames, layer(frames), name=f"{baseline.key}_codebook")


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Build the regressor from histograms, (batch, n_centroids), to scaled factors, (batch, n_factors)."""
    config: Config = baseline.model
    x = histogram = keras.Input((config.n_centroids,), name="histogram")
    if config.scaling == "log":
        x = keras.ops.log1p(histogram)
    elif config.scaling == "tfidf":
        x = InverseDocumentFrequency(config.n_centroids, name="idf")(histogram)
    return keras.Model(histogram, regressor_head(x, config, n_factors), name=f"{baseline.key}_regressor")


def build_stages(baseline: Baseline, n_factors: int, audio: AudioConfig) -> tuple[keras.Model, ...]:
    """Build the three models that `build` joins: features, histograms and regressor."""
    return build_features(baseline, audio), build_codebook(baseline), build_regressor(baseline, n_factors)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model."""
    return join_stages(baseline.key, *build_stages(baseline, n_factors, audio))


def adapt(regressor: keras.Model, baseline: Baseline, histograms: Any) -> None:
    """Fit the tf-idf weights of `regressor`, if any, to train `histograms`, shape (n_tracks, n_centroids)."""
    if baseline.model.scaling == "tfidf":
        regressor.get_layer("idf").adapt(histograms)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    start = baseline.model
    options = {
        "n_mfcc": (13, 20, 30),
        "deltas": (0, 1, 2),
        "n_centroids": (250, 500, 1000, 2000, 4000),
        "assignment": ASSIGNMENTS,
        "scaling": SCALINGS,
    }
    model = draw(hp, "model", options, start)
    with hp.conditional_scope("model.assignment", ["soft"]):
        model |= draw(hp, "model", {"n_nearest": (2, 5, 10)}, start)
        model |= draw_logarithmic(hp, "model", {"bandwidth": (1.0, 20.0)}, start)
    regressor, training = regressor_space(hp, baseline)
    hp.Fixed("front_end.order", baseline.front_end.order)  # MFCCs are defined on decibel mel bands
    front_end = front_end_space(hp, baseline)
    return {"model": model | regressor, "training": training, "front_end": front_end}
