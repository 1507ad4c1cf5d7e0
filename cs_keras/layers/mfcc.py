"""Mel-frequency cepstral coefficients with their first and second differences over time."""

from typing import Any

import kapre
import keras

DELTA_FRAMES = 9  # librosa's default width: 0.2 s at the default hop


def mfcc(mel_db: Any, n_mfcc: int = 13, deltas: int = 2) -> Any:
    """Return MFCCs followed by their differences over time: as many as `deltas`, at most 2.

    Kapre's coefficients follow HTK, which makes the first one sqrt(2) times that of an orthonormal DCT; here it
    is scaled back, so that they equal ``librosa.feature.mfcc``. Each difference is the regression slope over
    nine frames, taken again for the second (as HTK does), mirrored at the ends: ``librosa.feature.delta(...,
    width=9, mode="mirror")``, once and twice.

    `mel_db` has shape (batch, frames, n_mels, 1), decibels; the result (batch, frames, n_mfcc * (1 + deltas)),
    float32.
    """
    coefficients = kapre.LogmelToMFCC(
        n_mfccs=n_mfcc, data_format="channels_last", dtype="float32", name="mfcc"
    )(mel_db)
    scale = [[0.5**0.5]] + [[1.0]] * (n_mfcc - 1)
    x = keras.layers.Rescaling(scale, dtype="float32", name="orthonormal")(coefficients)
    stages = [x]
    for order in range(1, deltas + 1):
        delta = kapre.Delta(
            DELTA_FRAMES, mode="reflect", data_format="channels_last", dtype="float32", name=f"delta_{order}"
        )
        stages.append(delta(stages[-1]))
    x = keras.layers.Concatenate(axis=2, dtype="float32", name="mfcc_deltas")(stages) if deltas else x
    return keras.layers.Reshape((-1, n_mfcc * (1 + deltas)), dtype="float32", name="frame_features")(x)
