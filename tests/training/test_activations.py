"""Activities of units that are known by construction: clicks in otherwise quiet tracks."""

import dataclasses

import keras
import numpy as np
import pytest

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.windows import SequenceConfig, Windows
from cs_keras.models.taps import FirstLayer, TappedModel
from cs_keras.training import activations as activity
from cs_keras.training.activations import (
    Activations,
    choose_windows,
    find_strongest_tracks,
    measure_activations,
)

AUDIO = AudioConfig(sample_rate=8000, n_fft=16, hop_length=8)  # 9 bins, 1000 frames a second
SEQUENCE = SequenceConfig(frames=10)


@dataclasses.dataclass
class Tracks:
    """A dataset in memory: magnitudes of each track, shape (n_frames, 9)."""

    sounds: list[np.ndarray]
    info = dataclasses.make_dataclass("Info", ["audio"])(AUDIO)

    @property
    def n_frames(self) -> np.ndarray:
        return np.array([len(sound) for sound in self.sounds])

    def read_windows(self, windows: Windows, frames: int) -> np.ndarray:
        out = np.zeros((len(windows), frames, AUDIO.n_bins), np.float16)
        for window, row, start in zip(out, windows.row, windows.start, strict=True):
            stretch = self.sounds[row][start : start + frames]
            window[: len(stretch)] = stretch
        return out


def tap(edge_steps: tuple[int, int] = (0, 0), edge_mels: tuple[int, int] = (0, 0)) -> TappedModel:
    """Two filters, a magnitude and its negative, and a unit that adds up the window."""
    sound = keras.Input((SEQUENCE.frames, AUDIO.n_bins))
    filters = keras.ops.stack([sound, -sound], axis=-1)
    units = keras.ops.sum(sound, axis=(1, 2))[:, None]
    first = FirstLayer("first", np.zeros((2, 1, 1), np.float32), edge_steps, edge_mels)
    return TappedModel(keras.Model(sound, {"mel": sound, "filters": filters, "units": units}), first, "top")


def measure(dataset: Tracks, tapped: TappedModel) -> dict[str, Activations]:
    rows = np.arange(len(dataset.sounds))
    return measure_activations(tapped, dataset, choose_windows(dataset, rows, SEQUENCE, 100), SEQUENCE)  # type: ignore[arg-type]


def click(n_frames: int, frame: int, size: float = 4.0) -> np.ndarray:
    sound = np.full((n_frames, AUDIO.n_bins), 0.5, np.float16)
    sound[frame, 3] = size
    return sound


@pytest.mark.parametrize("batch_frames", [10, 20, 4096])
def test_the_moment_is_where_the_click_is(batch_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "BATCH_FRAMES", batch_frames)
    dataset = Tracks([click(25, 3), click(25, 12, 5.0), click(25, 24), click(40, 20)])
    found = measure(dataset, tap())["filters"]
    np.testing.assert_array_equal(found.most[:, 0], [4, 5, 4, 4])
    # the middle of a frame, in thousandths of a second; the last window of 25 frames begins with the fifteenth
    np.testing.assert_allclose(found.moment_s[:, 0] * 1000, [3.5, 12.5, 24.5, 20.5], rtol=1e-6)
    windows = [np.concatenate([x[:10], x[10:20], x[15:25]]) for x in dataset.sounds[:3]] + [dataset.sounds[3]]
    np.testing.assert_allclose(found.mean[:, 0], [x.astype(float).mean() for x in windows], rtol=1e-6)
    np.testing.assert_allclose(found.mean[:, 1], -found.mean[:, 0])


def test_a_units_moment_is_the_window_that_excites_it_most() -> None:
    found = measure(Tracks([click(25, 3), click(25, 12), click(25, 24)]), tap())["units"]
    np.testing.assert_array_equal(found.most[:, 0], [10 * 9 * 0.5 + 3.5] * 3)
    np.testing.assert_allclose(found.moment_s[:, 0] * 1000, [0, 10, 15])


def test_edges_are_left_out_unless_nothing_is_left() -> None:
    dataset = Tracks([click(10, 0), click(10, 9), click(10, 5)])
    inner = measure(dataset, tap(edge_steps=(1, 1)))["filters"]
    np.testing.assert_array_equal(inner.most[:, 0], [0.5, 0.5, 4])
    np.testing.assert_array_equal(
        measure(dataset, tap(edge_mels=(4, 0)))["filters"].most[:, 0], [0.5, 0.5, 0.5]
    )
    np.testing.assert_array_equal(measure(dataset, tap(edge_steps=(5, 5)))["filters"].most[:, 0], [4, 4, 4])


def test_the_silence_behind_a_short_track_does_not_count() -> None:
    found = measure(Tracks([click(6, 2)]), tap())["filters"]
    assert found.most[0, 1] == -0.5 and found.mean[0, 0] == pytest.approx((53 * 0.5 + 4) / 54)


def test_windows_are_spread_over_the_track() -> None:
    dataset = Tracks([np.zeros((100, 9)), np.zeros((25, 9))])
    for at_most, starts in ((3, ([0, 40, 90], [0, 10, 15])), (1, ([50], [10])), (2, ([0, 90], [0, 15]))):
        chosen = choose_windows(dataset, np.arange(2), SEQUENCE, at_most)  # type: ignore[arg-type]
        assert [one.start.tolist() for one in chosen] == list(starts)
        assert [set(one.row.tolist()) for one in chosen] == [{0}, {1}]


def test_strongest_tracks_equal_a_full_sort_with_ties_by_row() -> None:
    random = np.random.default_rng(0)
    most, mean = random.integers(0, 4, (2, 30, 5)).astype(np.float32)
    seconds = random.random((30, 5)).astype(np.float32)
    found = find_strongest_tracks(Activations(most, seconds, mean), 7)
    for unit in range(5):
        expected = sorted(range(30), key=lambda row, unit=unit: (-most[row, unit], row))[:7]
        assert found.moment_track[unit].tolist() == expected
        np.testing.assert_array_equal(found.moment_value[unit], most[expected, unit])
        np.testing.assert_array_equal(found.moment_s[unit], seconds[expected, unit])
        expected = sorted(range(30), key=lambda row, unit=unit: (-mean[row, unit], row))[:7]
        assert found.mean_track[unit].tolist() == expected
    assert find_strongest_tracks(Activations(most, seconds, mean), 99).mean_track.shape == (5, 30)


def test_units_that_repeat_others_come_last() -> None:
    random = np.random.default_rng(1)
    loud, soft = 10 * random.standard_normal(50), random.standard_normal(50)
    mean = np.stack([soft, 0.9 * loud, loud, 100 + 0.1 * soft], axis=1).astype(np.float32)
    order = find_strongest_tracks(Activations(mean, mean, mean), 3).order.tolist()
    assert order[:2] == [2, 0] and set(order) == {0, 1, 2, 3}
    nothing = np.zeros((1, 0), np.float32)
    assert find_strongest_tracks(Activations(nothing, nothing, nothing), 3).order.shape == (0,)
