"""Heads against scikit-learn's own cross-validation, and on data that only a leak could separate."""

from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.labels.classification import (
    GAMMAS,
    MAJORITY,
    PENALTIES,
    CrossValidation,
    LabelledTracks,
    bootstrap_accuracy,
    corrected_interval,
    count_confusions,
    cross_validate,
    make_folds,
)


def clouds(n: int = 90, n_features: int = 6, distance: float = 1.5, seed: int = 0) -> LabelledTracks:
    """Three overlapping Gaussian clouds, on scales that differ a thousandfold."""
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b", "c"])[rng.permutation(np.arange(n) % 3)]
    centres = distance * rng.standard_normal((3, n_features))
    features = centres[np.unique(labels, return_inverse=True)[1]] + rng.standard_normal((n, n_features))
    return LabelledTracks(features * 10.0 ** np.linspace(-1, 2, n_features), labels, np.arange(n))


@pytest.mark.medium
@pytest.mark.parametrize("head", ["linear", "rbf"])
def test_accuracies_are_those_of_scikit_learn(head: str) -> None:
    examples = clouds()
    n_features = examples.features.shape[1]
    grid: dict[str, object] = {"svc__C": [C / n_features if head == "linear" else C for C in PENALTIES]}
    if head == "rbf":
        grid["svc__gamma"] = [gamma / n_features for gamma in GAMMAS]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SVC(kernel=head)),
        grid,
        cv=StratifiedKFold(3, shuffle=True, random_state=7),
    )
    outer = StratifiedKFold(5, shuffle=True, random_state=7)
    expected = cross_val_score(search, examples.features, examples.labels, cv=outer)
    received = cross_validate(examples, make_folds(examples, 5, 1, 7), head, 7)
    assert 0.5 < expected.mean() < 1
    assert np.array_equal(received.fold_accuracy, [expected])
    assert set(received.settings[0]) == ({"C"} if head == "linear" else {"C", "gamma"})


def test_the_majority_is_that_of_the_other_folds() -> None:
    labels = np.array([*"aaaaabbbbb"])
    examples = LabelledTracks(np.zeros((10, 1)), labels, np.arange(10))
    folds = np.array([[0, 0, 0, 1, 1, 0, 0, 1, 1, 1]])
    received = cross_validate(examples, folds, MAJORITY)
    for fold, expected in enumerate("ba"):
        (winner, n), *_ = Counter(labels[folds[0] != fold].tolist()).most_common()
        assert (winner, n) == (expected, 3)
        assert set(received.predicted[0, folds[0] == fold]) == {winner}
    assert received.fold_accuracy.tolist() == [[2 / 5, 2 / 5]]


@pytest.mark.medium
def test_what_is_held_out_reaches_nothing() -> None:
    examples = clouds()
    folds = make_folds(examples, 3, 1, 0)
    held_out = folds[0] == 0
    features, labels = examples.features.copy(), examples.labels.copy()
    labels[held_out] = np.roll(labels[held_out], 1)
    odd = np.flatnonzero(held_out)[0]
    features[odd] *= 1e6
    expected = cross_validate(examples, folds, "rbf")
    received = cross_validate(LabelledTracks(features, labels, examples.groups), folds, "rbf")
    assert received.settings[0] == expected.settings[0]
    others = held_out & (np.arange(len(labels)) != odd)
    assert np.array_equal(received.predicted[0, others], expected.predicted[0, others])


@pytest.mark.medium
@pytest.mark.parametrize("head", ["linear", "rbf"])
def test_shuffled_labels_are_predicted_no_better_than_by_the_majority(head: str) -> None:
    rng = np.random.default_rng(3)
    examples = clouds(n=150, distance=3.0)
    folds = make_folds(examples, 5, 1, 0)
    assert cross_validate(examples, folds, head).fold_accuracy.mean() > 0.95
    shuffled = LabelledTracks(examples.features, rng.permutation(examples.labels), examples.groups)
    folds = make_folds(shuffled, 5, 1, 0)
    accuracy = cross_validate(shuffled, folds, head).fold_accuracy.mean()
    # A third is right by luck: 0.333 with standard deviation 0.038 over 150 tracks; three of these.
    assert abs(accuracy - 1 / 3) < 0.115


