"""Several mel spectrograms of one recording, from fine to coarse in time: the input of `multiscale`."""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import mel_spectrogram
from cs_keras.layers.pyramid import gaussian_pyramid, laplacian_pyramid
from cs_keras.layers.waveform import audio_input, magnitudes
from cs_keras.models.spec import Baseline

REPRESENTATIONS = ("multiresolution", "gaussian", "laplacian")


def timescales(baseline: Baseline, audio: AudioConfig) -> tuple[Any, list[Any]]:
    """Build the input of a network, (batch, frames, frame_size), and its decibel mel bands at several scales.

    Bands have shape (batch, frames of the scale, n_mels), float32. Raises ConfigError when the dataset holds
    magnitudes of a window that is not configured, or sequences are too short.
    """
    config = baseline.model
    frames = baseline.sequence.frames
    if config.representation != "multiresolution":
        inputs, magnitude = audio_input(frames, audio)
        _check_length(-(-frames // 2 ** (config.n_levels - 1)), baseline)
        pyramid = gaussian_pyramid if config.representation == "gaussian" else laplacian_pyramid
        return inputs, pyramid(_mel_bands(magnitude, baseline, audio), config.n_levels)
    if not audio.holds_waveforms:
        if config.windows != (audio.n_fft,):
            raise ConfigError(
                f"{baseline.key} needs windows of {', '.join(map(str, config.windows))} samples, and the dataset "
                f"holds magnitudes of windows of {audio.n_fft} samples; make one of waveforms (cs-keras ingest "
                f"--waveforms), or set model.windows=[{audio.n_fft}]."
            )
        inputs, magnitude = audio_input(frames, audio)
        _check_length(frames, baseline)
        return inputs, [_mel_bands(magnitude, baseline, audio)]
    inputs = keras.Input((frames, audio.frame_size), name=audio.content)
    scales = []
    for window in config.windows:
        windows = dataclasses.replace(audio, n_fft=window, hop_length=window // 2)
        suffix = f"_{window}"
        _check_length(-(-frames * audio.hop_length // windows.hop_length), baseline)
        scales.append(_mel_bands(magnitudes(inputs, windows, suffix), baseline, windows, suffix))
    return inputs, scales


def _check_length(n_frames: int, baseline: Baseline) -> None:
    """Raise ConfigError if a scale has fewer frames than a patch; smoothing needs two."""
    expected = max(2, baseline.model.patch_frames)
    if n_frames < expected:
        raise ConfigError(
            f"sequence.frames = {baseline.sequence.frames} gives {n_frames} frames on a coarse scale of "
            f"{baseline.key}: expected at least {expected}; use longer sequences, fewer "
            "scales or a smaller model.patch_frames."
        )


def _mel_bands(magnitude: Any, baseline: Baseline, audio: AudioConfig, suffix: str = "") -> Any:
    x = mel_spectrogram(magnitude, baseline.front_end, audio, suffix)
    return keras.layers.Reshape(x.shape[1:3], dtype="float32", name=f"bands{suffix}")(x)
