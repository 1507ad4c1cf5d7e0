"""Features on several timescales, learnt without labels: "Multiscale approaches to music audio feature learning".

Dieleman & Schrauwen 2013, as told in Dieleman's slides of 2014. Of sound there are several pictures, from fine to
coarse in time: mel spectrograms of windows of 1,024 to 8,192 samples (``multiresolution``), or one of them with its
Gaussian or Laplacian pyramid along time (Burt & Adelson 1983). Of each, spherical k-means finds kernels in white
patches of a few frames (`cs_keras.training.feature_learning.spherical_kmeans`); features are the patches' dot
products with all of them, a convolution. They are max-pooled over short stretches; of these a
sequence keeps mean and maximum.

The slides name windows, pyramids, k-means and linear encoding; frames of a patch, centroids, levels and pools are
ours, and so are decibels, and windows that overlap by half. The slides' classifier of tags, a hidden layer of 1,000
neurons, is here a regression to factors, by ELU; or any other of `cs_keras.models.regressors`.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import FrontEndConfig
from cs_keras.models.regressors import RegressorConfig, join_stages, regressor_head, regressor_space
from cs_keras.models.spaces import draw, front_end_space, sequence_space
from cs_keras.models.spec import Baseline, TrainingConfig
from cs_keras.models.timescales import REPRESENTATIONS, timescales

BLOCK = 1024  # sequences
LEAST_VARIANCE = 1e-6  # is added to each feature's, so that one that hardly varies is not made the largest


@dataclasses.dataclass(frozen=True)
class Config(RegressorConfig):
    """Settings of the features, beside those of the regressor.

    Attributes
    ----------
    representation
        ``multiresolution``, ``gaussian`` or ``laplacian``.
    windows
        Of ``multiresolution``: samples in the windows of each spectrogram, which overlap by half.
    n_levels
        Of a pyramid.
    patch_frames
        Consecutive frames in a patch.
    n_centroids
        Kernels of each spectrogram or level.
    variance
        Share of the patches' variance that is left after whitening.
    n_patches
        Patches to learn from, of each spectrogram or level: what bounds memory.
    sequence_patches
        Of one sequence at most; tracks are drawn at random where not all of them are needed.
    max_passes
        Of k-means over the patches, after which it stops though centroids still move.
    pool_frames
        Frames of the first spectrogram or level over which features are max-pooled, as many seconds in the others.
    """

    dense: tuple[int, ...] = (1000,)
    penalty: float = 1e4  # there are more features than most datasets have tracks

    representation: str = "multiresolution"
    windows: tuple[int, ...] = (1024, 2048, 4096, 8192)
    n_levels: int = 4
    patch_frames: int = 4
    n_centroids: int = 500
    variance: float = 0.99
    n_patches: int = 100_000
    sequence_patches: int = 200
    max_passes: int = 20
    pool_frames: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("model.representation", self.representation, REPRESENTATIONS)
        check_range("model.n_levels", self.n_levels, 1, 8)
        check_range("model.n_centroids", self.n_centroids, 2)
        check_range("model.n_patches", self.n_patches, self.n_centroids)
        for name in ("patch_frames", "pool_frames", "sequence_patches", "max_passes"):
            check_range(f"model.{name}", getattr(self, name), 1)
        if not 0 < self.variance <= 1:
            raise ConfigError(f"model.variance must be above 0 and at most 1. Received: {self.variance}.")
        if not self.windows or len(set(self.windows)) < len(self.windows):
            raise ConfigError(f"model.windows must name windows that differ. Received: {list(self.windows)}.")
        for window in self.windows:
            check_range("model.windows", window, 16, 65_536)

    @property
    def needs_waveforms(self) -> bool:
        """Whether magnitudes of one window, as most datasets hold them, are not enough."""
        return self.representation == "multiresolution" and len(self.windows) > 1

    @property
    def n_scales(self) -> int:
        """Spectrograms, or levels of a pyramid."""
        return len(self.windows) if self.representation == "multiresolution" else self.n_levels


_MULTISCALE = Baseline(
    "multiscale",
    Config(),
    TrainingConfig(epochs=50),
    SequenceConfig(frames=512),
    FrontEndConfig(order="mel_db"),
    procedure="kernels",
)
VARIANTS = {
    "multiscale": _MULTISCALE,
    **{
        f"multiscale-{name}": dataclasses.replace(
            _MULTISCALE, key=f"multiscale-{name}", model=Config(representation=name)
        )
        for name in REPRESENTATIONS[1:]
    },
}


def build_features(baseline: Baseline, audio: AudioConfig) -> keras.Model:
    """Return (batch, frames, frame_size) sound to (batch, 2 * n_scales * n_centroids) features, float32.

    Kernels are random until `set_kernels` gives them; nothing is trained by gradients.

    Raises
    ------
    ConfigError
        When the dataset holds magnitudes of another window than is asked for, or sequences are too short.
    """
    config: Config = baseline.model
    sound, scales = timescales(baseline, audio)
    pooled = []
    for number, x in enumerate(scales, 1):
        encode = keras.layers.Conv1D(
            config.n_centroids,
            config.patch_frames,
            kernel_initializer="he_normal",
            dtype="float32",
            name=kernels_name(number),
        )
        pool = max(1, config.pool_frames * x.shape[1] // scales[0].shape[1])
        x = keras.layers.MaxPooling1D(pool, padding="same", dtype="float32", name=f"pool_{number}")(encode(x))
        for name, layer in (
            ("mean", keras.layers.GlobalAveragePooling1D),
            ("max", keras.layers.GlobalMaxPooling1D),
        ):
            pooled.append(layer(dtype="float32", name=f"{name}_of_scale_{number}")(x))
    features = keras.layers.Concatenate(dtype="float32", name="features")(pooled)
    model = keras.Model(sound, features, name=f"{baseline.key}_features")
    model.trainable = False
    return model


def kernels_name(scale: int) -> str:
    """Return the name of the layer that has the kernels of a scale, counted from 1."""
    return f"kernels_{scale}"


def set_kernels(features: keras.Model, scale: int, kernels: Any, bias: Any) -> None:
    """Give the network of `build_features` the kernels of one scale.

    Parameters
    ----------
    features
        What `build_features` made.
    scale
        From 1.
    kernels, bias
        Shapes (patch_frames * n_mels, n_centroids), frame after frame, and (n_centroids,), float32.
    """
    layer = features.get_layer(kernels_name(scale))
    layer.set_weights([np.reshape(kernels, layer.kernel.shape), bias])


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Return (batch, n_features) features to (batch, n_factors) scaled factors: what is trained or solved.

    Each feature is first brought to mean 0 and variance 1.
    """
    config: Config = baseline.model
    features = keras.Input((2 * config.n_scales * config.n_centroids,), name="features")
    norm = keras.layers.BatchNormalization(
        epsilon=LEAST_VARIANCE, center=False, scale=False, dtype="float32", name="norm_features"
    )
    norm.trainable = False  # as `adapt` gave it
    return keras.Model(
        features, regressor_head(norm(features), config, n_factors), name=f"{baseline.key}_regressor"
    )


