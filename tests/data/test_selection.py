"""Sequences selected within excerpts, against a NumPy reference."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.batches import TrainingBatches, prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.data.selection import select_sequences
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline
from tests.data.small import write_small


def frame_scores(x, kind):
    """Score each frame of one excerpt, (n_frames, n_bins)."""
    x = x.astype(np.float64)
    if kind == "energy":
        return (x**2).sum(axis=1)
    if kind == "entropy":
        return scipy.stats.entropy(x**2, axis=1)
    return np.r_[0, np.maximum(np.diff(np.log1p(x), axis=0), 0).sum(axis=1)]


def best_start(x, n_valid, sequence):
    """Try every candidate that lies in the track."""
    step = max(1, sequence.frames // 4)
    last = min(n_valid, len(x)) - sequence.frames
    scores = frame_scores(x, sequence.select)
    starts = range(0, max(last, 0) + 1, step)
    return max(starts, key=lambda start: scores[start : start + sequence.frames].mean())


@pytest.mark.parametrize("kind", ["energy", "entropy", "novelty"])
@pytest.mark.parametrize("select_from", [2, 3])
def test_the_best_sequence_equals_numpys(kind, select_from):
    rng = np.random.default_rng(0)
    sequence = SequenceConfig(9, select=kind, select_from=select_from)
    n_frames = np.array([9 * select_from, 9 * select_from + 5, 14, 9, 4])
    excerpts = rng.lognormal(sigma=2, size=(5, 9 * select_from, 33)).astype(np.float16)
    for excerpt, n in zip(excerpts, n_frames, strict=True):
        excerpt[n:] = 0
    selected = select_sequences(excerpts, n_frames, sequence).numpy()
    starts = [best_start(x, n, sequence) for x, n in zip(excerpts, n_frames, strict=True)]
    assert selected.dtype == np.float16 and len(set(starts)) > 1 and starts[3:] == [0, 0]
    expected = [x[start : start + 9] for x, start in zip(excerpts, starts, strict=True)]
    np.testing.assert_array_equal(selected, expected)


@pytest.mark.parametrize("kind", ["energy", "entropy", "novelty"])
def test_a_passage_that_stands_out_is_selected(kind):
    x = np.ones((1, 40, 16), np.float32)  # even power: the largest entropy
    x[:, :, 1:] = 0.01
    loud = slice(20, 30)
    x[0, loud] = {"energy": 5.0, "entropy": 1.0, "novelty": np.arange(10)[:, np.newaxis] % 2 * 3.0}[kind]
    selected = select_sequences(x, np.array([40]), SequenceConfig(10, select=kind, select_from=4)).numpy()
    assert abs(best_start(x[0], 40, SequenceConfig(10, select=kind, select_from=4)) - 20) <= 1
    np.testing.assert_array_equal(selected[0], x[0, loud])


def test_batches_hold_selected_sequences_and_half_as_many(tmp_path):
    dataset = Dataset(write_small(tmp_path / "dataset", [40, 13, 3]))
    sequence, rows = SequenceConfig(8, select="energy"), np.arange(3)
    targets = np.arange(3, dtype=np.float32)[:, np.newaxis]
    batches = TrainingBatches(dataset, rows, targets, sequence, 8, 0)
    assert batches.n_windows == 2 + 1 + 1
    ((x, y),) = batches.from_epoch(0).take(1)
    assert x.shape == (4, 8, 9)
    predicted, windows = prediction_batches(dataset, rows, sequence, 8)
    (one,) = predicted
    assert windows.start.tolist() == [0, 16, 24, 0, 0]
    for window, row, start in zip(one.numpy(), windows.row, windows.start, strict=True):
        excerpt = np.zeros((16, 9), one.numpy().dtype)
        part = dataset.read_track(int(row))[start : start + 16]
        excerpt[: len(part)] = part
        best = best_start(excerpt, len(part), sequence)
        np.testing.assert_array_equal(window, excerpt[best : best + 8])


def test_runs_without_a_selection_have_the_settings_that_they_had():
    assert config.to_dict(SequenceConfig()).keys() == {"frames", "skip_start_s", "skip_end_s"}
    kept = config.to_dict(SequenceConfig(select="novelty", select_from=3))
    assert (kept["select"], kept["select_from"]) == ("novelty", 3)


def test_selections_that_cannot_be_made_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="select must be one of random, energy, entropy, novelty"):
        SequenceConfig(select="loudest")
    for key, takes in (("bot", "whole tracks"), ("attributes", "no audio")):
        with pytest.raises(ConfigError, match=f"{key} takes {takes}"):
            config.replace(get_baseline(key), {"sequence": {"select": "energy"}})
    dataset = Dataset(write_small(tmp_path / "dataset", [40]))
    dataset.info = dataclasses.replace(dataset.info, audio=AudioConfig(content="waveform"))
    with pytest.raises(ConfigError, match="entropy needs a dataset of magnitudes"):
        prediction_batches(dataset, np.arange(1), SequenceConfig(8, select="entropy"), 1)
