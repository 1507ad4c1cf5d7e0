"""Recordings to shards, compared with their duration; and libsndfile compared with tensorflow-io."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import soundfile

from benchmarks.comparison import Comparison, Line, NotMeasured, best_seconds
from benchmarks.settings import Settings
from cs_keras import tfio
from cs_keras.audio.decode import decode, load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.catalogue import Recording
from cs_keras.errors import AudioError
from pipelines.dataset.ingest import IngestConfig, ingest

TOPIC = "ingest"
FORMATS = ("mp3", "ogg", "flac", "wav")
SAMPLE_RATE = 44_100
TRACK_S = 60
N_SYNTHESISED = 4
DECODED_S = 120.0  # of each format, for the decoders

Clip = tuple[np.ndarray, int]


def measure(settings: Settings) -> Iterator[Line]:
    folder = settings.workspace / "recordings"
    given = _given(settings.recordings)
    clips = [soundfile.read(path, dtype="float32") for paths in given.values() for path in paths]
    clips = clips or [_synthesise(seed) for seed in range(N_SYNTHESISED)]
    for suffix in FORMATS:
        paths = given.get(suffix) or _encode(clips, suffix, folder)
        origin = "" if suffix in given else " (encoded here)"
        yield _ingest(suffix + origin, paths, folder / f"many-{suffix}", settings)
        yield from _decoders(suffix + origin, paths, settings.repeats)


def _given(folder: Path) -> dict[str, list[Path]]:
    """Return the usable recordings of each format."""
    found = {suffix: sorted(folder.glob(f"*.{suffix}")) for suffix in FORMATS} if folder.is_dir() else {}
    usable = {suffix: [path for path in paths if _is_usable(path)] for suffix, paths in found.items()}
    return {suffix: paths for suffix, paths in usable.items() if paths}


def _is_usable(path: Path) -> bool:
    try:
        load_mono(path, AudioConfig())
    except AudioError:
        return False
    return True


def _synthesise(seed: int) -> Clip:
    """Return a stereo track: gliding tones, a beat of noise, and a little hiss."""
    rng = np.random.default_rng(seed)
    t = np.arange(TRACK_S * SAMPLE_RATE) / SAMPLE_RATE
    sides = []
    for _ in range(2):
        tones = [
            librosa.chirp(fmin=f, fmax=3 * f, sr=SAMPLE_RATE, duration=TRACK_S)
            for f in rng.uniform(80, 900, 6)
        ]
        beat = rng.standard_normal(len(t)) * np.exp(-20 * (t % 0.5))
        sides.append(0.1 * np.sum(tones, axis=0) + 0.1 * beat + 1e-3 * rng.standard_normal(len(t)))
    return np.clip(np.stack(sides, axis=1), -1, 1).astype(np.float32), SAMPLE_RATE


def _encode(clips: list[Clip], suffix: str, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.{suffix}" for number in range(len(clips))]
    for path, (samples, rate) in zip(paths, clips, strict=True):
        with soundfile.SoundFile(path, "w", rate, samples.shape[1]) as file:
            for start in range(
                0, len(samples), rate
            ):  # libsndfile's Vorbis encoder overflows its stack otherwise
                file.write(samples[start : start + rate])
    return paths


def _ingest(what: str, paths: list[Path], folder: Path, settings: Settings) -> Line:
    """Ingest copies of the recordings, enough minutes of them to make one-time costs negligible."""
    folder.mkdir(parents=True)
    recordings: list[Recording] = []
    duration_s = 0.0
    while duration_s < 60 * settings.ingest_minutes or len(recordings) < 3:
        source = paths[len(recordings) % len(paths)]
        copy = folder / f"{len(recordings):04d}{source.suffix}"
        shutil.copy(source, copy)
        seconds = soundfile.info(copy).duration
        recordings.append(Recording(copy, copy.stem, duration_s=seconds))
        duration_s += seconds
    best = np.inf
    for number in range(max(2, settings.repeats // 2)):  # the first includes the start of TensorFlow
        out = folder / f"dataset-{number}"
        start = time.process_time()  # of all threads, so a core's
        done = ingest(recordings, out, IngestConfig(fold_by="track"))
        best = min(best, time.process_time() - start)
        shutil.rmtree(out)
        if done.left_out:
            raise RuntimeError(f"A recording was skipped: {done.left_out[0].reason}")
    shutil.rmtree(folder)
    return Comparison(TOPIC, f"{what}, a core's", duration_s / best, 1.0, "s of audio/s", "real time", 100.0)


def _decoders(what: str, paths: list[Path], repeats: int) -> Iterator[Line]:
    name = f"{what}, decoding"
    if not tfio.available():
        yield NotMeasured(TOPIC, name, "tensorflow-io does not load here")
        return
    chosen, duration_s = [], 0.0
    for path in paths:
        if duration_s < DECODED_S:
            chosen.append(path)
            duration_s += soundfile.info(path).duration
    turns = (
        lambda: [decode(path, "soundfile") for path in chosen],
        lambda: [decode(path, "tfio") for path in chosen],
    )
    rates = [duration_s / seconds for seconds in best_seconds(turns, max(2, repeats // 2))]
    yield Comparison(TOPIC, name, *rates, "s of audio/s", "tensorflow-io")
