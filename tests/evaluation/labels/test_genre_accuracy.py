import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from cs_keras.errors import DataError
from cs_keras.evaluation.labels.genre_accuracy import evaluate_genres, match_genres

GENRES = ("folk", "pop", "rock")


def one_hot(*columns: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[list(columns)]


def test_one_genre_each_is_as_scikit_learn(random):
    truth = random.integers(0, 3, 200)
    probabilities = random.dirichlet(np.ones(3), 200)
    probabilities[np.arange(120), truth[:120]] += 1
    found = evaluate_genres(probabilities, GENRES, [[GENRES[i]] for i in truth], "pop")
    predicted = probabilities.argmax(axis=1)
    assert found.accuracy == accuracy_score(truth, predicted)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(truth, predicted))
    recall = np.diag(found.confusion) / found.confusion.sum(axis=1)
    np.testing.assert_allclose(recall, recall_score(truth, predicted, average=None))
    assert found.majority_accuracy == np.mean(truth == 1)
    commonest = np.bincount(truth).argmax()
    assert (found.best_single, found.best_single_accuracy) == (GENRES[commonest], np.mean(truth == commonest))
    assert (found.n_tracks, found.n_without, found.n_unmatched, found.unmatched) == (200, 0, 0, {})
    expected = bootstrap((predicted == truth,), np.mean, method="percentile", rng=0).confidence_interval
    # Two bootstraps of 1,000 and 9,999 resamples of a standard error of 0.03.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_any_of_several_genres_is_right():
    labels = [["rock", "pop"], ["rock", "pop"], ["folk"], [], ["polka"], ["polka", "rock"]]
    found = evaluate_genres(one_hot(1, 0, 0, 2, 2, 2), GENRES, labels, "rock")
    np.testing.assert_array_equal(found.confusion, [[1, 0, 0], [0, 1, 0], [1, 0, 1]])
    assert found.accuracy == 3 / 4 == np.trace(found.confusion) / found.n_tracks
    assert found.majority_accuracy == 3 / 4
    assert (found.n_without, found.n_unmatched, found.unmatched) == (1, 1, {"polka": 2})


def test_genres_of_other_collections_are_matched_without_regard_to_case():
    assert match_genres([["ROCK"], ["Folk", "folk"], ["Straße"], ["jazz"]], (*GENRES, "STRASSE")) == [
        [2],
        [0],
        [3],
        [],
    ]
    assert match_genres([["Rock"], ["rock"]], ("Rock", "rock")) == [[0], [1]]


def test_the_first_of_equal_probabilities_is_predicted():
    found = evaluate_genres([[0.4, 0.2, 0.4]], GENRES, [["rock"]], "rock")
    np.testing.assert_array_equal(found.confusion, [[0, 0, 0], [0, 0, 0], [1, 0, 0]])


def test_bad_input_is_named():
    with pytest.raises(DataError, match=r"of shape \(2, 3\). Received: shape \(1, 3\)"):
        evaluate_genres(one_hot(0), GENRES, [["rock"], ["pop"]], "rock")
    with pytest.raises(DataError, match="probabilities are not valid"):
        evaluate_genres([[np.nan, 0, 1]], GENRES, [["rock"]], "rock")
    with pytest.raises(DataError, match="None of 2 tracks .* some of folk, pop, rock. Received: jazz, polka"):
        evaluate_genres(one_hot(0, 1), GENRES, [["polka"], ["jazz"]], "rock")
    with pytest.raises(DataError, match="Received: none"):
        evaluate_genres(one_hot(0), GENRES, [[]], "rock")
