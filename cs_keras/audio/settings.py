"""What a magnitude spectrogram is made with: sampling rate, window, hop and mix-down."""

import dataclasses

from cs_keras.config import check_choice, check_range


@dataclasses.dataclass(frozen=True)
class AudioConfig:
    """Settings of the magnitude spectrogram; the defaults are those of the reference thesis (Pohl 2019).

    Attributes
    ----------
    sample_rate
        Hz, after resampling.
    n_fft
        Samples in a window and in its Fourier transform.
    hop_length
        Samples from one window to the next.
    window
        Name of the (periodic) window: ``hann`` or ``hamming``.
    mixdown
        How channels become one: ``mean``, as librosa does, or ``sum``, as the thesis does (+6 dB for stereo).
    """

    sample_rate: int = 22050
    n_fft: int = 1024
    hop_length: int = 512
    window: str = "hann"
    mixdown: str = "mean"

    def __post_init__(self) -> None:
        check_range("audio.sample_rate", self.sample_rate, 4000, 384_000)
        check_range("audio.n_fft", self.n_fft, 16, 65_536)
        check_range("audio.hop_length", self.hop_length, 1, self.n_fft)
        check_choice("audio.window", self.window, ("hann", "hamming"))
        check_choice("audio.mixdown", self.mixdown, ("mean", "sum"))

    @property
    def n_bins(self) -> int:
        """Frequency bins of a frame: ``n_fft // 2 + 1``."""
        return self.n_fft // 2 + 1

    @property
    def frames_per_second(self) -> float:
        """Frames in a second of sound."""
        return self.sample_rate / self.hop_length

    def n_frames(self, n_samples: int) -> int:
        """Whole windows that fit in `n_samples` (no padding at either end)."""
        return max(0, 1 + (n_samples - self.n_fft) // self.hop_length)
