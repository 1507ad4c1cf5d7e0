import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cs_keras.errors import DataError
from cs_keras.evaluation.labels.multi_label import average_precision, evaluate_labels, roc_auc


def draw(n_tracks=120, n_labels=7, seed=0):
    """Return labels, scores with ties, and artists of three tracks on average."""
    rng = np.random.default_rng(seed)
    artists = rng.integers(0, n_tracks // 3, n_tracks)
    taste = rng.standard_normal((n_tracks // 3, n_labels))[artists]
    labels = taste + rng.standard_normal(taste.shape) > 0.5
    scores = np.round(taste + rng.standard_normal(taste.shape), 1).astype(np.float32)
    return labels, scores, artists


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed):
    labels, scores, artists = draw(seed=seed)
    found = evaluate_labels(labels, scores, artists)
    for metric, theirs, name in (
        (roc_auc, roc_auc_score, "auc"),
        (average_precision, average_precision_score, "average_precision"),
    ):
        expected = theirs(labels, scores, average=None)
        np.testing.assert_allclose(metric(labels, scores), expected, rtol=1e-12)
        assert [getattr(one, name).mean for one in found.by_label] == pytest.approx(expected, rel=1e-12)
        macro = theirs(labels, scores, average="macro")
        assert getattr(found.over_labels, name).mean == pytest.approx(macro, rel=1e-12)
        kept = labels.any(axis=1) & ~labels.all(axis=1)
        of_tracks = theirs(labels[kept], scores[kept], average="samples")
        assert getattr(found.over_tracks, name).mean == pytest.approx(of_tracks, rel=1e-12)


def test_a_constant_score_is_chance():
    labels, scores, artists = draw()
    found = evaluate_labels(labels, np.zeros_like(scores), artists)
    assert found.over_labels.auc.mean == found.over_tracks.auc.mean == 0.5
    assert found.over_labels.average_precision.mean == pytest.approx(labels.mean())


def test_labels_that_cannot_be_ranked_are_left_out():
    labels, scores, artists = draw()
    labels[:, 0], labels[:, 1] = False, True
    found = evaluate_labels(labels, scores, artists)
    assert found.by_label[0].auc is None and found.by_label[1].auc is None
    assert found.over_labels.auc.mean == pytest.approx(roc_auc_score(labels[:, 2:], scores[:, 2:]))
    labels[:, 2] = artists == artists[0]  # of one artist: nothing to resample
    assert evaluate_labels(labels, scores, artists).by_label[2].auc.low is None


def test_intervals_contain_the_truth_where_tracks_of_an_artist_are_alike():
    """The AUC of two normal distributions at distance 1 is Phi(1 / sqrt 2)."""
    rng = np.random.default_rng(0)
    n_within = np.zeros(2, np.int64)
    for _ in range(60):
        artists = np.repeat(np.arange(40), 5)
        has = (rng.random(40) < 0.5)[artists]
        scores = has + rng.standard_normal(40)[artists]
        labels = np.stack([has, ~has], axis=1)
        for number, clusters in enumerate((artists, np.full(len(artists), -1))):
            auc = evaluate_labels(labels, np.stack([scores, -scores], axis=1), clusters).over_labels.auc
            n_within[number] += auc.low <= 0.7602 <= auc.high
    assert n_within[0] >= 53 and n_within[1] <= 45  # of 57 expected; tracks one by one are too narrow


def test_shapes_and_numbers_are_checked():
    labels, scores, artists = draw()
    with pytest.raises(DataError, match="finite numbers of shape"):
        evaluate_labels(labels, scores[:, 1:], artists)
    with pytest.raises(DataError, match="cannot be evaluated"):
        evaluate_labels(np.zeros_like(labels), scores, artists)
