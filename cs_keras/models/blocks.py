"""Parts that several networks share: augmented mel spectrogram, pooling over time, dense head."""

from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.layers.augmentation import RandomGain, SpectrogramMasks, TimeStretch
from cs_keras.layers.batch_norm import FusedBatchNormalization
from cs_keras.layers.front_end import mel_spectrogram, normalize_bands
from cs_keras.models.spec import AugmentConfig, Baseline

TIME_POOLING = ("flatten", "mean_max")


def input_spectrogram(magnitude: Any, baseline: Baseline, audio: AudioConfig) -> Any:
    """Compute decibel mel spectrograms of magnitude frames, with the augmentation of `baseline` during training.

    From shape (batch, frames, n_bins) to (batch, frames, n_mels, 1), float32; see
    `cs_keras.layers.front_end.mel_spectrogram`, also for errors, and `normalize_bands`.
    """
    x = augment_magnitude(magnitude, baseline.augment)
    x = normalize_bands(mel_spectrogram(x, baseline.front_end, audio), baseline.front_end)
    return mask_spectrogram(x, baseline.augment)


def augment_magnitude(x: Any, augment: AugmentConfig) -> Any:
    """Apply the gain and the time stretching of `augment` to magnitudes `x`, shape (batch, frames, n_bins)."""
    x = RandomGain(augment.gain_db, name="gain")(x) if augment.gain_db else x
    return TimeStretch(augment.time_stretch, name="time_stretch")(x) if augment.time_stretch else x


def mask_spectrogram(x: Any, augment: AugmentConfig) -> Any:
    """Apply the time and frequency masks of `augment` to `x`, shape (batch, frames, n_mels, 1)."""
    if not augment.n_time_masks and not augment.n_mel_masks:
        return x
    return SpectrogramMasks(
        augment.n_time_masks, augment.max_time_frames, augment.n_mel_masks, augment.max_mels, name="masks"
    )(x)


def pool_over_time(x: Any, kind: str) -> Any:
    """Pool a sequence of steps, shape (batch, steps, n), into one vector.

    ``flatten``: all steps concatenated, as in the reference thesis, shape (batch, steps * n); ``mean_max``: mean
    and maximum over the steps, which do not depend on when something sounds (Dieleman 2014), shape (batch, 2 * n).
    """
    if kind == "flatten":
        return keras.layers.Flatten(name="flatten")(x)
    mean = keras.layers.GlobalAveragePooling1D(name="mean_over_time")(x)
    maximum = keras.layers.GlobalMaxPooling1D(name="max_over_time")(x)
    return keras.layers.Concatenate(name="pooled_over_time")([mean, maximum])


def dense_head(
    x: Any, units: tuple[int, ...], n_factors: int, dropout: float = 0.0, batch_norm: bool = False
) -> Any:
    """Add hidden dense layers (ELU, he_normal) and an output layer of zeros, the mean of scaled factors.

    From shape (batch, n) to (batch, n_factors), float32; dropout follows each hidden layer, batch norm precedes its
    activation.
    """
    for number, n in enumerate(units, 1):
        activation = None if batch_norm else "elu"
        x = keras.layers.Dense(n, activation, kernel_initializer="he_normal", name=f"dense_{number}")(x)
        if batch_norm:
            x = FusedBatchNormalization(name=f"norm_{number}")(x)
            x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{number}")(x)
    return keras.layers.Dense(n_factors, kernel_initializer="zeros", dtype="float32", name="factors")(x)
