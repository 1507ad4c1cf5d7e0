import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from cs_keras.factors.scaling import fit_scaler
from cs_keras.training.losses import playlists as playlist_losses
from cs_keras.training.losses.playlists import PlaylistIndex, bpr, history_info_nce, sampled_softmax
from tests.training.losses.gradients import SCALER, draw, minimise, numeric_slope, unit, value_and_slope

N_PLAYLISTS, N_TRACKS, N_FACTORS = 12, 7, 3
ORDER = [5, 0, 2, 2, 6, 1]  # two sequences of one track
HELD = np.random.default_rng(0).random((N_PLAYLISTS, N_TRACKS)) < 0.4
HELD[:, 1] = False  # a track without playlists
HELD[0] = [True, *[False] * 6]  # a playlist of one track
COUNTS = scipy.sparse.csr_matrix(HELD * np.random.default_rng(1).integers(1, 5, HELD.shape))
IS_TRAIN = np.array([True, True, True, True, True, True, False])


def rows(order):
    return tf.constant(order, tf.int64)


def test_playlists_are_drawn_evenly_among_those_of_the_track(monkeypatch):
    index, n = PlaylistIndex(COUNTS, COUNTS), np.zeros((N_TRACKS, N_PLAYLISTS))
    random = np.random.default_rng(0)
    monkeypatch.setattr(playlist_losses, "N_DRAWN", 800)
    for _ in range(2):
        order = random.permutation(N_TRACKS)
        drawn, has = index.draw(rows(order))
        assert np.array_equal(has, HELD.any(axis=0)[order])
        for track, playlists in zip(order, drawn.numpy(), strict=True):
            np.add.at(n[track], playlists, 1)
    expected = HELD / np.maximum(HELD.sum(axis=0), 1)
    played = np.flatnonzero(HELD.any(axis=0))
    # 1,600 draws: a standard error of at most 0.0125.
    np.testing.assert_allclose(n[played] / 1600, expected.T[played], atol=0.05)


def test_draws_follow_from_the_batch_alone():
    one, again = PlaylistIndex(COUNTS, COUNTS), PlaylistIndex(COUNTS, COUNTS)
    assert np.array_equal(one.draw(rows(ORDER))[0], again.draw(rows(ORDER))[0])
    assert not np.array_equal(one.draw(rows(ORDER))[0], one.draw(rows(ORDER[::-1]))[0][::-1])


def test_the_index_knows_what_playlists_hold():
    found = PlaylistIndex(COUNTS, COUNTS).holds(tf.range(N_PLAYLISTS, dtype=tf.int64), rows(ORDER))
    assert np.array_equal(found, HELD[:, ORDER])


