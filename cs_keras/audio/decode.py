"""Decode recordings to mono samples at one rate; unusable ones raise AudioError with the reason."""

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import mutagen.mp3
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from cs_keras import tfio
from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice
from cs_keras.errors import AudioError

Samples = npt.NDArray[np.float32]

AUDIO_SUFFIXES = (".mp3", ".ogg", ".oga", ".opus", ".flac", ".wav", ".aif", ".aiff", ".m4a", ".mp4", ".wma")
SILENCE_PEAK = 10 ** (-80 / 20)  # -80 dBFS; recordings below it are silent
_MAGIC = {b"fLaC": "FLAC", b"OggS": "Ogg", b"RIFF": "WAV", b"FORM": "AIFF"}  # first bytes of a file
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes
_BLOCK = 1 << 20  # samples read at a time where the length is unknown
MIN_FRAMES = 16  # 0.4 s at the default settings; shorter recordings have too little temporal structure
_SILENCE = threading.Lock()  # of the number of threads that decode, and the descriptor in place of their 2
_n_silent, _saved = 0, -1
LOWEST_RATE_HZ = 4000  # lower rates lose fundamentals of high voices


def decode(path: Path, decoder: str = "auto") -> tuple[Samples, int]:
    """Return samples, shape (n_samples, n_channels), float32, nominally in [-1, 1], and their rate in Hz.

    `decoder` is ``soundfile`` (libsndfile), ``tfio`` (tensorflow-io, in the graph), ``librosa`` (audioread, with
    the formats of ffmpeg), or ``auto``: the first of the three that can read the file. Raises AudioError when
    the file does not exist or no decoder can read it, and ConfigError where tensorflow-io is needed and does not
    load.
    """
    check_choice("decoder", decoder, ("auto", *_DECODERS))
    if decoder == "tfio":
        tfio.check_available("The decoder tfio")
    if not os.path.isfile(path):  # no error for any name
        raise AudioError(f"There is no audio file {path}.")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty.")
    with open(path, "rb") as file:
        known = _MAGIC.get(file.read(4))
    if known == "Ogg" and not _ends_like_ogg(path):
        raise AudioError(f"{path} is truncated: its last Ogg page is incomplete, or not marked as the end.")
    for name in _DECODERS if decoder == "auto" else (decoder,):
        if name == "tfio" and not tfio.available():
            continue
        try:
            with _silent_libraries():
                return _DECODERS[name](path)
        except _UnknownFormat:
            continue
        except AudioError:
            if decoder != "auto" or name != "tfio":
                raise
    if known:
        raise AudioError(f"{path} begins like {known} but cannot be decoded: it is truncated or damaged.")
    raise AudioError(f"{path} cannot be decoded: expected mp3, ogg, flac, wav or another known audio format.")


def load_mono(path: Path, config: AudioConfig, decoder: str = "auto") -> Samples:
    """Decode, mix down and resample one recording: shape (n_samples,), float32, at ``config.sample_rate`` Hz.

    Raises AudioError when it is unreadable, truncated, silent, not finite, sampled below `LOWEST_RATE_HZ`, or
    shorter than `MIN_FRAMES`.
    """
    samples, sample_rate = decode(path, decoder)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} has samples that are not finite.")
    if sample_rate < LOWEST_RATE_HZ:
        raise AudioError(
            f"{path} has a sample rate of {sample_rate} Hz; expected at least {LOWEST_RATE_HZ} Hz."
        )
    mono = samples.sum(axis=1) if config.mixdown == "sum" else samples.mean(axis=1)
    if len(mono) and np.abs(mono).max() < SILENCE_PEAK:
        raise AudioError(f"{path} is silent: after mixing the channels, no sample exceeds -80 dBFS.")
    if sample_rate != config.sample_rate:
        mono = soxr.resample(mono, sample_rate, config.sample_rate, quality="HQ")
    needed = config.n_fft + (MIN_FRAMES - 1) * config.hop_length  # for windows and hops alike
    if len(mono) < needed:
        raise AudioError(
            f"{path} is too short: {len(mono) / config.sample_rate:.2f} s, where {MIN_FRAMES} frames, "
            f"{needed / config.sample_rate:.2f} s, are needed."
        )
    return np.ascontiguousarray(mono, dtype=np.float32)


