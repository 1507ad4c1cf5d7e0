"""Features on several timescales, learnt without labels: "Multiscale approaches to music audio feature learning".

Dieleman & Schrauwen 2013, as described in Dieleman's slides of 2014. Audio is represented at several scales, from
fine to coarse in time: by mel spectrograms with windows of 1,024 to 8,192 samples (``multiresolution``), or by one
of them with its Gaussian or Laplacian pyramid along time (Burt & Adelson 1983). For each scale, spherical k-means
finds kernels in whitened patches of a few frames (`cs_keras.training.feature_learning.spherical_kmeans`); features
are the dot products of patches and kernels, a convolution. They are max-pooled over short segments, then mean and
maximum are taken over the sequence.

The slides name windows, pyramids, k-means and linear encoding. Frames per patch, centroids, levels, pools, decibels
and the overlap of windows by half are ours. The slides' tag classifier with a hidden layer of 1,000 units is here a
regression to factors with ELU, or any other of `cs_keras.models.regressors`.
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
from cs_keras.models.declaration import KERNELS
from cs_keras.models.regressors import (
    MIN_VARIANCE,
    NORM,
    RegressorConfig,
    adapt,
    join_stages,
    regressor_head,
    regressor_space,
)
from cs_keras.models.spaces import draw, front_end_space, sequence_space
from cs_keras.models.spec import Baseline, TrainingConfig
from cs_keras.models.timescales import REPRESENTATIONS, timescales

__all__ = ["VARIANTS", "Config", "adapt", "build", "build_stages", "search_space"]  # a `StagedModelFile`


@dataclasses.dataclass(frozen=True)
class Config(RegressorConfig):
    """Settings of features and regressor.

    Attributes
    ----------
    representation
        ``multiresolution``, ``gaussian`` or ``laplacian``.
    windows
        Window lengths of ``multiresolution`` in samples; windows overlap by half.
    n_levels
        Number of levels of a pyramid.
    patch_frames
        Frames per patch.
    n_centroids
        Kernels per scale.
    variance
        Share of the variance of patches that whitening preserves.
    n_patches
        Number of patches that kernels of each scale are learnt from; it bounds memory.
    sequence_patches
        Maximum number of patches of one sequence; if not all tracks are needed, they are drawn at random.
    max_passes
        Maximum number of passes of k-means over the patches.
    pool_frames
        Frames of the first scale over which features are max-pooled; the same duration in the others.
    """

    dense: tuple[int, ...] = (1000,)
    penalty: float = 1e4  # most datasets have fewer tracks than there are features

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
            raise ConfigError(f"model.windows must name distinct windows. Received: {list(self.windows)}.")
        for window in self.windows:
            check_range("model.windows", window, 16, 65_536)

    @property
    def needs_waveforms(self) -> bool:
        """Whether magnitudes of one window are not enough."""
        return self.representation == "multiresolution" and len(self.windows) > 1

    @property
    def n_scales(self) -> int:
        """Number of spectrograms, or of levels of a pyramid."""
        return len(self.windows) if self.representation == "multiresolution" else self.n_levels


_MULTISCALE = Baseline(
    "multiscale",
    Config(),
    TrainingConfig(epochs=50),
    SequenceConfig(frames=512),
    FrontEndConfig(order="mel_db"),
    procedure=KERNELS,
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
    """Build the model from audio, (batch, frames, frame_size), to features, (batch, 2 * n_scales * n_centroids).

    Kernels are random until `set_kernels`; gradients train nothing. See `timescales` for errors.
    """
    config: Config = baseline.model
    inputs, scales = timescales(baseline, audio)
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
    model = keras.Model(inputs, features, name=f"{baseline.key}_features")
    model.trainable = False
    return model


def kernels_name(scale: int) -> str:
    """Return the name of the layer with the kernels of a scale, counted from 1."""
    return f"kernels_{scale}"


def set_kernels(features: keras.Model, scale: int, kernels: Any, bias: Any) -> None:
    """Set the kernels of one scale, counted from 1, of the model that `build_features` returned.

    `kernels` have shape (patch_frames * n_mels, n_centroids), frame by frame, and `bias` (n_centroids,), float32.
    """
    layer = features.get_layer(kernels_name(scale))
    layer.set_weights([np.reshape(kernels, layer.kernel.shape), bias])


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Build the regressor from features, (batch, n_features), to scaled factors, (batch, n_factors).

    It first standardises each feature.
    """
    config: Config = baseline.model
    features = keras.Input((2 * config.n_scales * config.n_centroids,), name="features")
    norm = keras.layers.BatchNormalization(
        epsilon=MIN_VARIANCE, center=False, scale=False, dtype="float32", name=NORM
    )
    norm.trainable = False  # `adapt` sets it
    return keras.Model(
        features, regressor_head(norm(features), config, n_factors), name=f"{baseline.key}_regressor"
    )


def build_stages(baseline: Baseline, n_factors: int, audio: AudioConfig) -> tuple[keras.Model, ...]:
    """Build the two models that `build` joins, features and regressor."""
    return build_features(baseline, audio), build_regressor(baseline, n_factors)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model."""
    return join_stages(baseline.key, *build_stages(baseline, n_factors, audio))


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
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
