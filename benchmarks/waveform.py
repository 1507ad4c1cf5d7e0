"""The noise of float16 waveforms, and their size compared with magnitudes.

python -m benchmarks.waveform AUDIO...
"""

import argparse
from pathlib import Path

import numpy as np

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.audio.waveform import WaveformFrames, magnitude_frames
from cs_keras.data.catalogue import find_audio

AUDIO = AudioConfig(content="waveform")


def noise_ratio_db(exact: np.ndarray, stored: np.ndarray) -> float:
    """Return the signal-to-noise ratio of `stored` as an approximation of `exact`, in dB."""
    noise = np.square(stored.astype(np.float64) - exact).mean()
    return float(10 * np.log10(np.square(exact, dtype=np.float64).mean() / noise))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", nargs="+", type=Path)
    exact_of, half_of = WaveformFrames(AUDIO, "float32"), WaveformFrames(AUDIO)
    of_samples, of_magnitudes = [], []
    for path, _ in find_audio(parser.parse_args().audio):
        samples = load_mono(path, AUDIO)
        exact, half = exact_of(samples), half_of(samples)
        of_samples.append(noise_ratio_db(exact, half))
        of_magnitudes.append(noise_ratio_db(magnitude_frames(exact, AUDIO), magnitude_frames(half, AUDIO)))
    for name, ratios in (("samples", of_samples), ("their magnitudes", of_magnitudes)):
        print(
            f"float16, {name}: signal to noise {np.median(ratios):.1f} dB, "
            f"{min(ratios):.1f} to {max(ratios):.1f} dB in {len(ratios)} recordings"
        )
    print(f"bytes: {AUDIO.frame_size / AUDIO.n_bins:.3f} of magnitudes, at {AUDIO.hop_length} samples a hop")


if __name__ == "__main__":
    main()
