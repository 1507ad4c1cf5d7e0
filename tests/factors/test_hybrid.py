"""Listening parted in what a track is given and what it is judged by, and two ways to add it to sound."""

import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError
from cs_keras.factors.hybrid import mean_cosine, part_listens, switch, weight


@pytest.fixture
def listening() -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(0)
    return scipy.sparse.csr_matrix((rng.random((40, 12)) < 0.5) * rng.integers(1, 9, (40, 12)))


def test_nothing_is_both_given_and_held_back(listening: scipy.sparse.csr_matrix) -> None:
    parted = part_listens(listening, 5, seed=0)
    held = listening[:, parted.tracks].toarray()
    rest = parted.rest.toarray()
    for n in range(6):
        given = parted.given(n).toarray()
        assert (np.count_nonzero(given, axis=0) == n).all()
        assert not (given.astype(bool) & rest.astype(bool)).any()
        assert ((given == held) | (given == 0)).all()
    np.testing.assert_array_equal(parted.given(5).toarray() + rest, held)


def test_more_listens_are_the_earlier_ones_and_others(listening: scipy.sparse.csr_matrix) -> None:
    parted = part_listens(listening, 5, seed=0)
    for n in range(5):
        assert (parted.given(n).toarray() <= parted.given(n + 1).toarray()).all()


def test_tracks_of_too_little_listening_are_left_out() -> None:
    listening = scipy.sparse.csr_matrix([[1, 1, 1], [1, 0, 1], [1, 0, 1], [1, 0, 0]])
    assert part_listens(listening, 2, seed=0).tracks.tolist() == [0]
    with pytest.raises(DataError, match="no track is in 6 playlists.*Received: at most 4"):
        part_listens(listening, 3, seed=0)


def test_another_seed_gives_others(listening: scipy.sparse.csr_matrix) -> None:
    first, again, other = (part_listens(listening, 3, seed).given(3).toarray() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_weighting_turns_from_sound_to_listening() -> None:
    predicted, folded = np.float32([[3, 0]]), np.float32([[0, 0.1]])
    np.testing.assert_array_equal(weight(predicted, folded, 0, 4), predicted)
    np.testing.assert_allclose(
        weight(predicted, folded, 4, 4), 3 * np.float32([[1, 1]]) / np.sqrt(2), rtol=1e-6
    )
    x, y = weight(predicted, folded, 12, 4)[0]
    assert y / x == pytest.approx(3)


def test_weighting_takes_each_tracks_own_number() -> None:
    predicted, folded = np.float32([[1, 0], [1, 0]]), np.float32([[0, 1], [0, 1]])
    mixed = weight(predicted, folded, [0, 1], 1)
    np.testing.assert_allclose(mixed, [[1, 0], [np.sqrt(0.5), np.sqrt(0.5)]], rtol=1e-6)


def test_a_track_without_a_fold_in_keeps_its_prediction() -> None:
    predicted = np.float32([[1, 2]])
    np.testing.assert_allclose(weight(predicted, np.zeros((1, 2), np.float32), 3, 1), predicted, rtol=1e-6)


def test_switching() -> None:
    predicted, folded = np.float32([[1, 0], [1, 0]]), np.float32([[0, 1], [0, 1]])
    np.testing.assert_array_equal(switch(predicted, folded, [1, 2], 2), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(switch(predicted, folded, 9, None), predicted)


def test_mean_cosine() -> None:
    rows = np.float32([[1, 0], [0, 2], [0, 0]])
    assert mean_cosine(rows, np.float32([[5, 0], [0, -1], [1, 1]])) == 0
    assert mean_cosine(rows[:2], rows[:2]) == 1
