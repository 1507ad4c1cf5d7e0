"""Audio fingerprints: find copies of one recording at another level, offset or bit rate from stored magnitudes.

Each frame becomes a word (sub-fingerprint) of up to 32 bits, the signs of differences of band energies along
frequency and time (J. Haitsma & T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002, eq. 1). As
there, energies are of Hann windows of 0.37 s, here summed over stored frames; the bands reach up to 5 kHz instead
of 2 kHz, because the bins of a short transform are too wide for 33 bands below that. Two recordings are
near-duplicates when, aligned, at most 30 % of their bits differ. Section 4.2 there allows 35 %; but different demo
tracks, which share drum sounds, come down to 33 %, while copies with noise at 20 dB, an offset or a low bit rate
stay below 26 %.

Comparing all pairs is too slow, so each track has a MinHash: its words with the smallest hashes (A. Broder, "On the
resemblance and containment of documents", 1997), which do not depend on where the audio starts. Tracks whose
MinHashes share words at one lag are candidates; only those are compared bit by bit. For n tracks MinHashes take
8 · MIN_HASH_WORDS · n bytes, and the search sorts MIN_HASH_WORDS · n words once (7 s, 1.5 GB for 53,000 tracks).
Copies that are cut in the middle, sped up or transposed are not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from cs_keras.audio.settings import AudioConfig

Words = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]

MAX_BANDS = 33
MIN_BITS = 16  # shorter words, of a short transform, are not distinctive enough
LOW_HZ, HIGH_HZ = 300.0, 5000.0
WINDOW_S = 0.37
SILENCE_DB = -60.0  # against the track's loudest window; quieter windows hold dither and coding noise
MIN_HASH_WORDS = 512
MIN_SHARED_WORDS = 3  # at one lag; 2 would give ten times as many candidates, nearly all of them wrong
MAX_LAGS = 4  # tried for two tracks; music that repeats itself agrees with itself at many
MAX_NEIGHBOURS = 4  # tracks with a word that one is paired with: a word that many have costs no more
MIN_OVERLAP_WORDS = 64  # 1.5 s at the default audio settings
MAX_BIT_ERROR_RATE = 0.3
SILENT_WORD = np.uint32(0)


@dataclass(frozen=True, eq=False)
class MinHash:
    """The `MIN_HASH_WORDS` distinct words of a track with the smallest hashes, and their first frames."""

    words: Words
    frames: npt.NDArray[np.int32]


def band_edges(audio: AudioConfig) -> Integers:
    """Return the first bin of each band, and the end of the last, ascending, shape (n_bands + 1,).

    Bands are spaced logarithmically and at least one bin wide, so a short transform has fewer of them.
    """
    bin_hz = audio.sample_rate / audio.n_fft
    high_hz = min(HIGH_HZ, 0.45 * audio.sample_rate)
    edges = np.geomspace(LOW_HZ, high_hz, MAX_BANDS + 1) / bin_hz
    return np.asarray(np.unique(np.round(edges)), np.int64)


def word_bits(audio: AudioConfig) -> int:
    """Return the number of bits in a word: one for each two neighbouring bands."""
    return len(band_edges(audio)) - 2


def extract_words(magnitudes: npt.NDArray[Any], audio: AudioConfig) -> Words:
    """Turn linear magnitudes, shape (n_frames, n_bins), any float, into words, shape (n_words,), uint32.

    One word per frame, except for the last 0.37 s; none for a shorter track. Windows more than 60 dB
    below the loudest are `SILENT_WORD`.
    """
    edges = band_edges(audio)
    n_window = max(1, round(WINDOW_S * audio.frames_per_second))
    if len(magnitudes) <= n_window:
        return np.zeros(0, np.uint32)
    window = np.hanning(n_window + 2)[1:-1].astype(np.float32)
    bins = np.arange(edges[0], edges[-1])[:, None]
    in_band = ((bins >= edges[:-1]) & (bins < edges[1:])).astype(np.float32)
    power = np.square(magnitudes[:, edges[0] : edges[-1]], dtype=np.float32)
    energy = scipy.ndimage.correlate1d(power @ in_band, window, axis=0)
    energy = energy[n_window // 2 :][: len(magnitudes) - n_window + 1]  # where the window lies inside
    bits = np.diff(np.diff(energy, axis=1), axis=0) < 0
    words = bits @ (np.uint32(1) << np.arange(bits.shape[1], dtype=np.uint32))
    loudness = energy[1:].sum(axis=1)
    words[loudness <= 10 ** (SILENCE_DB / 10) * loudness.max(initial=0)] = SILENT_WORD
    return np.asarray(words, np.uint32)


def min_hash(words: Words) -> MinHash:
    """Return the MinHash of a track's words; `SILENT_WORD` is never part of it."""
    distinct, frames = np.unique(words, return_index=True)
    distinct, frames = distinct[distinct != SILENT_WORD], frames[distinct != SILENT_WORD]
    smallest = np.argsort(_mix(distinct), kind="stable")[:MIN_HASH_WORDS]
    return MinHash(distinct[smallest], frames[smallest].astype(np.int32))