def build_stages(baseline: Baseline, n_factors: int, audio: AudioConfig) -> tuple[keras.Model, ...]:
    """Return the two models that `build` joins, features and regressor; see `build_features` for errors."""
    return build_features(baseline, audio), build_regressor(baseline, n_factors)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Return the whole model, from (batch, frames, frame_size) sound to (batch, n_factors).

    See `build_features` for errors.
    """
    return join_stages(baseline.key, *build_stages(baseline, n_factors, audio))


def adapt(regressor: keras.Model, baseline: Baseline, features: Any) -> None:
    """Give `regressor` mean and variance of all train sequences' `features`, shape (n, n_features)."""
    norm, n = regressor.get_layer("norm_features"), len(features)
    mean = np.mean(features, axis=0, dtype=np.float64)
    blocks = (
        features[first : first + BLOCK] for first in range(0, n, BLOCK)
    )  # they may be larger than memory
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(sum(np.square(block - mean).sum(axis=0) for block in blocks) / n)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of `baseline`, the default point."""
    start = baseline.model
    options = {
        "patch_frames": (1, 2, 4, 8),
        "n_centroids": (100, 200, 500, 1000),
        "pool_frames": (8, 16, 32, 64),
        "variance": (0.9, 0.95, 0.99),
    }
    model = draw(hp, "model", options, start)
    if start.representation != "multiresolution":
        model |= draw(hp, "model", {"n_levels": (2, 3, 4)}, start)
    regressor, training = regressor_space(hp, baseline)
    return {
        "model": model | regressor,
        "training": training,
        "sequence": sequence_space(hp, baseline),
        "front_end": front_end_space(hp, baseline),
    }
