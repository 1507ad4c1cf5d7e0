import numpy as np
import pytest

from cs_keras.errors import DataError
from cs_keras.evaluation.artist_mean import predict_artist_means

TRAIN = np.array([[1, 0], [3, 0], [0, 8]], dtype=np.float32)


def test_known_artists_get_their_mean_and_others_that_of_all() -> None:
    found = predict_artist_means(TRAIN, ["b", "b", "d"], ["d", "a", "b", "z", "c"])
    of_all = [4 / 3, 8 / 3]
    np.testing.assert_allclose(found, [[0, 8], of_all, [2, 0], of_all, of_all], rtol=1e-6)  # float32
    assert found.dtype == np.float32


def test_artists_must_match_the_tracks() -> None:
    with pytest.raises(DataError, match="expected one for each of 3 training tracks"):
        predict_artist_means(TRAIN, ["b", "b"], ["b"])
