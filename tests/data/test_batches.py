import itertools

import numpy as np
import pytest

from cs_keras import tfio
from cs_keras.data.batches import ArrayBatches, TrainingBatches, prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.windows import SequenceConfig, prediction_windows
from tests.data.small import write_small

LENGTHS = [9, 17, 4, 2, 12]
SEQUENCE = SequenceConfig(frames=4)
ROWS = np.array([0, 1, 3, 4])
TARGETS = np.arange(5 * 3, dtype=np.float32).reshape(5, 3)
N_WINDOWS = 2 + 4 + 1 + 3


@pytest.fixture(scope="module", params=["ranges", "tfio"])
def dataset(request, tmp_path_factory):
    dtype = "float16" if request.param == "ranges" else "float32"
    if request.param == "tfio" and not tfio.available():
        pytest.skip("tensorflow-io does not load here")
    folder = write_small(tmp_path_factory.mktemp("dataset"), LENGTHS, dtype=dtype)
    return Dataset(folder, ReadConfig(reader=request.param))


def training(dataset, batch_size=3, seed=0):
    return TrainingBatches(dataset, ROWS, TARGETS, SEQUENCE, batch_size, seed)


def take(batches, n):
    return [(x.numpy(), y.numpy()) for x, y in batches.take(n)]


def rows_and_starts(x):
    """Where each window was cut, as the magnitudes themselves say."""
    row, start = np.divmod(x[:, 0, 0].astype(int), 100)
    return list(zip(row.tolist(), start.tolist(), strict=True))


class TestTrainingBatches:
    def test_an_epoch_has_every_window_once_and_keeps_its_last_smaller_batch(self, dataset):
        batches = training(dataset)
        assert (batches.n_windows, batches.steps_per_epoch) == (N_WINDOWS, 4)
        epoch = take(batches.from_epoch(0), 4)
        assert [len(x) for x, _ in epoch] == [3, 3, 3, 1]
        assert all(x.shape[1:] == (4, 9) and x.dtype == dataset.info.dtype for x, _ in epoch)
        seen = [row for x, _ in epoch for row, _ in rows_and_starts(x)]
        assert np.bincount(seen).tolist() == [2, 4, 0, 1, 3]

    def test_every_window_lies_in_its_track_and_short_ones_end_in_zeros(self, dataset):
        for x, _ in take(training(dataset).from_epoch(0), 4):
            for window, (row, start) in zip(x, rows_and_starts(x), strict=True):
                n = min(4, LENGTHS[row] - start)
                assert np.array_equal(window[:n], dataset.read_track(row)[start : start + n])
                assert not window[n:].any()
                assert n == min(4, LENGTHS[row])

    def test_targets_are_those_of_the_windows_tracks(self, dataset):
        for x, y in take(training(dataset).from_epoch(0), 8):
            assert np.array_equal(y, TARGETS[[row for row, _ in rows_and_starts(x)]])

    def test_epochs_differ(self, dataset):
        steps = [rows_and_starts(x) for x, _ in take(training(dataset).from_epoch(0), 12)]
        epochs = [sum(steps[first : first + 4], []) for first in (0, 4, 8)]
        assert all(a != b for a, b in itertools.combinations(epochs, 2))  # another order
        assert all(sorted(a) != sorted(b) for a, b in itertools.combinations(epochs, 2))  # and other crops

    @pytest.mark.parametrize("epoch", [1, 2, 5])
    def test_any_epoch_equals_that_reached_from_the_first(self, dataset, epoch):
        on = take(training(dataset).from_epoch(0).skip(4 * epoch), 6)
        anew = take(training(dataset).from_epoch(epoch), 6)
        for (x, y), (x_anew, y_anew) in zip(on, anew, strict=True):
            assert np.array_equal(x, x_anew) and np.array_equal(y, y_anew)

    def test_another_seed_gives_other_crops(self, dataset):
        one, two = (
            rows_and_starts(take(training(dataset, 10, seed).from_epoch(0), 1)[0][0]) for seed in (0, 1)
        )
        assert one != two

    def test_the_size_of_batches_does_not_change_the_order(self, dataset):
        def epoch(size):
            steps = -(-N_WINDOWS // size)
            return sum(
                (rows_and_starts(x) for x, _ in take(training(dataset, size).from_epoch(1), steps)), []
            )

        assert epoch(1) == epoch(3) == epoch(10) == epoch(64)


class TestArrayBatches:
    INPUTS = np.arange(7, dtype=np.float32)[:, None] * [1, 10]

    def batches(self, size=3, seed=0):
        return ArrayBatches(self.INPUTS.astype(np.float32), self.INPUTS[:, :1].astype(np.float32), size, seed)

    def test_an_epoch_has_every_row_once_with_its_own_target(self):
        epoch = take(self.batches().from_epoch(0), self.batches().steps_per_epoch)
        assert [len(x) for x, _ in epoch] == [3, 3, 1]
        x, y = (np.concatenate(parts) for parts in zip(*epoch, strict=True))
        assert sorted(x[:, 0]) == list(range(7))
        assert np.array_equal(x[:, :1], y) and np.array_equal(x[:, 1], 10 * x[:, 0])

    @pytest.mark.parametrize("epoch", [1, 3])
    def test_any_epoch_equals_that_reached_from_the_first(self, epoch):
        on = take(self.batches().from_epoch(0).skip(3 * epoch), 5)
        anew = take(self.batches().from_epoch(epoch), 5)
        for (x, y), (x_anew, y_anew) in zip(on, anew, strict=True):
            assert np.array_equal(x, x_anew) and np.array_equal(y, y_anew)

    def test_epochs_and_seeds_differ(self):
        orders = [
            tuple(take(self.batches(7, seed).from_epoch(epoch), 1)[0][0][:, 0])
            for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
        ]
        assert len(set(orders)) == 4


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("seed", [None, 0])
def test_prediction_batches_are_the_prediction_windows_in_order_or_shuffled(dataset, batch_size, seed):
    rows = np.array([4, 3, 1])
    batches, windows = prediction_batches(dataset, rows, SEQUENCE, batch_size, seed)
    covering = prediction_windows(rows, dataset.n_frames[rows], SEQUENCE, dataset.info.audio)
    expected = list(zip(covering.row.tolist(), covering.start.tolist(), strict=True))
    in_batches = list(zip(windows.row.tolist(), windows.start.tolist(), strict=True))
    assert (in_batches == expected) == (seed is None) and sorted(in_batches) == sorted(expected)
    read = [x.numpy() for x in batches]
    assert all(len(x) == batch_size for x in read[:-1])
    assert rows_and_starts(np.concatenate(read)) == in_batches
    assert batches.options().autotune.enabled is False  # its thread can hold up the end of a pipeline