@contextlib.contextmanager
def _silent_libraries() -> Iterator[None]:
    """Discard what libraries write to descriptor 2 meanwhile: libmpg123 comments on damaged files there.

    Only where Python writes to the same file by another descriptor, which `cs_keras.cli.main` gives it: elsewhere
    messages of other threads would be lost, or 2 may be a file that has nothing to do with standard error.
    """
    global _n_silent, _saved
    with _SILENCE:
        is_silenced = _n_silent > 0 or _writes_beside_descriptor_2()
        if is_silenced and not _n_silent:
            _saved = os.dup(2)
            discarded = os.open(os.devnull, os.O_WRONLY)
            os.dup2(discarded, 2)
            os.close(discarded)
        _n_silent += is_silenced
    try:
        yield
    finally:
        with _SILENCE:
            _n_silent -= is_silenced
            if is_silenced and not _n_silent:
                os.dup2(_saved, 2)
                os.close(_saved)


def _writes_beside_descriptor_2() -> bool:
    try:
        descriptor = sys.stderr.fileno()
        return descriptor != 2 and os.path.sameopenfile(descriptor, 2)
    except (AttributeError, OSError, ValueError):  # standard error is none, or no file
        return False


class _UnknownFormat(Exception):
    """The decoder does not know the format; another one may."""


def _decode_soundfile(path: Path) -> tuple[Samples, int]:
    try:
        with soundfile.SoundFile(path) as file:
            expected, rate = _frames_in_header(path, file), file.samplerate
            if file.format == "MP3":
                seconds = _mp3_length_in_header(path)
                if seconds is None:
                    return _decode_stream(path)
                expected = max(expected, round(seconds * rate))
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _UnknownFormat from error
    # A lossy stream's length is an estimate from its header: 0.2 s of 207 s are missing from a file that is whole.
    if len(samples) < expected - max(rate // 10, expected // 500):
        raise AudioError(
            f"{path} is truncated: it has {len(samples) / rate:.1f} s of {expected / rate:.1f} s."
        )
    return samples, rate


def _mp3_length_in_header(path: Path) -> float | None:
    """Return the seconds by the number of frames in an mp3 file's header, None where it has no such header."""
    try:
        info: Any = mutagen.mp3.MP3(path).info  # type: ignore[no-untyped-call]
    except mutagen.MutagenError:
        return 0.0
    return None if info.bitrate_mode == mutagen.mp3.BitrateMode.UNKNOWN else float(info.length)


def _ends_like_ogg(path: Path) -> bool:
    """Return whether the last page of an Ogg file is whole and has the flag of the end of a stream (RFC 3533)."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * _LONGEST_OGG_PAGE))
        tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    lengths = page[27 : 27 + page[26]]
    return len(lengths) == page[26] and len(page) >= 27 + page[26] + sum(lengths)


def _decode_stream(path: Path) -> tuple[Samples, int]:
    """Decode through a pipe: libsndfile estimates the length of a file and stops there."""
    reader, writer = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), open(writer, "wb") as pipe, open(path, "rb") as file:
            shutil.copyfileobj(file, pipe)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with open(reader, "rb") as pipe, soundfile.SoundFile(pipe.fileno(), closefd=False) as file:
            blocks = [file.read(_BLOCK, dtype="float32", always_2d=True)]
            while len(blocks[-1]) == _BLOCK:
                blocks.append(file.read(_BLOCK, dtype="float32", always_2d=True))
            return np.concatenate(blocks), file.samplerate
    finally:
        feeder.join()


def _frames_in_header(path: Path, file: soundfile.SoundFile) -> int:
    """Return the length in the header: for a truncated wav or aiff, libsndfile counts existing frames."""
    byte_order: Literal["little", "big"] = "big" if file.format == "AIFF" else "little"
    if file.format not in ("WAV", "WAVEX", "AIFF"):
        return int(file.frames)
    with open(path, "rb") as raw:
        stated = int.from_bytes(raw.read(8)[4:], byte_order)
    there = path.stat().st_size - 8
    if stated == 0xFFFFFFFF or stated <= there:  # the former means an unknown length
        return int(file.frames)
    return int(file.frames * stated / there)


def _decode_librosa(path: Path) -> tuple[Samples, int]:
    import warnings

    import librosa

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # librosa warns about the fallback to audioread
            samples, rate = librosa.load(path, sr=None, mono=False, dtype=np.float32)
    except Exception as error:  # audioread's backends raise many kinds
        raise _UnknownFormat from error
    return np.atleast_2d(samples).T, int(rate)


_DECODERS: dict[str, Callable[[Path], tuple[Samples, int]]] = {
    "soundfile": _decode_soundfile,
    "tfio": tfio.decode_audio,
    "librosa": _decode_librosa,
}
