"""ONNX encoders on a network that the test writes: a product with a matrix, whose features NumPy gives too."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cs_keras.data.attributes.columns import SequenceColumn
from cs_keras.encoders import open_encoder
from cs_keras.encoders.onnx_file import OnnxEncoder
from cs_keras.runs import read_npz
from pipelines.training.attribute_files import read_attributes
from tests.command_line import run

RATE, WINDOW, N_FEATURES = 8000, 800, 3
MATRIX = np.random.default_rng(0).normal(size=(WINDOW, N_FEATURES)).astype(np.float32)


def _field(number: int, value: bytes | int) -> bytes:
    """Encode a field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _tensor_info(name: bytes, width: int) -> bytes:
    shape = _field(1, _field(2, b"batch")) + _field(1, _field(1, width))
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """An ONNX file: ModelProto of one MatMul; with its settings."""
    node = _field(1, b"samples") + _field(1, b"matrix") + _field(2, b"features") + _field(4, b"MatMul")
    matrix = _field(1, WINDOW) + _field(1, N_FEATURES) + _field(2, 1) + _field(8, b"matrix")
    graph = _field(1, node) + _field(2, b"graph") + _field(5, matrix + _field(9, MATRIX.tobytes()))
    graph += _field(11, _tensor_info(b"samples", WINDOW)) + _field(12, _tensor_info(b"features", N_FEATURES))
    path = tmp_path / "matrix.onnx"
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(2, 13)))
    path.with_suffix(".toml").write_text(f"sample_rate = {RATE}\nwindow_s = 0.1\nhop_s = 0.05\n")
    return path


def test_features_are_those_of_the_network_on_each_window(network: Path) -> None:
    encoder = open_encoder(str(network))
    samples = np.random.default_rng(1).normal(size=2100).astype(np.float32)
    padded = np.pad(samples, (0, 300))
    expected = np.array([padded[first : first + WINDOW] for first in range(0, 1601, 400)]) @ MATRIX
    np.testing.assert_allclose(encoder.encode(samples), expected, rtol=1e-4, atol=1e-4)
    assert (encoder.sample_rate, encoder.n_features) == (RATE, N_FEATURES)


