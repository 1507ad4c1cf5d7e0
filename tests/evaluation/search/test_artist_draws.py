"""Draws of one track per artist, and their lists as those of artists."""

import numpy as np

from cs_keras.evaluation.overlap import compare_lists
from cs_keras.evaluation.search.artist_draws import assign_queries, draw_tracks, stack_draws
from cs_keras.evaluation.search.topk import top_k_dot


def test_each_draw_takes_one_track_of_each_known_artist():
    artists = np.array([4, -1, 2, 4, 2, 4, -1])
    drawn = draw_tracks(artists, n_draws=300, seed=1)
    np.testing.assert_array_equal(artists[drawn], np.tile([2, 4], (300, 1)))
    shares = [np.mean(drawn[:, 1] == track) for track in (0, 3, 5)]
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * np.sqrt(2 / 9 / 300))  # four standard errors


def test_playlists_are_shared_out_among_the_draws():
    playlists = np.array([3, 5, 6, 9, 11])
    np.testing.assert_array_equal(assign_queries(playlists, 4, max_queries=20), np.tile(playlists, (4, 1)))
    few = assign_queries(playlists, 4, max_queries=12)
    assert few.shape == (4, 3) and all(len({*row}) == 3 for row in few.tolist())
    times = [np.count_nonzero(few == one) for one in playlists]
    assert max(times) - min(times) <= 1


def test_the_overlap_is_the_mean_of_the_draws(random):
    items, predicted, playlists = (random.standard_normal((n, 4)).astype("f") for n in (30, 30, 20))
    artists = np.arange(30) % 10
    drawn = draw_tracks(artists, n_draws=3)
    lists = [[top_k_dot(playlists, factors[tracks], 6) for tracks in drawn] for factors in (items, predicted)]
    (found,) = compare_lists(*map(stack_draws, lists), (5,), artists=np.arange(10), n_permutations=19, seed=0)
    expected = []
    for tracks in drawn:
        for u in playlists:
            best = [set(np.argsort(-factors[tracks] @ u)[:5]) for factors in (items, predicted)]
            expected.append(len(best[0] & best[1]) / 5)
    np.testing.assert_allclose(found.shares, expected)
    assert found.at_k.chance == 5 / 10
