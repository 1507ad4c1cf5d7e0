"""A baseline is added by its module and one line of the registry, and everything else follows."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cs_keras.cli.models import command
from cs_keras.config import parse_overrides
from cs_keras.data.dataset import Dataset
from cs_keras.models.registry import REGISTRY, Entry
from cs_keras.runs import read_json
from pipelines.inference.trained_run import read_run, track_function
from pipelines.run_baselines import run_baselines
from reports.runs.labels import family_of

MODULE = '''
"""The mean of a decibel mel spectrogram over time, then a dense layer."""

import dataclasses

import keras

from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import dense_head, input_spectrogram
from cs_keras.models.declaration import ModelConfig
from cs_keras.models.spaces import draw, shared_space
from cs_keras.models.spec import Baseline, TrainingConfig


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    units: int = 8


VARIANTS = {"mean-mel": Baseline("mean-mel", Config(), TrainingConfig(epochs=1))}


def build(baseline, n_factors, audio):
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    x = keras.ops.mean(input_spectrogram(magnitude, baseline, audio), axis=(1, 3))
    return keras.Model(inputs, dense_head(x, (baseline.model.units,), n_factors), name=baseline.key)


def search_space(hp, baseline):
    return {"model": draw(hp, "model", {"units": (4, 8)}, baseline.model), **shared_space(hp, baseline)}
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Add the baseline ``mean-mel``."""
    (tmp_path / "mean_mel.py").write_text(MODULE)
    monkeypatch.setattr("cs_keras.models.__path__", [*sys.modules["cs_keras.models"].__path__, str(tmp_path)])
    monkeypatch.setitem(
        REGISTRY, "mean-mel", Entry("mean_mel", "Toys", "mean spectrum, dense 8", 1_650, "ours")
    )
    monkeypatch.delitem(sys.modules, "cs_keras.models.mean_mel", raising=False)
    return "mean-mel"


def test_an_added_baseline_is_listed_with_family_and_description(added: str) -> None:
    lines = CliRunner().invoke(command, [], catch_exceptions=False).stdout.splitlines()
    own = next(number for number, line in enumerate(lines) if line.startswith(added))
    cells = ["mean-mel", "audio", "mean spectrum, dense 8", "1,650", "n/a", "ours"]
    assert re.split(" {2,}", lines[own].strip()) == cells
    assert lines[own - 1].strip() == "Toys"
    assert family_of(added) == "Toys"


def test_an_added_baseline_is_trained_evaluated_and_used(added: str, demo: Path, tmp_path: Path) -> None:
    outcome = run_baselines(
        demo, [added], tmp_path / "runs", parse_overrides(["models.mean-mel.training.batch_size=16"])
    )
    (folder,) = outcome.runs
    assert not outcome.failed and read_json(folder / "training.json")["parameters"] == 129 * 8 + 9 * 32
    dataset, trained = Dataset(demo), read_run(folder)
    with np.load(folder / "predictions.npz") as stored:
        ids, expected = stored["track_ids"].tolist(), stored["scaled_factors"]
    row = int(np.flatnonzero(dataset.tracks.ids == ids[0])[0])
    # Sums of float32 in another order, of outputs of size 0.1 and less.
    np.testing.assert_allclose(track_function(trained)(dataset.read_track(row)), expected[0], atol=1e-6)
