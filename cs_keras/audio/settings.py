"""Settings of the frames of a dataset: content, sample rate and short-time Fourier transform."""

import dataclasses

from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range

CONTENTS = ("magnitude", "waveform")


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
        Mix of channels: ``mean``, as librosa, or ``sum``, as the thesis (+6 dB for stereo).
    content
        Content of a frame on disk: ``magnitude``, the Fourier magnitudes of a window; or ``waveform``,
        `hop_length` samples, from which models compute magnitudes.
    """

    sample_rate: int = 22050
    n_fft: int = 1024
    hop_length: int = 512
    window: str = "hann"
    mixdown: str = "mean"
    content: str = dataclasses.field(default="magnitude", metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        check_range("audio.sample_rate", self.sample_rate, 4000, 384_000)
        check_range("audio.n_fft", self.n_fft, 16, 65_536)
        check_range("audio.hop_length", self.hop_length, 1, self.n_fft)
        check_choice("audio.window", self.window, ("hann", "hamming"))
        check_choice("audio.mixdown", self.mixdown, ("mean", "sum"))
        check_choice("audio.content", self.content, CONTENTS)

    @property
    def n_bins(self) -> int:
        """Frequency bins of a spectrum: ``n_fft // 2 + 1``."""
        return self.n_fft // 2 + 1

    @property
    def holds_waveforms(self) -> bool:
        """True for frames of samples, False for frames of magnitudes."""
        return self.content == "waveform"

    @property
    def frame_size(self) -> int:
        """Numbers in a frame on disk: bins of a magnitude frame, samples of a waveform's."""
        return self.hop_length if self.holds_waveforms else self.n_bins

    @property
    def frames_per_second(self) -> float:
        """Frames in a second of audio."""
        return self.sample_rate / self.hop_length

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames of `n_samples`: whole windows or whole hops, without padding."""
        if self.holds_waveforms:
            return n_samples // self.hop_length
        return max(0, 1 + (n_samples - self.n_fft) // self.hop_length)

    def n_samples(self, n_frames: int) -> int:
        """Return the number of samples that `n_frames`, at least one, cover."""
        if self.holds_waveforms:
            return n_frames * self.hop_length
        return (n_frames - 1) * self.hop_length + self.n_fft

    def duration_s(self, n_frames: int) -> float:
        """Return the duration of `n_frames` in seconds."""
        return self.n_samples(n_frames) / self.sample_rate
