"""Frames of an encoder as input: only a model that pools them itself finds the one that matters."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cs_keras.runs import read_npz
from tests.command_line import run
from tests.pipelines.planted_evidence import AUDIO, N_FACTORS, SHARE, write_evidence

N_TRACKS = 1000
MODELS = ("attributes-attention", "attributes")
QUICK = [
    "evaluation.n_permutations=9",
    "evaluation.ks=[10]",
    "model.dense=[32]",
    "model.dropout=0.0",
    "model.units=16",
    "training.loss=mse",
    "training.learning_rate=0.005",
    "training.batch_size=50",
    "training.epochs=60",
]


class Marked:
    """Ten frames of a recording: its first 50 samples."""

    sample_rate, n_features, digest = AUDIO.sample_rate, N_FACTORS + 1, "abc"

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        return waveform[: 10 * self.n_features].reshape(10, -1)


@pytest.mark.slow
def test_a_rare_frame_is_found_by_attention_and_not_by_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted, random = write_evidence(tmp_path / "dataset", N_TRACKS), np.random.default_rng(1)
    sequences = []
    for attributes in planted.attributes:
        frames = random.normal(size=(random.integers(8, 13), N_FACTORS + 1)).astype(np.float32)
        frames[:, -1] = 0
        frames[random.integers(len(frames))] = [
            *attributes,
            1,
        ]  # the last number marks the frame that matters
        sequences.append(frames)
    offsets = np.cumsum([0, *map(len, sequences)])
    about = {"encoder": "marked", "weights": None, "digest": "abc", "pooling": []}
    np.savez(
        tmp_path / "frames.npz",
        track_ids=planted.ids,
        frames=np.concatenate(sequences),
        offsets=offsets,
        encoder=json.dumps(about),
    )
    models = ["--models", ",".join(MODELS), "--set=models.attributes-attention.model.max_frames=12"]
    settings = [f"--set={one}" for one in QUICK]
    table = f"--features={tmp_path / 'frames.npz'}"
    assert (
        run("run-baselines", tmp_path / "dataset", table, "--out", tmp_path / "runs", *models, *settings) == 0
    )
    explained = {}
    for key in MODELS:
        (folder,) = (tmp_path / "runs").glob(f"????-??-??-{key}-??????????")
        assert run("predict", folder, tmp_path / "frames.npz", "--out", tmp_path / "out.npz") == 0
        found = read_npz(tmp_path / "out.npz", "factors")["factors"][planted.test]
        true = planted.factors[planted.test]
        explained[key] = 1 - np.square(found - true).sum() / np.square(true - true.mean(axis=0)).sum()
    assert explained["attributes-attention"] > 0.8 * SHARE  # of the optimum
    assert explained["attributes"] < 0.3 * SHARE

    samples = np.resize(sequences[0], 3 * AUDIO.sample_rate)
    soundfile.write(tmp_path / "new.wav", samples, AUDIO.sample_rate, subtype="FLOAT")
    frames = samples[:50].reshape(10, -1)
    np.savez(tmp_path / "new.npz", track_ids=["new"], frames=frames, offsets=[0, 10])
    monkeypatch.setattr("pipelines.inference.embedded.open_encoder", lambda name, weights: Marked())
    (folder,) = (tmp_path / "runs").glob("*-attributes-attention-??????????")
    found = []
    for source in ("new.wav", "new.npz"):
        assert run("predict", folder, tmp_path / source, "--out", tmp_path / "out.npz") == 0
        found.append(read_npz(tmp_path / "out.npz", "factors")["factors"])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
