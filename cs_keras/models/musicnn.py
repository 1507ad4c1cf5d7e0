"""musicnn (Pons & Serra 2019), trained on music tags, as a feature extractor: frozen, or fine-tuned.

Its input is its own log-mel spectrogram: 96 mel bands up to 8 kHz, windows of 32 ms, one every 16 ms, in patches of
3 s (`musicnn_network.log_mel`; ``front_end`` is not used). From waveforms the front end computes these windows at
any sample rate. Stored magnitudes have windows of their own: frames are interpolated linearly to one every 16 ms,
and a dataset with the settings of `musicnn_network.AUDIO` gives the network exactly what it was trained on. The 200
features are those of its last hidden layer. The network pools over time, so sequences may be of any length.

``musicnn`` computes the features of all sequences once, and then fits a regressor to them. ``musicnn-finetune``
trains the whole network: first the new layers, then all, those of musicnn at a rate of their own. Batch norms keep
their statistics, unless weights are random.
"""

import dataclasses
from pathlib import Path
from typing import Any

import keras
from keras import ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.layers.waveform import magnitudes
from cs_keras.models.blocks import augment_magnitude, dense_head, mask_spectrogram
from cs_keras.models.declaration import FEATURES, ModelConfig
from cs_keras.models.musicnn_network import AUDIO, build_network, find_checkpoint, log_mel, own_windows
from cs_keras.models.regressors import (
    RegressorConfig,
    adapt,
    join_stages,
    regressor_space,
    standardised_regressor,
)
from cs_keras.models.spaces import DENSE, DROPOUT, augment_space, draw, sequence_space, training_space
from cs_keras.models.spec import Baseline, TrainingConfig

__all__ = ["VARIANTS", "Config", "adapt", "build", "build_stages", "search_space"]  # a `StagedModelFile`

CHECKPOINT = "MSD_musicnn"  # found also in the folder of another, of the same architecture
NETWORK = "musicnn"
N_FEATURES = 200


class _Pretrained(ModelConfig):
    def notes(self, baseline: Baseline) -> tuple[str, ...]:
        """Say that musicnn is random where it is."""
        if self.weights is not None:
            return ()
        state = "is random and frozen" if baseline.procedure.is_precomputed else "starts from random weights"
        return (f"no pretrained musicnn was given (models.{baseline.key}.model.weights): it {state}",)


@dataclasses.dataclass(frozen=True)
class Config(_Pretrained, RegressorConfig):
    """Settings of the regressor on frozen features.

    Attributes
    ----------
    weights
        Folder of musicnn's checkpoint, ``MSD_musicnn`` or ``MTT_musicnn``, or of the package `musicnn`, for the
        first; ``none`` for random weights.
    """

    regressor: str = "ridge_gcv"
    dense: tuple[int, ...] = (1024, 1024, 512)
    weights: str | None = None


@dataclasses.dataclass(frozen=True)
class FineTuningConfig(_Pretrained):
    """Settings of the network that is trained.

    Attributes
    ----------
    weights
        Folder of musicnn's checkpoint, ``MSD_musicnn`` or ``MTT_musicnn``, or of the package `musicnn`, for the
        first; ``none`` for random weights.
    dense, dropout
        Units of each hidden dense layer, and the dropout rate after it.
    """

    weights: str | None = None
    dense: tuple[int, ...] = (512,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for n in self.dense:
            check_range("model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)

    @property
    def pretrained_layers(self) -> tuple[str, ...]:
        """Name of musicnn within the network."""
        return (NETWORK,)


_PATCHES = SequenceConfig(frames=129)  # 3 s
VARIANTS = {
    baseline.key: baseline
    for baseline in (
        Baseline("musicnn", Config(), TrainingConfig(epochs=50), _PATCHES, procedure=FEATURES),
        Baseline(
            "musicnn-finetune",
            FineTuningConfig(),
            TrainingConfig(pretrained_learning_rate=1e-5, frozen_epochs=2),
            _PATCHES,
        ),
    )
}


def input_patches(baseline: Baseline, audio: AudioConfig) -> tuple[Any, Any]:
    """Return the audio input, (batch, frames, frame_size), and that of musicnn, (batch, steps, 96, 1).

    There is a step every 16 ms.
    """
    frames, windows = baseline.sequence.frames, audio
    x = inputs = keras.Input((frames, audio.frame_size), name=audio.content)
    if audio.holds_waveforms:
        windows = own_windows(audio)
        x = magnitudes(inputs, windows)
    x = log_mel(augment_magnitude(x, baseline.augment), windows)
    n_steps = max(1, round(frames * AUDIO.frames_per_second / audio.frames_per_second))
    if not audio.holds_waveforms and frames != n_steps:
        x = ops.image.resize(x, (n_steps, x.shape[2]), data_format="channels_last")
    return inputs, mask_spectrogram(x, baseline.augment)


def build_features(baseline: Baseline, audio: AudioConfig) -> keras.Model:
    """Build musicnn from audio, (batch, frames, frame_size), to features, (batch, 200)."""
    inputs, patches = input_patches(baseline, audio)
    weights = baseline.model.weights
    checkpoint = find_checkpoint(CHECKPOINT, Path(weights)) if weights else None
    network = build_network(CHECKPOINT, checkpoint, patches.shape[1])
    network = keras.Model(network.input, network.output["features"], name=NETWORK)
    return keras.Model(inputs, network(patches), name=f"{baseline.key}_features")


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Build the regressor from standardised features, (batch, 200), to scaled factors, (batch, n_factors)."""
    return standardised_regressor(baseline, N_FEATURES, n_factors)


def build_stages(baseline: Baseline, n_factors: int, audio: AudioConfig) -> tuple[keras.Model, ...]:
    """Build the two models that `build` joins where musicnn is frozen: musicnn and regressor."""
    features = build_features(baseline, audio)
    features.trainable = False
    return features, build_regressor(baseline, n_factors)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model."""
    if baseline.procedure.is_precomputed:
        return join_stages(baseline.key, *build_stages(baseline, n_factors, audio))
    features, config = build_features(baseline, audio), baseline.model
    factors = dense_head(features.output, config.dense, n_factors, config.dropout)
    return keras.Model(features.input, factors, name=baseline.key)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of regressor, training and input from `hp`; musicnn stays as it is."""
    if baseline.procedure.is_precomputed:
        model, training = regressor_space(hp, baseline)
        return {"model": model, "training": training}
    return {
        "model": draw(hp, "model", {"dense": DENSE, "dropout": DROPOUT}, baseline.model),
        "training": training_space(hp, baseline),
        "sequence": sequence_space(hp, baseline),
        "augment": augment_space(hp, baseline),
    }
