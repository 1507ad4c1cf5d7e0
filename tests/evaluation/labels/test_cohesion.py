import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.stats import entropy

from cs_keras.errors import DataError
from cs_keras.evaluation.labels import cohesion
from cs_keras.evaluation.labels.cohesion import genre_matrix, measure_cohesion

NAMES = ["folk", "house", "techno", "ambient", "noise", "choir", "polka", "jazz", "blues", "dub"]


def test_hand_counted():
    genres = [["rock"], ["rock", "pop"], ["pop"], [], ["rock"]]
    factors = [[1, 0], [0, 1], [-1, 0], [2, 0], [0, 0]]
    found = measure_cohesion([[1, 3], [4, 2]], [0, 1], [0, 0, 1, 0, 2], genre_matrix(genres), factors)
    assert found.shared_genre == (1 / 2 + 2 / 2) / 2
    assert found.same_artist == (2 / 2 + 0 / 2) / 2
    assert found.genre_entropy == 1  # a track of two genres and none otherwise; one of each
    assert found.diversity == 1  # right angles, and a track without a direction


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_as_scipy_and_brute_force(data):
    n_items, n_queries = data.draw(st.integers(3, 12)), data.draw(st.integers(1, 10))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    k = data.draw(st.integers(2, n_items))
    lists = [random.permutation(n_items)[:k].tolist() for _ in range(n_queries)]
    queries = random.integers(0, n_items, n_queries)
    genres = [random.choice(NAMES, random.integers(0, 4), replace=False).tolist() for _ in range(n_items)]
    artists = random.integers(-1, 4, n_items)
    factors = random.standard_normal((n_items, 3)).astype(np.float32)
    found = measure_cohesion(lists, queries, artists, genre_matrix(genres), factors)

    with_genres = [(q, own) for q, own in zip(queries, lists, strict=True) if genres[q]]
    shared = [np.mean([bool({*genres[q]} & {*genres[item]}) for item in own]) for q, own in with_genres]
    assert found.shared_genre == (pytest.approx(np.mean(shared)) if shared else None)
    same = [
        np.mean(artists[own] == artists[q])
        for q, own in zip(queries, lists, strict=True)
        if artists[q] >= 0  # an unknown artist is the same as no other
    ]
    assert found.same_artist == (pytest.approx(np.mean(same)) if same else None)
    bits = []
    for own in lists:
        weights = dict.fromkeys(NAMES, 0.0)
        for item in own:
            for name in genres[item]:
                weights[name] += 1 / len(genres[item])
        if any(weights.values()):
            bits.append(entropy(list(weights.values()), base=2))
    assert found.genre_entropy == (pytest.approx(np.mean(bits), abs=1e-9) if bits else None)
    pairs = [[cosine(factors[a], factors[b]) for a, b in itertools.combinations(own, 2)] for own in lists]
    assert found.diversity == pytest.approx(
        np.mean([np.mean(own) for own in pairs]), abs=1e-6
    )  # SciPy's float32


def test_blocks_change_nothing(random, monkeypatch):
    lists = np.array([random.permutation(40)[:7] for _ in range(30)])
    genres = genre_matrix([random.choice(NAMES, random.integers(0, 3), replace=False) for _ in range(40)])
    arguments = (lists, np.arange(30), np.arange(40) % 5, genres, random.standard_normal((40, 4)))
    whole = measure_cohesion(*arguments)
    monkeypatch.setattr(cohesion, "BLOCK_ENTRIES", 60)
    assert measure_cohesion(*arguments) == whole


def test_what_is_not_known_is_not_available():
    found = measure_cohesion([[1], [0]], [0, 1], [-1, -1], genre_matrix([[], []]), np.eye(2))
    assert (found.shared_genre, found.genre_entropy, found.diversity) == (None, None, None)
    assert found.same_artist is None


def test_a_list_of_one_kind_is_cohesive_and_not_diverse():
    factors = np.repeat([[3.0, 4.0]], 6, axis=0)
    found = measure_cohesion([[1, 2, 3]], [0], [0] * 6, genre_matrix([["folk"]] * 6), factors)
    assert (found.shared_genre, found.same_artist, found.genre_entropy) == (1, 1, 0)
    assert found.diversity == pytest.approx(0, abs=1e-7)  # factors are float32


def test_duplicate_genres_count_once():
    matrix = genre_matrix([["rock", "rock"], ["pop", "rock"], []])
    np.testing.assert_array_equal(matrix.toarray(), [[0, 1], [0.5, 0.5], [0, 0]])


def test_bad_input_is_named():
    genres, factors = genre_matrix([["a"]] * 3), np.eye(3)
    with pytest.raises(DataError, match="from 0 to 2"):
        measure_cohesion([[0, 3]], [1], [0] * 3, genres, factors)
    with pytest.raises(DataError, match=r"expected 1 queries, and artists and genres of 3 items"):
        measure_cohesion([[0, 2]], [1, 2], [0] * 3, genres, factors)
    with pytest.raises(DataError, match=r"Received: \(1,\), \(2,\) and \(3, 1\)"):
        measure_cohesion([[0, 2]], [1], [0] * 2, genres, factors)
    with pytest.raises(DataError, match="artists and genres of 3 items"):
        measure_cohesion([[0, 2]], [1], [0] * 3, sp.csr_matrix((2, 1)), factors)