@pytest.mark.medium
def test_artists_are_not_recognised_for_their_labels() -> None:
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(40), 4)
    voices = 10 * rng.standard_normal((40, 30))
    labels = np.array(["x", "y"])[rng.permutation(np.arange(40) % 2)][
        artists
    ]  # determined by artists, with no trace in the features
    features = voices[artists] + rng.standard_normal((160, 30))
    apart, mixed = LabelledTracks(features, labels, artists), LabelledTracks(features, labels, np.arange(160))
    folds = make_folds(apart, 5, 2, 0)
    for row in folds:
        assert all(len(np.unique(row[artists == artist])) == 1 for artist in range(40))
        assert set(row) == set(range(5))
    assert not np.array_equal(*folds)
    assert cross_validate(mixed, make_folds(mixed, 5, 1, 0), "rbf").fold_accuracy.mean() > 0.9
    # 40 independent artists: 0.5 with standard deviation 0.08.
    assert abs(cross_validate(apart, folds[:1], "rbf").fold_accuracy.mean() - 0.5) < 0.25


def test_confusion_counts_every_track_in_every_repeat() -> None:
    examples = clouds()
    folds = make_folds(examples, 3, 2, 0)
    received = cross_validate(examples, folds, "linear")
    counts = count_confusions(examples, received)
    for row, truth in enumerate("abc"):
        for column, said in enumerate("abc"):
            chosen = examples.labels == truth
            assert counts[row, column] == np.count_nonzero(received.predicted[:, chosen] == said)
    assert counts.sum() == 180 and received.fold_accuracy.shape == (2, 3)
    assert np.trace(counts) / 180 == pytest.approx(np.mean(received.fold_accuracy))  # folds of one size


def test_intervals() -> None:
    accuracy = np.array([[0.8, 0.9], [0.7, 0.6]])
    predicted = np.tile(["a", "b"], (1, 200))
    received = CrossValidation(predicted, accuracy, ())
    # Mean 0.75, s² = 0.05 / 3, J = 4, as many test tracks as train tracks: t(0.975, 3) = 3.18245.
    margin = 3.18245 * np.sqrt((1 / 4 + 1) * 0.05 / 3)
    assert corrected_interval(accuracy) == pytest.approx((0.75 - margin, 0.75 + margin), abs=1e-5)
    examples = LabelledTracks(np.zeros((400, 1)), np.repeat(["a", "b"], 200), np.arange(400))
    low, high = bootstrap_accuracy(examples, received)
    # Half of 400 are right: normal approximation, and the noise of 1,000 resamples.
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.008)


def test_invalid_input_is_rejected() -> None:
    numbers = np.zeros((6, 2))
    with pytest.raises(DataError, match="at least two labels"):
        LabelledTracks(numbers, np.array(["a"] * 6), np.arange(6))
    with pytest.raises(DataError, match="shape"):
        LabelledTracks(numbers, np.array(["a"] * 5), np.arange(5))
    with pytest.raises(DataError, match="finite"):
        LabelledTracks(np.full((2, 1), np.nan), np.array(["a", "b"]), np.arange(2))
    examples = LabelledTracks(numbers, np.array([*"aaaabb"]), np.arange(6))
    with pytest.raises(DataError, match=r"of 'b' for 3 folds.*Received: 2"):
        make_folds(examples, 3, 1, 0)
    with pytest.raises(DataError, match=r"of 'b'.*outside fold 1. Received: 1"):
        cross_validate(examples, np.array([[0, 0, 1, 1, 0, 1]]), "linear")
    with pytest.raises(DataError, match="at least two folds"):
        cross_validate(examples, np.zeros((1, 6), np.int64), "linear")
    with pytest.raises(DataError, match="fold 2 of 3 is empty"):
        cross_validate(examples, np.array([[0, 0, 2, 2, 2, 2]]), MAJORITY)
    with pytest.raises(ConfigError, match="head must be one of"):
        cross_validate(examples, np.array([[0, 0, 1, 1, 0, 1]]), "forest")
