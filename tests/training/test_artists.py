"""Sums over an artist's tracks, and their shrunk means: against brute force, an F test and a dense solve."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

from cs_keras.layers.artists import ArtistAttention, ContentAndArtist, ShrunkMean
from cs_keras.training.artists import (
    estimate_variance_ratio,
    fit_combination,
    gather_by_artist,
    sum_by_artist,
)

ARTISTS = np.array(["a", "b", "", "a", "c", "a", "", "b"])
VALUES = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def test_sums_are_over_the_train_tracks_of_an_artist():
    wanted = np.array(["b", "", "z", "a", "c", "0"])
    found = sum_by_artist(VALUES, ARTISTS, wanted)
    for name, row in zip(wanted, found, strict=True):
        own = VALUES[ARTISTS == name] if name else VALUES[:0]
        np.testing.assert_allclose(row, [*own.sum(axis=0), len(own)], atol=1e-6)


def test_a_train_track_is_left_out_of_its_artist():
    found = sum_by_artist(VALUES, ARTISTS, ARTISTS, leave_out=VALUES)
    for track, row in enumerate(found):
        others = (ARTISTS == ARTISTS[track]) & (np.arange(8) != track) & (ARTISTS[track] != "")
        np.testing.assert_allclose(row, [*VALUES[others].sum(axis=0), others.sum()], atol=1e-6)
    assert not found[4].any()  # the only track of its artist, exactly


def test_for_groups_of_one_size_the_variance_ratio_follows_from_the_f_statistic():
    random = np.random.default_rng(0)
    groups = random.normal(size=(40, 1)) + random.normal(size=(40, 5))
    expected = (scipy.stats.f_oneway(*groups).statistic - 1) / 5
    names = np.repeat([f"a{i}" for i in range(40)], 5)
    assert estimate_variance_ratio(groups.reshape(-1, 1), names) == pytest.approx(expected)


def test_for_groups_of_any_size_the_variance_ratio_is_the_planted_one():
    random = np.random.default_rng(0)
    numbers = np.repeat(np.arange(400), random.integers(1, 12, 400))
    values = random.normal(0, 0.5, (400, 8))[numbers] + random.normal(size=(len(numbers), 8))
    # 400 artists, 8 columns: the standard error is 0.25 * sqrt(2 / 3200), and less than as much again from within.
    assert estimate_variance_ratio(values, numbers.astype(str)) == pytest.approx(0.25, abs=3 * 2 * 0.00625)


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["a"] * 4, [""] * 4])
def test_without_two_artists_or_two_tracks_of_one_there_is_no_ratio(names):
    assert estimate_variance_ratio(VALUES[:4], np.array(names)) == 0


def test_equal_tracks_of_each_artist_have_a_finite_ratio():
    assert estimate_variance_ratio(VALUES[[0, 0, 1, 1]], np.array(list("aabb"))) == pytest.approx(1e6)


def test_the_shrunk_mean_is_the_best_linear_prediction():
    """By the covariance of all tracks of one artist, solved densely."""
    n, c, mean, y = 5, 3.0, np.array([0.5, -2.0, 1.0]), VALUES[:5]
    covariance = np.eye(n) + np.full((n, n), 1 / c)
    expected = mean + np.full(n, 1 / c) @ np.linalg.solve(covariance, y - mean)
    layer = ShrunkMean(3)
    layer.ratio.assign(1 / c)
    layer.mean.assign(mean)
    found = layer([y.sum(axis=0, keepdims=True), np.array([[n]], np.float32)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_gathered_tracks_are_the_others_of_an_artist():
    found = gather_by_artist(VALUES, ARTISTS, ARTISTS, 5, 0, own=np.arange(8))
    assert found.shape == (8, 2, 4)  # an artist has three tracks, two without the own one
    for track, rows in enumerate(found):
        others = (ARTISTS == ARTISTS[track]) & (np.arange(8) != track) & (ARTISTS[track] != "")
        present = rows[rows[:, -1] == 1, :-1]
        assert sorted(present.tolist()) == sorted(VALUES[others].tolist())
        assert not rows[rows[:, -1] != 1].any()


def test_of_too_many_tracks_a_choice_is_gathered_that_the_seed_decides():
    found = [gather_by_artist(VALUES, ARTISTS, np.array(["a", "nobody"]), 2, seed) for seed in range(8)]
    assert all(one.shape == (2, 2, 4) and one[0, :, -1].all() and not one[1].any() for one in found)
    assert len({one[0].tobytes() for one in found}) > 1
    assert {tuple(row[:-1]) for row in found[0][0].tolist()} < set(
        map(tuple, VALUES[ARTISTS == "a"].tolist())
    )


def draw_sets(n=5, n_tracks=4):
    random = np.random.default_rng(0)
    own, others, vectors = (
        random.normal(size=shape).astype(np.float32) for shape in ((n, 3), (n, n_tracks, 3), (n, n_tracks, 6))
    )
    return own, others, vectors, (np.arange(n_tracks) < np.arange(n)[:, np.newaxis]).astype(np.float32)


def test_attention_begins_as_the_shrunk_mean():
    own, others, vectors, flags = draw_sets()
    attention, shrunk = ArtistAttention(6, 2), ShrunkMean(6)
    attention.build([own.shape, others.shape, vectors.shape, flags.shape])
    for layer in (attention, shrunk):
        layer.set_statistics(0.3, np.arange(6.0))
    found = attention([own, others, vectors, flags])
    sums = (vectors * flags[:, :, np.newaxis]).sum(axis=1)
    np.testing.assert_allclose(found, shrunk([sums, flags.sum(axis=1, keepdims=True)]), atol=1e-5)


def test_attention_is_a_softmax_over_the_tracks_that_are_there():
    own, others, vectors, flags = draw_sets()
    attention = ArtistAttention(6, 2)
    attention.build([own.shape, others.shape, vectors.shape, flags.shape])
    random = np.random.default_rng(1)
    query, key, mean = random.normal(size=(3, 2)), random.normal(size=(3, 2)), random.normal(size=6)
    for weight, value in ((attention.query, query), (attention.key, key), (attention.mean, mean)):
        weight.assign(value)
    attention.prior.assign(0.7)
    for row, found in enumerate(np.asarray(attention([own, others, vectors, flags]))):
        n = int(flags[row].sum())
        scores = [*((others[row, :n] @ key) @ (own[row] @ query) / np.sqrt(2)), 0.7]
        expected = scipy.special.softmax(scores) @ np.vstack([vectors[row, :n], mean])
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_weights_of_content_and_artist_are_the_planted_ones():
    random = np.random.default_rng(0)
    content, means = random.normal(size=(50, 3)), random.normal(size=(50, 6))
    layer = ContentAndArtist()
    for weight, value in ((layer.own, 0.5), (layer.artist, 0.9), (layer.others, 0.3)):
        weight.assign(value)
    factors = np.asarray(layer([content.astype(np.float32), means.astype(np.float32)]))
    np.testing.assert_allclose(fit_combination(content, means, factors), [0.5, 0.9, 0.3], atol=1e-5)
