"""Classifiers of one label against the rest, compared with scikit-learn's own search and cross-validation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from cs_keras.errors import DataError
from cs_keras.evaluation.labels.classification import GAMMAS, PENALTIES
from cs_keras.evaluation.labels.multi_label import evaluate_labels
from cs_keras.evaluation.labels.one_vs_rest import TaggedTracks, is_classifiable, make_tag_folds, score_tags


def draw(n: int = 60, n_labels: int = 2, seed: int = 0) -> TaggedTracks:
    """Tracks whose labels are planes in feature space, with noise; any number of labels each."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 4)) * [1, 10, 100, 1]
    planes = rng.standard_normal((4, n_labels)) / np.array([[1], [10], [100], [1]])
    has = features @ planes + 0.5 * rng.standard_normal((n, n_labels)) > 0.3
    return TaggedTracks(features, np.array([f"tag {i}" for i in range(n_labels)]), has, np.arange(n))


@pytest.mark.medium
@pytest.mark.parametrize("head", ["linear", "rbf"])
def test_scores_are_those_of_scikit_learn(head: str) -> None:
    tracks = draw()
    folds = np.arange(60)[np.newaxis] % 2
    machine = LinearSVC(dual=False) if head == "linear" else SVC(kernel=head)
    name = type(machine).__name__.lower()
    grid: dict[str, object] = {f"{name}__C": [C / 4 if head == "linear" else C for C in PENALTIES]}
    if head == "rbf":
        grid["svc__gamma"] = [gamma / 4 for gamma in GAMMAS]
    inner = StratifiedKFold(3, shuffle=True, random_state=5)
    search = GridSearchCV(make_pipeline(StandardScaler(), machine), grid, cv=inner, scoring="roc_auc")
    model, received = OneVsRestClassifier(search), score_tags(tracks, folds, head, seed=5)
    aucs = []
    for number in (0, 1):
        test = folds[0] == number
        expected = model.fit(tracks.features[~test], tracks.has[~test]).decision_function(
            tracks.features[test]
        )
        np.testing.assert_allclose(received[0, test], expected, rtol=1e-6, atol=1e-9)
        aucs.append(roc_auc_score(tracks.has[test], expected, average=None))
    found = evaluate_labels(tracks.has, received[0], tracks.groups, folds[0])
    assert found.over_labels.auc is not None and np.mean(aucs) > 0.7
    assert found.over_labels.auc.mean == pytest.approx(np.mean(aucs), rel=1e-12)
    assert [one.auc.mean for one in found.by_label if one.auc] == pytest.approx(
        np.mean(aucs, axis=0), rel=1e-12
    )


def test_scales_of_folds_do_not_matter() -> None:
    tracks, rng = draw(n=80), np.random.default_rng(1)
    folds = np.arange(80) % 4
    scores = tracks.has + rng.standard_normal(tracks.has.shape)
    expected = evaluate_labels(tracks.has, scores, tracks.groups, folds)
    scaled = scores * (1 + folds[:, np.newaxis]) - 7 * folds[:, np.newaxis]
    assert evaluate_labels(tracks.has, scaled, tracks.groups, folds).over_labels == expected.over_labels
    assert evaluate_labels(tracks.has, scaled, tracks.groups).over_labels != expected.over_labels


def test_folds_hold_whole_groups_and_similar_shares_of_rare_labels() -> None:
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(40), 3)
    has = np.stack([rng.random(120) < 0.9, (artists % 4 == 0), np.zeros(120, bool)], axis=1)
    has[5, 2] = True
    tracks = TaggedTracks(np.zeros((120, 1)), np.array(["usual", "rare", "once"]), has, artists)
    folds = make_tag_folds(tracks, 5, 2, seed=0)
    for row in folds:
        assert all(len(np.unique(row[artists == artist])) == 1 for artist in range(40))
        assert [np.count_nonzero(has[row == fold, 1]) for fold in range(5)] == [6] * 5
    assert not np.array_equal(*folds)
    assert is_classifiable(tracks, folds).tolist() == [True, True, False]
    with pytest.raises(DataError, match="too few examples for 41 folds.*Received: 40"):
        make_tag_folds(tracks, 41, 1, seed=0)
