import keras
import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, Windows
from cs_keras.training.predict import apply_to_tracks, predict_tracks, whole_track_function
from tests.data.small import magnitudes, write_small

LENGTHS = [9, 17, 4, 2, 12]
SEQUENCE = SequenceConfig(frames=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset(write_small(tmp_path_factory.mktemp("dataset"), LENGTHS))


@pytest.fixture(scope="module")
def model():
    """Mean of the first bin over the window, and a random dense output with batch norm and dropout."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 9))
    y = keras.layers.Lambda(lambda x: x[:, :, 0])(x)
    mean = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(0.25))(y)
    other = keras.layers.Dense(3)(keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(y)))
    return keras.Model(x, keras.layers.Concatenate()([mean, other]))


def test_a_tracks_prediction_is_the_mean_over_its_windows(dataset, model):
    predicted = predict_tracks(model, dataset, np.arange(5), SEQUENCE, 3)
    assert predicted.shape == (5, 4) and predicted.dtype == np.float32
    # Windows of a track of 9 frames start at 0, 4, 5: their means are 1.5, 5.5, 6.5. Of 17: 0, 4, 8, 12, 13.
    # The track of 2 frames is followed by two zeros.
    by_hand = [
        (1.5 + 5.5 + 6.5) / 3,
        100 + (1.5 + 5.5 + 9.5 + 13.5 + 14.5) / 5,
        201.5,
        (300 + 301) / 4,
        400 + (1.5 + 5.5 + 9.5) / 3,
    ]
    np.testing.assert_allclose(predicted[:, 0], by_hand, rtol=1e-6)  # float32 sums of four
    starts = np.array([0, 4, 5])
    windows = dataset.read_windows(Windows(np.zeros(3, int), starts), 4).astype(np.float32)
    np.testing.assert_allclose(predicted[0], model(windows).numpy().mean(axis=0), rtol=1e-5)  # as above


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_the_size_of_batches_does_not_change_predictions(dataset, model, batch_size):
    expected = predict_tracks(model, dataset, np.arange(5), SEQUENCE, 3)
    predicted = predict_tracks(model, dataset, np.arange(5), SEQUENCE, batch_size)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-4)  # float32 sums, inputs of up to 400


def test_rows_are_predicted_in_the_order_of_the_request(dataset, model):
    all_rows = predict_tracks(model, dataset, np.arange(5), SEQUENCE, 3)
    some = predict_tracks(model, dataset, np.array([4, 0, 3]), SEQUENCE, 3)
    np.testing.assert_allclose(some, all_rows[[4, 0, 3]], rtol=1e-5, atol=1e-4)  # as above


def test_skips_are_left_out(dataset, model):
    # 500 frames a second: four frames of the start and one of the end; of 9 frames one window remains.
    predicted = predict_tracks(model, dataset, np.array([0]), SequenceConfig(4, 0.008, 0.002), 3)
    assert predicted[0, 0] == pytest.approx(4 + 1.5)


def test_progress_counts_every_window(dataset, model):
    reported = []
    predict_tracks(model, dataset, np.array([0, 1]), SEQUENCE, 3, reported.append)
    assert reported == [3, 3, 2]


def test_whole_tracks_of_any_length_are_applied_one_by_one(dataset):
    x = keras.Input((None, 9))
    mean = keras.Model(x, keras.layers.GlobalAveragePooling1D()(x))
    reported = []
    output = apply_to_tracks(mean, dataset, np.array([3, 0, 1]), reported.append)
    expected = [magnitudes(row, LENGTHS[row]).mean(axis=0) for row in (3, 0, 1)]
    np.testing.assert_allclose(output, expected, rtol=1e-6)  # float32 sums of 17
    assert reported == [1, 1, 1]
    assert np.array_equal(whole_track_function(mean)(dataset.read_track(0)), output[1])
