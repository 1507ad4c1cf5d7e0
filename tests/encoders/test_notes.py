import os
from pathlib import Path

import numpy as np
import pytest

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.encoders import open_encoder
from cs_keras.encoders.notes import (
    FRAMES_PER_S,
    LOWEST_MIDI,
    MAJOR,
    NAMES,
    SAMPLE_RATE,
    NotesEncoder,
    describe_notes,
    describe_rhythm,
    find_network,
    find_tonic,
)
from cs_keras.errors import StorageError


def named(features: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, features.tolist(), strict=False))


def test_notes_of_a_planted_piano_roll() -> None:
    """Four seconds of two notes, the lower one struck every half second, and a second of silence."""
    sounding, beginning = np.zeros((2, 5 * FRAMES_PER_S, 88), np.float32)
    low, high = 48 - LOWEST_MIDI, 64 - LOWEST_MIDI  # C3 and E4
    sounding[: 4 * FRAMES_PER_S, [low, high]] = 0.8
    beginning[1 : 4 * FRAMES_PER_S : FRAMES_PER_S // 2, low] = 0.9
    beginning[1, high] = 0.9
    found = named(describe_notes(sounding, beginning))
    assert found["polyphony"] == pytest.approx(2 * 4 / 5)
    assert found["silent_share"] == pytest.approx(1 / 5)
    assert (found["notes_per_s"], found["onsets_per_s"]) == pytest.approx((9 / 5, 8 / 5))
    assert found["note_s"] == pytest.approx(8 / 9)
    assert np.exp(found["log_interval_s"]) == pytest.approx(0.5)
    assert found["interval_variation"] == pytest.approx(0, abs=1e-6)
    assert (found["register_midi"], found["register_std"]) == pytest.approx((56, 8))
    assert (found["low_midi"], found["high_midi"], found["span"]) == (48, 64, 16)
    assert found["degree_0"] == found["degree_4"] == pytest.approx(0.5)  # C and E: degrees of C major


def test_nothing_played_has_finite_features() -> None:
    nothing = np.zeros((10, 88), np.float32)
    assert np.isfinite(describe_notes(nothing, nothing)).all()
    assert np.isfinite(describe_rhythm(np.zeros(2 * SAMPLE_RATE, np.float32))).all()


def test_the_tonic_of_a_transposed_key_profile() -> None:
    for tonic in range(12):
        found, major, minor = find_tonic(np.roll(MAJOR / MAJOR.sum(), tonic))
        assert found == tonic and major == pytest.approx(1) and minor < 0.9


@pytest.mark.parametrize("bpm", [90, 150])
def test_tempo_of_clicks(bpm: int) -> None:
    samples = np.zeros(12 * SAMPLE_RATE, np.float32)
    click = np.random.default_rng(0).normal(size=400) * np.exp(-np.arange(400) / 80)
    for beat in np.arange(0.1, 11.5, 60 / bpm):
        first = round(beat * SAMPLE_RATE)
        samples[first : first + 400] += click
    log2_tempo, clarity = describe_rhythm(samples)[:2]
    assert 2**log2_tempo == pytest.approx(bpm, rel=0.05) and clarity > 0.5


@pytest.fixture(scope="module")
def network() -> Path:
    """basic-pitch's network: of the installed package, or of that in CS_KERAS_BASIC_PITCH."""
    try:
        return find_network(os.environ.get("CS_KERAS_BASIC_PITCH"))
    except StorageError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_scale_by_the_network(network: Path) -> None:
    encoder = NotesEncoder(str(network))
    seconds = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    scale = [62, 64, 66, 67, 69, 71, 73, 74, 69, 66, 62, 62]  # D major, ending on its triad
    envelope = np.exp(-3 * seconds) * np.minimum(1, seconds / 0.01) * np.minimum(1, (0.5 - seconds) / 0.02)
    tones = [
        envelope
        * sum(np.sin(2 * np.pi * n * 440 * 2 ** ((midi - 69) / 12) * seconds) / n**2 for n in range(1, 6))
        for midi in scale
    ]
    (features,) = encoder.encode(0.3 * np.concatenate(tones).astype(np.float32))
    found = named(features)
    assert found["onsets_per_s"] == pytest.approx(2, rel=0.1)
    assert np.exp(found["log_interval_s"]) == pytest.approx(0.5, rel=0.05)
    assert 2 ** found["log2_tempo"] == pytest.approx(120, rel=0.05)
    assert found["register_midi"] == pytest.approx(np.mean(scale), abs=2)
    assert found["mode"] > 0
    degrees = np.bincount((np.array(scale) - 62) % 12, minlength=12) / len(scale)
    np.testing.assert_allclose([found[f"degree_{n}"] for n in range(12)], degrees, atol=0.05)
    assert encoder.n_features == len(features) == len(NAMES)


@pytest.mark.slow
def test_notes_of_a_recording_are_those_of_the_original_graph(network: Path, recordings: Path) -> None:
    """The package's TensorFlow graph takes windows as its code cuts them, which share 30 frames."""
    import tensorflow as tf

    (path,) = recordings.glob("hungarian-dance*.ogg")
    samples = load_mono(path, AudioConfig(sample_rate=SAMPLE_RATE))[: 10 * SAMPLE_RATE]
    padded = np.pad(samples, (15 * 256, 43_844))
    starts = range(0, 15 * 256 + len(samples), 43_844 - 30 * 256)
    windows = np.array([padded[start : start + 43_844, np.newaxis] for start in starts])
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(network.with_suffix("")))
        outputs = session.run(
            ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"], {"serving_default_input_2:0": windows}
        )
    found = NotesEncoder(str(network)).transcribe(samples)
    for ours, theirs in zip(found, outputs, strict=True):
        expected = theirs[:, 15:-15].reshape(-1, 88)[: 10 * FRAMES_PER_S]
        assert expected.max() > 0.8  # notes sound, and begin
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)  # float32: they differ by 1e-6


def test_a_missing_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="There is no file .*nmp.onnx"):
        open_encoder("notes", str(tmp_path))
