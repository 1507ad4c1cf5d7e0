"""Sound as several mel spectrograms, from fine to coarse in time: what `multiscale` finds its kernels in."""

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
    """Return a network's input, and decibel mel bands of it from fine to coarse.

    Parameters
    ----------
    baseline
        One of `cs_keras.models.multiscale`: representation and its settings, sequence, bands.
    audio
        What the dataset holds.

    Returns
    -------
    KerasTensor, list of KerasTensor
        Input, shape (batch, frames, frame_size); bands of each scale, (batch, frames of it, n_mels), float32.

    Raises
    ------
    ConfigError
        When the dataset holds magnitudes of another window than is asked for, or sequences are too short.
    """
    config = baseline.model
    frames = baseline.sequence.frames
    if config.representation != "multiresolution":
        sound, magnitude = audio_input(frames, audio)
        _check_length(-(-frames // 2 ** (config.n_levels - 1)), baseline)
        pyramid = gaussian_pyramid if config.representation == "gaussian" else laplacian_pyramid
        return sound, pyramid(_mel_bands(magnitude, baseline, audio), config.n_levels)
    if not audio.holds_waveforms:
        if config.windows != (audio.n_fft,):
            raise ConfigError(
                f"{baseline.key} hears windows of {', '.join(map(str, config.windows))} samples, and the dataset "
                f"holds magnitudes of windows of {audio.n_fft} alone; make one of waveforms (cs-keras ingest "
                f"--waveforms), or take model.windows=[{audio.n_fft}]."
            )
        sound, magnitude = audio_input(frames, audio)
        _check_length(frames, baseline)
        return sound, [_mel_bands(magnitude, baseline, audio)]
    sound = keras.Input((frames, audio.frame_size), name=audio.content)
    scales = []
    for window in config.windows:
        windows = dataclasses.replace(audio, n_fft=window, hop_length=window // 2)
        suffix = f"_{window}"
        _check_length(-(-frames * audio.hop_length // windows.hop_length), baseline)
        scales.append(_mel_bands(magnitudes(sound, windows, suffix), baseline, windows, suffix))
    return sound, scales


def _check_length(n_frames: int, baseline: Baseline) -> None:
    """Refuse sequences of which a scale has less than a patch; smoothing needs two frames."""
    expected = max(2, baseline.model.patch_frames)
    if n_frames < expected:
        raise ConfigError(
            f"sequence.frames = {baseline.sequence.frames} leaves {n_frames} of a coarse scale of {baseline.key}: "
            f"expected at least {expected}; take longer sequences, fewer scales or a smaller model.patch_frames."
        )


def _mel_bands(magnitude: Any, baseline: Baseline, audio: AudioConfig, suffix: str = "") -> Any:
    x = mel_spectrogram(magnitude, baseline.front_end, audio, suffix)
    return keras.layers.Reshape(x.shape[1:3], dtype="float32", name=f"bands{suffix}")(x)