def test_embed_writes_a_table_and_leaves_out_what_cannot_be_used(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(2):
        samples = np.random.default_rng(number).normal(0, 0.1, 3 * RATE).astype(np.float32)
        soundfile.write(audio / f"{number}.wav", samples, RATE, subtype="FLOAT")
    (audio / "2.wav").write_bytes(b"no audio")
    out = tmp_path / "features.npz"
    assert run("embed", audio, "--encoder", network, "--out", out, "--pooling", "mean,max") == 0
    assert "left out 2:" in capfd.readouterr().err
    found = read_npz(out, "track_ids", "features", "encoder")
    assert found["track_ids"].tolist() == ["0", "1"]
    samples = soundfile.read(audio / "1.wav", dtype="float32")[0]
    frames = open_encoder(str(network)).encode(samples)
    expected = np.concatenate([frames.mean(axis=0), frames.max(axis=0)])
    np.testing.assert_allclose(found["features"][1], expected, rtol=1e-5)
    about = json.loads(str(found["encoder"]))
    assert about["encoder"] == "matrix.onnx" and about["weights"] == str(network)


def test_an_interrupted_embed_resumes_and_writes_the_same_bytes(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(10):  # two blocks
        samples = np.random.default_rng(number).normal(0, 0.1, 2 * RATE).astype(np.float32)
        soundfile.write(audio / f"{number}.wav", samples, RATE, subtype="FLOAT")
    whole, resumed = tmp_path / "whole.npz", tmp_path / "resumed.npz"
    assert run("embed", audio, "--encoder", network, "--out", whole) == 0
    encoded: list[int] = []
    encode = OnnxEncoder.encode

    def stop_at_the_tenth(self: OnnxEncoder, waveform: np.ndarray) -> np.ndarray:
        encoded.append(len(waveform))
        if len(encoded) == 10:  # the first is silence, for the number of features
            raise KeyboardInterrupt
        return encode(self, waveform)

    monkeypatch.setattr(OnnxEncoder, "encode", stop_at_the_tenth)
    assert run("embed", audio, "--encoder", network, "--out", resumed) != 0
    assert not resumed.exists()
    encoded[:] = [0] * 10
    assert run("embed", audio, "--encoder", network, "--out", resumed) == 0
    assert len(encoded) == 10 + 1 + 2  # the second block alone
    assert resumed.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*parts*"))


def write_noise(folder: Path, seeds: Sequence[int]) -> None:
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        n = (3 + seed) * RATE // 2
        samples = np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)
        soundfile.write(folder / f"{seed}.wav", samples, RATE, subtype="FLOAT")


@pytest.mark.parametrize("kind", ["statistics", "sequences"])
def test_features_of_the_same_audio_are_reused(
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    audio, grown, new = tmp_path / "audio", tmp_path / "grown.npz", tmp_path / "new.npz"
    command = ["embed", audio, "--encoder", network, *(["--sequences"] if kind == "sequences" else [])]
    write_noise(audio, (0, 1))
    assert run(*command, "--out", grown) == 0
    write_noise(audio, (2,))
    (audio / "1.wav").rename(audio / "renamed.wav")
    assert run(*command, "--out", new) == 0
    encoded: list[int] = []
    encode = OnnxEncoder.encode

    def count(self: OnnxEncoder, waveform: np.ndarray) -> np.ndarray:
        encoded.append(len(waveform))
        return encode(self, waveform)

    monkeypatch.setattr(OnnxEncoder, "encode", count)
    assert run(*command, "--out", grown, "--reuse", grown) == 0
    assert encoded == [WINDOW, 5 * RATE // 2]  # silence, for the number of features, and the new recording
    assert grown.read_bytes() == new.read_bytes()
    capfd.readouterr()
    assert run(*command[:4], "--pooling", "max", "--out", tmp_path / "max.npz", "--reuse", grown) == 1
    assert "was made by another encoder: expected" in capfd.readouterr().err


def test_sequences_are_the_frames_of_each_recording(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    audio, out = tmp_path / "audio", tmp_path / "frames.npz"
    write_noise(audio, (0, 3))
    command = ["embed", audio, "--encoder", network, "--sequences"]
    assert run(*command, "--out", out) == 0
    assert "3 features of each frame of 2 tracks" in capfd.readouterr().out
    column = read_attributes(out).columns["frames"]
    assert isinstance(column, SequenceColumn)
    for name, frames in zip("03", column, strict=True):
        samples = soundfile.read(audio / f"{name}.wav", dtype="float32")[0]
        np.testing.assert_array_equal(frames, open_encoder(str(network)).encode(samples))
    assert run(*command, "--out", tmp_path / "frames.parquet") == 1
    assert "written into .npz files" in capfd.readouterr().err
    assert run(*command, "--pooling", "max", "--out", out) == 2


def test_a_parquet_table_names_its_encoder(network: Path, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    write_noise(audio, (0, 1))
    tables = []
    for name in ("table.parquet", "table.npz"):
        assert run("embed", audio, "--encoder", network, "--out", tmp_path / name) == 0
        tables.append(read_attributes(tmp_path / name))
    assert tables[0].encoder == tables[1].encoder is not None
    values = [table.columns["features"].values for table in tables]  # type: ignore[union-attr]
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "needs matrix.toml beside it"),
        ("sample_rate = 8000\nwindow = 1", "Unknown setting"),
        ("layout = 'samples'", "layout must be one of"),
        ("output = 'tags'", "has no output 'tags': expected one of features"),
    ],
)
def test_settings_that_do_not_suit_are_one_sentence(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], settings: str | None, message: str
) -> None:
    path = network.with_suffix(".toml")
    path.unlink() if settings is None else path.write_text(settings)
    assert run("embed", tmp_path, "--encoder", network, "--out", tmp_path / "x.npz") == 1
    assert message in capfd.readouterr().err