def find_candidates(hashes: Sequence[MinHash]) -> list[tuple[int, int, int]]:
    """Return pairs of tracks with at least `MIN_SHARED_WORDS` words in common at one lag, as (first, second, lag).

    Frame t of row `first` matches frame t + `lag` of row `second`.
    Lags that differ by one frame count as one, because the same audio may fall between frames. Sorted by rows, at
    most `MAX_LAGS` for two rows, the commonest first.
    """
    words = np.concatenate([np.zeros(0, np.uint32), *(one.words for one in hashes)])
    frames = np.concatenate([np.zeros(0, np.int32), *(one.frames for one in hashes)])
    rows = np.repeat(np.arange(len(hashes), dtype=np.int32), [len(one.words) for one in hashes])
    order = np.argsort(words, kind="stable")  # within a word, rows ascend
    words, frames, rows = words[order], frames[order], rows[order]
    shared = []
    for step in range(1, MAX_NEIGHBOURS + 1):
        here = np.flatnonzero(words[:-step] == words[step:])
        shared.append(np.stack([rows[here], rows[here + step], frames[here + step] - frames[here]]))
    return _agreeing(*np.concatenate(shared, axis=1).astype(np.int64))


def bit_error_rate(first: Words, second: Words, lag: int, n_bits: int) -> float:
    """Return the share of bits, 0 to 1, in which aligned words of `n_bits`, shape (n_words,) each, differ.

    Word t of `first` is compared with word t + `lag` of `second`, and with its neighbours on either side,
    because the same audio may fall between frames; the best of the three counts. Silent words are left out; 1.0
    where fewer than `MIN_OVERLAP_WORDS` remain, which could agree by chance.
    """
    nearest = min(_differing(first, second, near) for near in (lag - 1, lag, lag + 1))
    return min(1.0, nearest / n_bits)


def _differing(first: Words, second: Words, lag: int) -> float:
    """Return the mean number of bits in which audible words differ; all 32 where they are too few."""
    start, end = max(0, -lag), min(len(first), len(second) - lag)
    a, b = first[start : max(start, end)], second[start + lag : max(start, end) + lag]
    audible = (a != SILENT_WORD) & (b != SILENT_WORD)
    if audible.sum() < MIN_OVERLAP_WORDS:
        return MAX_BANDS - 1
    return float(np.unpackbits((a ^ b)[audible].view(np.uint8)).sum() / audible.sum())


def _mix(words: Words) -> Words:
    """Permute 32-bit words so that none is favoured (the finaliser of MurmurHash3)."""
    words = words ^ (words >> np.uint32(16))
    words = words * np.uint32(0x85EBCA6B)
    words = words ^ (words >> np.uint32(13))
    words = words * np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))


def _agreeing(first: Integers, second: Integers, lag: Integers) -> list[tuple[int, int, int]]:
    """Return the commonest lags of each pair, where enough shared words agree on them; one entry a shared word."""
    n_rows, lowest = int(second.max(initial=0)) + 1, int(lag.min(initial=0))
    n_lags = int(lag.max(initial=0)) - lowest + 2  # one more than there are, so that pairs never touch
    keys, votes = np.unique((first * n_rows + second) * n_lags + lag - lowest, return_counts=True)
    votes[:-1] += np.where(np.diff(keys) == 1, votes[1:], 0)
    keys, votes = keys[votes >= MIN_SHARED_WORDS], votes[votes >= MIN_SHARED_WORDS]
    order = np.lexsort((-votes, keys // n_lags))  # by pair, then by votes
    pairs, lags = np.divmod(keys[order], n_lags)
    rank = np.arange(len(pairs)) - np.searchsorted(pairs, pairs)
    commonest = rank < MAX_LAGS
    return [
        (pair // n_rows, pair % n_rows, at + lowest)
        for pair, at in zip(pairs[commonest].tolist(), lags[commonest].tolist(), strict=True)
    ]
