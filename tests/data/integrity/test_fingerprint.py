"""The same audio is found however it was treated; different audio is not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import soundfile

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.demo.catalogue import draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.synthesis import synthesise
from cs_keras.data.integrity.fingerprint import (
    MAX_BIT_ERROR_RATE,
    MIN_HASH_WORDS,
    SILENT_WORD,
    MinHash,
    band_edges,
    bit_error_rate,
    extract_words,
    find_candidates,
    min_hash,
    word_bits,
)

AUDIO = AudioConfig()
RATE = AUDIO.sample_rate
BITS = word_bits(AUDIO)
N_TRACKS = 24


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Magnitudes by NumPy alone, shape (n_frames, 513), float16."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, AUDIO.n_fft)[:: AUDIO.hop_length]
    return np.abs(np.fft.rfft(frames * scipy.signal.get_window("hann", AUDIO.n_fft))).astype(np.float16)


def words_of(samples: np.ndarray) -> np.ndarray:
    return extract_words(spectrogram(samples), AUDIO)


def rate_between(one: np.ndarray, other: np.ndarray) -> float:
    """Bit error rate as the search finds it; 1 where it finds no candidate."""
    candidates = find_candidates([min_hash(one), min_hash(other)])
    return min((bit_error_rate(one, other, lag, BITS) for _, _, lag in candidates), default=1.0)


@pytest.fixture(scope="module")
def tracks() -> list[np.ndarray]:
    """Different demo tracks, among them several of each artist."""
    catalogue = draw_catalogue(DemoConfig(n_tracks=N_TRACKS, n_artists=8, mean_playlist_length=6.0))
    return [
        synthesise(style, 12.0, RATE, np.random.default_rng(i)) for i, style in enumerate(catalogue.styles)
    ]


def noisy(samples: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(samples))
    return (samples + noise * samples.std() * 10 ** (-20 / 20)).astype(np.float32)


def as_mp3(samples: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="MP3", subtype="MPEG_LAYER_III")
    return soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]


TREATMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gain of -20 dB": lambda samples: samples * np.float32(0.1),
    "noise at 20 dB": noisy,
    "begins 0.5 s later": lambda samples: samples[RATE // 2 :],
    "0.5 s of silence before": lambda samples: np.pad(samples, (RATE // 2, 0)),
    "mp3": as_mp3,
    "mp3, softer, 0.15 s later": lambda samples: as_mp3(samples[3333:] * np.float32(0.3)),
}


@pytest.mark.medium
@pytest.mark.parametrize("treatment", TREATMENTS)
def test_treated_copy_is_found(treatment: str, tracks: list[np.ndarray]) -> None:
    treat = TREATMENTS[treatment]
    rates = np.array([rate_between(words_of(track), words_of(treat(track))) for track in tracks])
    # Of 100 demo tracks of 12 to 18 s, 5 with noise, 3 softer and later as mp3, and 2 begun later go unnoticed.
    assert (rates <= MAX_BIT_ERROR_RATE).sum() >= N_TRACKS - 1, np.sort(rates)[-4:]


def test_different_tracks_are_not_near_duplicates(tracks: list[np.ndarray]) -> None:
    words = [words_of(track) for track in tracks]
    for first, second, lag in find_candidates([min_hash(each) for each in words]):
        assert bit_error_rate(words[first], words[second], lag, BITS) > MAX_BIT_ERROR_RATE


def test_words_are_the_signs_of_equation_1() -> None:
    """Against a loop over frames and bands, in float64."""
    magnitudes = np.random.default_rng(0).random((40, AUDIO.n_bins)).astype(np.float32)
    edges, window = band_edges(AUDIO), np.hanning(18)[1:-1]
    power = np.stack(
        [(magnitudes[:, a:b].astype(float) ** 2).sum(1) for a, b in zip(edges, edges[1:], strict=False)]
    )
    energy = np.array([[window @ band[t : t + 16] for band in power] for t in range(25)])
    expected = np.zeros(24, np.uint32)
    for t in range(1, 25):
        for m in range(BITS):
            change = energy[t, m] - energy[t, m + 1] - (energy[t - 1, m] - energy[t - 1, m + 1])
            expected[t - 1] |= np.uint32(change > 0) << np.uint32(m)
    assert extract_words(magnitudes, AUDIO).tolist() == expected.tolist()


def test_bands_of_a_short_transform_are_fewer() -> None:
    assert BITS == 32
    assert word_bits(AudioConfig(sample_rate=4000, n_fft=16, hop_length=8)) < 16
    assert (np.diff(band_edges(AudioConfig(n_fft=256, hop_length=128))) >= 1).all()


def test_silence_has_no_min_hash_and_no_duplicate() -> None:
    silence = extract_words(np.zeros((200, AUDIO.n_bins), np.float16), AUDIO)
    assert (silence == SILENT_WORD).all()
    assert len(min_hash(silence).words) == 0
    assert bit_error_rate(silence, silence, 0, BITS) == 1.0


@pytest.mark.parametrize("n_frames", [0, 1, 16, 17, 18])
def test_short_tracks_have_few_words(n_frames: int) -> None:
    words = extract_words(np.ones((n_frames, AUDIO.n_bins), np.float16), AUDIO)
    assert len(words) == max(0, n_frames - 16)
    assert find_candidates([min_hash(words)] * 2) == []


def random_words(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**32, n, dtype=np.uint32)


def test_bit_error_rate_counts_bits() -> None:
    words = random_words(200)
    assert bit_error_rate(words, words, 0, BITS) == 0
    assert bit_error_rate(words[10:], words, 10, BITS) == 0
    assert bit_error_rate(words, words[10:], -10, BITS) == 0
    assert bit_error_rate(words, words ^ np.uint32(0b111), 0, BITS) == pytest.approx(3 / 32)
    assert bit_error_rate(words, words, 190, BITS) == 1.0  # too little overlap
    assert bit_error_rate(words, words, -500, BITS) == 1.0
    assert bit_error_rate(words, random_words(200, 1), 0, BITS) == pytest.approx(0.5, abs=0.05)


def test_min_hash_does_not_depend_on_the_offset() -> None:
    words = random_words(5000)
    early, late = min_hash(words), min_hash(np.concatenate([np.zeros(7, np.uint32), words]))
    assert len(early.words) == MIN_HASH_WORDS
    assert early.words.tolist() == late.words.tolist()
    assert (late.frames - early.frames == 7).all()


def test_search_equals_comparing_all_pairs() -> None:
    """Planted copies are found with their lag, and nothing else is."""
    sketches = [min_hash(random_words(1000, seed)) for seed in range(40)]
    sketches += [MinHash(sketches[i].words, sketches[i].frames + np.int32(3 + i)) for i in (4, 17)]
    assert find_candidates(sketches) == [(4, 40, 7), (17, 41, 20)]


def test_a_word_of_all_tracks_gives_no_candidates() -> None:
    everywhere = MinHash(np.array([5], np.uint32), np.array([0], np.int32))
    assert find_candidates([everywhere] * 2000) == []


def test_no_tracks() -> None:
    assert find_candidates([]) == []
