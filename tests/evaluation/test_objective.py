"""Objectives of a search, against a full sort and scikit-learn."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import mean_squared_error, ndcg_score
from sklearn.metrics.pairwise import cosine_similarity

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.objective import (
    SearchObjective,
    ValidationData,
    measure_objective,
    parse_objective,
    require_measurable,
)

N_TRACKS, N_PLAYLISTS, N_FACTORS = 40, 25, 6


@pytest.fixture
def validation() -> ValidationData:
    rng = np.random.default_rng(3)
    reference = rng.standard_normal((N_TRACKS, N_FACTORS)).astype(np.float32)
    playlists = rng.standard_normal((N_PLAYLISTS, N_FACTORS)).astype(np.float32)
    held = (rng.random((N_PLAYLISTS, N_TRACKS)) < 0.2) * rng.integers(1, 9, (N_PLAYLISTS, N_TRACKS))
    held[4] = 0
    return ValidationData(reference, (reference - 0.5) / 2, playlists, scipy.sparse.csr_matrix(held))


@pytest.fixture
def predicted(validation: ValidationData) -> np.ndarray:
    noise = np.random.default_rng(4).standard_normal(validation.reference.shape)
    return (validation.reference + noise).astype(np.float32)


def scaled(factors: np.ndarray) -> np.ndarray:
    return (factors - 0.5) / 2


def of(name: str, validation: ValidationData, predicted: np.ndarray) -> np.ndarray:
    return measure_objective(parse_objective(name), validation, predicted, scaled(predicted))


def nearest(factors: np.ndarray, k: int) -> list[set[int]]:
    similarity = cosine_similarity(factors.astype(np.float64))
    np.fill_diagonal(similarity, -np.inf)
    return [set(np.argsort(-row)[:k].tolist()) for row in similarity]


@pytest.mark.parametrize("k", [1, 7, N_TRACKS - 1])
def test_overlap_is_the_share_of_a_full_sorts_lists(
    k: int, validation: ValidationData, predicted: np.ndarray
) -> None:
    pairs = zip(nearest(validation.reference, k), nearest(predicted, k), strict=True)
    expected = [len(a & b) / k for a, b in pairs]
    np.testing.assert_allclose(of(f"val_overlap@{k}", validation, predicted), expected, rtol=1e-12)
    assert of(f"val_overlap@{k}", validation, validation.reference).tolist() == [1.0] * N_TRACKS


def test_overlap_uses_only_tracks_with_factors(validation: ValidationData, predicted: np.ndarray) -> None:
    reference = validation.reference.copy()
    reference[[3, 9]] = 0
    found = of("val_overlap@5", dataclasses.replace(validation, reference=reference), predicted)
    assert found.shape == (N_TRACKS - 2,)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_overlap_is_of_other_artists_where_artists_are_known(
    k: int, validation: ValidationData, predicted: np.ndarray
) -> None:
    artists = np.repeat([0, 1, 2, 3, -1], [20, 8, 6, 4, 2])  # of the first none has 30 candidates
    found = of(f"val_overlap@{k}", dataclasses.replace(validation, artists=artists), predicted)
    expected = []
    for query in np.flatnonzero(artists >= 0):
        others = np.flatnonzero(artists != artists[query])
        if len(others) < k:
            continue
        best = [
            set(others[np.argsort(-cosine_similarity(one[[query]], one[others])[0])[:k]])
            for one in (validation.reference, predicted)
        ]
        expected.append(len(best[0] & best[1]) / k)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ConfigError, match="a list length of at most 36. Received: 37."):
        require_measurable(SearchObjective("overlap", 37), dataclasses.replace(validation, artists=artists))


def test_cosine_is_scikit_learns(validation: ValidationData, predicted: np.ndarray) -> None:
    expected = np.diag(cosine_similarity(validation.reference.astype(float), predicted.astype(float)))
    np.testing.assert_allclose(of("val_cosine", validation, predicted), expected, rtol=1e-12)


@pytest.mark.parametrize("k", [5, 20])
def test_ndcg_is_scikit_learns(k: int, validation: ValidationData, predicted: np.ndarray) -> None:
    assert validation.user_items is not None
    held = (validation.user_items.toarray() > 0).astype(float)
    scores = validation.playlist_factors.astype(np.float64) @ predicted.T.astype(np.float64)
    expected = [
        ndcg_score(held[[u]], scores[[u]], k=k) if held[u].any() else np.nan for u in range(N_PLAYLISTS)
    ]
    found = of(f"val_ndcg@{k}", validation, predicted)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.isnan(found).sum() == 1  # the playlist without any of the tracks


def test_loss_is_the_squared_error_of_what_the_model_gives(
    validation: ValidationData, predicted: np.ndarray
) -> None:
    found = of("val_loss", validation, predicted)
    expected = mean_squared_error(validation.scaled.T, scaled(predicted).T, multioutput="raw_values")
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # scikit-learn stays in float32
    assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("name", "expected", "direction"),
    [
        ("val_loss", SearchObjective("loss", 0), "min"),
        ("val_cosine", SearchObjective("cosine", 0), "max"),
        ("val_overlap@10", SearchObjective("overlap", 10), "max"),
        ("val_ndcg@500", SearchObjective("ndcg", 500), "max"),
    ],
)
def test_names_of_objectives(name: str, expected: SearchObjective, direction: str) -> None:
    assert parse_objective(name) == expected
    assert (expected.name, expected.direction) == (name, direction)


@pytest.mark.parametrize(
    "text",
    ["", "loss", "val_loss@3", "val_overlap", "val_overlap@0", "val_overlap@-1", "val_ndcg@x", "val_map@5"],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="The objective must be val_loss, val_cosine, or .*Received: "):
        parse_objective(text)


def test_lists_longer_than_there_are_candidates_are_refused(validation: ValidationData) -> None:
    require_measurable(SearchObjective("overlap", N_TRACKS - 1), validation)
    require_measurable(SearchObjective("ndcg", N_TRACKS), validation)
    for objective, most in ((SearchObjective("overlap", N_TRACKS), 39), (SearchObjective("ndcg", 41), 40)):
        with pytest.raises(ConfigError, match=f"a list length of at most {most}. Received: {objective.k}."):
            require_measurable(objective, validation)


def test_ndcg_needs_interactions(validation: ValidationData) -> None:
    ndcg = SearchObjective("ndcg", 5)
    nobody = np.zeros((0, N_FACTORS), np.float32)
    for changes in ({"user_items": None}, {"playlist_factors": nobody}):
        with pytest.raises(ConfigError, match="val_ndcg@5 needs playlist factors and the interactions"):
            require_measurable(ndcg, dataclasses.replace(validation, **changes))
    empty = dataclasses.replace(validation, user_items=scipy.sparse.csr_matrix((N_PLAYLISTS, N_TRACKS)))
    with pytest.raises(DataError, match="needs playlists with validation tracks; there are none"):
        require_measurable(ndcg, empty)
    require_measurable(SearchObjective("overlap", 5), empty)


@pytest.mark.parametrize("name", ["val_loss", "val_overlap@5", "val_ndcg@5"])
def test_invalid_predictions_are_rejected(
    name: str, validation: ValidationData, predicted: np.ndarray
) -> None:
    infinite = predicted.copy()
    infinite[3, 2] = np.inf
    for wrong in (predicted[1:], infinite):
        with pytest.raises(DataError):
            of(name, validation, wrong)
