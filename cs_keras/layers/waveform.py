"""The audio input of networks: stored magnitudes, or magnitudes computed from samples by Kapre layers."""

from typing import Any

import kapre
import keras

from cs_keras.audio.settings import AudioConfig


def audio_input(frames: int | None, audio: AudioConfig) -> tuple[Any, Any]:
    """Return the input of a network and its magnitudes: the same tensor, unless the dataset holds samples.

    Their shapes are (batch, frames, frame_size) and (batch, frames, n_bins), float32; `frames` is None for any
    number.
    """
    source = keras.Input((frames, audio.frame_size), name=audio.content)
    return source, magnitudes(source, audio) if audio.holds_waveforms else source


def magnitudes(waveform: Any, audio: AudioConfig, suffix: str = "") -> Any:
    """Return short-time Fourier magnitudes, shape (batch, ceil(frames * n / hop_length), n_bins), float32.

    `waveform` is a Keras tensor, shape (batch, frames, n), any float dtype: samples, n of them after one another
    in each frame. Window and hop in `audio` need not be those of the dataset. Frame t is of the window that
    begins with sample ``t * hop_length``, as `MagnitudeSpectrogram` has it. There is one for every hop: windows
    that reach beyond the last sample are filled up with zeros. `suffix` is that of the layers' names.
    """
    samples = keras.layers.Reshape((-1, 1), dtype="float32", name=f"samples{suffix}")(waveform)
    stft = kapre.STFT(
        n_fft=audio.n_fft,
        hop_length=audio.hop_length,
        window_name=f"{audio.window}_window",
        pad_end=True,
        input_data_format="channels_last",
        output_data_format="channels_last",
        dtype="float32",
        name=f"stft{suffix}",
    )
    x = kapre.Magnitude(dtype="float32", name=f"stft_magnitude{suffix}")(stft(samples))
    n_frames = -1 if samples.shape[1] is None else -(-samples.shape[1] // audio.hop_length)
    return keras.layers.Reshape((n_frames, audio.n_bins), dtype="float32", name=f"spectrum{suffix}")(x)