@pytest.mark.parametrize("prior", [None, np.linspace(-1, 2, N_TRACKS)])
def test_the_softmax_and_bpr_compare_with_the_tracks_of_the_batch_that_the_playlist_lacks(prior):
    x, predicted = draw(N_PLAYLISTS, N_FACTORS), draw(len(ORDER), N_FACTORS, seed=1)
    x[3] = 0  # fitted to nothing
    usable = scipy.sparse.csr_matrix(COUNTS.toarray() * x.any(axis=1)[:, np.newaxis])
    drawn = PlaylistIndex(COUNTS, usable).draw(rows(ORDER))[0].numpy()

    def by_hand(of_scores):
        def losses(factors):
            values = np.zeros(len(ORDER))
            for i, track in enumerate(ORDER):
                if not HELD[:, track].any():
                    continue
                each = []
                for u in drawn[i]:
                    assert HELD[u, track] and u != 3
                    others = [j for j, other in enumerate(ORDER) if not HELD[u, other]]
                    scores = factors[[i, *others]] @ x[u].astype(float) / 0.4
                    each.append(of_scores(scores, np.array(ORDER)[[i, *others]]))
                values[i] = np.mean(each)
            return values

        return losses

    def softmax(scores, tracks):
        logits = scores - (0 if prior is None else prior[tracks])
        return np.log(np.exp(logits).sum()) - logits[0]

    def ranking(scores, tracks):
        return np.log1p(np.exp(scores[1:] - scores[0])).mean() if len(scores) > 1 else 0.0

    for loss, expected in (
        (sampled_softmax(x, SCALER, COUNTS, 0.4, prior), by_hand(softmax)),
        (bpr(x, SCALER, COUNTS, 0.4), by_hand(ranking)),
    ):
        found, slope = value_and_slope(loss, ORDER, predicted)
        np.testing.assert_allclose(found, expected(predicted.astype(float)), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            slope, numeric_slope(expected, predicted.astype(float)), rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("correction", [0.0, 0.7])
def test_histories_are_of_the_other_train_tracks_and_negatives_do_not_hold_the_track(correction):
    reference, predicted = draw(N_TRACKS, N_FACTORS), draw(len(ORDER), N_FACTORS, seed=1)
    others = HELD * ((HELD * IS_TRAIN).sum(axis=1, keepdims=True) - IS_TRAIN)
    drawn, has = PlaylistIndex(COUNTS, scipy.sparse.csr_matrix(others)).draw(rows(ORDER))
    drawn = drawn.numpy()
    rate = (HELD * IS_TRAIN / np.maximum(HELD.sum(axis=0), 1)).sum(axis=1)

    def history(u, track):
        members = [j for j in np.flatnonzero(HELD[u] & IS_TRAIN) if j != track]
        assert members
        return unit(reference[members].astype(float).sum(axis=0))

    def by_hand(factors):
        losses = np.zeros(len(ORDER))
        for i, track in enumerate(ORDER):
            if not has[i]:
                continue
            pairs = [
                (u, other) for j, other in enumerate(ORDER) if has[j] for u in drawn[j] if not HELD[u, track]
            ]

            def logit(u, other, i=i):
                return unit(factors[i]) @ history(u, other) / 0.3 - correction * np.log(rate[u])

            negatives = sum(np.exp(logit(*pair)) for pair in pairs)
            positives = np.array([logit(u, track) for u in drawn[i]])
            losses[i] = np.mean(np.log(np.exp(positives) + negatives) - positives)
        return losses

    loss = history_info_nce(reference, SCALER, COUNTS, IS_TRAIN, 0.3, correction)
    found, slope = value_and_slope(loss, ORDER, predicted)
    assert has.numpy().sum() == 5
    np.testing.assert_allclose(found, by_hand(predicted.astype(float)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(slope, numeric_slope(by_hand, predicted.astype(float)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rankings_learn_how_much_likelier_tracks_are_in_a_playlist_or_with_the_correction_how_likely(
    share, monkeypatch
):
    """Playlists of two kinds hold one of three tracks each; scores of every kind and track are free."""
    monkeypatch.setattr(playlist_losses, "N_DRAWN", 2000)  # so that draws are close to what is expected
    plays = np.array([[6, 2, 2], [2, 2, 6]])  # of each track in playlists of either kind
    kinds, tracks = np.divmod(np.repeat(np.arange(6), plays.ravel()), 3)
    held = scipy.sparse.csr_matrix(np.eye(3)[tracks])
    x, plain = np.eye(2, dtype=np.float32)[kinds], fit_scaler("none", np.eye(2, dtype=np.float32))
    popularity = plays.sum(axis=0)
    odds = plays / popularity if share == 0 else plays
    losses = {
        "softmax": sampled_softmax(x, plain, held, 0.5, (share * np.log(popularity)).astype(np.float32))
    }
    if share == 0:
        losses["bpr"] = bpr(x, plain, held, 0.5)
    for name, loss in losses.items():
        found = np.exp(minimise(loss, np.zeros((3, 2), np.float32)).T / 0.5)
        np.testing.assert_allclose(
            found / found[:, :1], odds / odds[:, :1], rtol=0.12, err_msg=name
        )  # standard error of an odds ratio of some 1,000 draws each: 5 %


def test_bpr_and_the_softmax_compare_with_tracks_that_the_listener_dislikes():
    x, predicted = draw(N_PLAYLISTS, N_FACTORS), draw(len(ORDER), N_FACTORS, seed=1)
    disliked = ~HELD & (np.random.default_rng(3).random(HELD.shape) < 0.5)
    disliked[5] = False  # a listener who dislikes nothing
    usable = scipy.sparse.csr_matrix(COUNTS.toarray() * disliked.any(axis=1)[:, np.newaxis])
    drawn, has = (values.numpy() for values in PlaylistIndex(COUNTS, usable).draw(rows(ORDER)))
    of_pairs = {"bpr": lambda difference: np.log1p(np.exp(difference)).mean()}
    of_pairs["sampled_softmax"] = lambda difference: np.log1p(np.exp(difference).sum())
    for loss in (bpr, sampled_softmax):
        found = loss(x, SCALER, COUNTS, 0.4, dislikes=scipy.sparse.csr_matrix(disliked * 1.0))
        values, _ = value_and_slope(found, ORDER, predicted)
        for i, track in enumerate(ORDER):
            each = [0.0]
            for u in drawn[i] if has[i] else ():
                assert HELD[u, track] and disliked[u].any()
                others = [j for j, other in enumerate(ORDER) if disliked[u, other]]
                difference = (predicted[others] - predicted[i]) @ x[u].astype(float) / 0.4
                each.append(of_pairs[found.name](difference) if others else 0.0)
            assert values[i] == pytest.approx(sum(each) / playlist_losses.N_DRAWN, rel=1e-4, abs=1e-6)


def test_likes_and_dislikes_drawn_from_known_factors_are_ranked_right(monkeypatch):
    """Listeners rate a third of the tracks; others, which the loss does not see, are ranked as by true factors."""
    random, n_listeners, n_tracks = np.random.default_rng(0), 200, 60
    x = draw(n_listeners, N_FACTORS)
    y = draw(n_tracks, N_FACTORS, seed=1)
    is_liked = random.random((n_listeners, n_tracks)) < 1 / (1 + np.exp(-3 * (x @ y.T)))
    is_rated = random.random(is_liked.shape) < 1 / 3
    likes, dislikes = (scipy.sparse.csr_matrix(is_rated & one, dtype=float) for one in (is_liked, ~is_liked))
    monkeypatch.setattr(playlist_losses, "N_DRAWN", 50)  # nearly all likes, as many batches would draw
    loss = bpr(x, fit_scaler("none", y), likes, 1.0, dislikes)
    found = minimise(loss, np.zeros((n_tracks, N_FACTORS), np.float32), n_steps=80)

    def rank_right(factors):
        """Mean over listeners of the share of pairs of a liked and a disliked track, unseen, in the right order."""
        scores = x @ factors.T
        shares = [
            roc_auc_score(is_liked[u, ~is_rated[u]], scores[u, ~is_rated[u]])
            for u in range(n_listeners)
            if 0 < is_liked[u, ~is_rated[u]].mean() < 1
        ]
        return np.mean(shares)

    assert rank_right(y) > 0.85  # the best that can be expected
    assert rank_right(found) > rank_right(y) - 0.03  # from some 70 ratings of each track
