import itertools

import numpy as np
import pytest

from cs_keras.errors import ConfigError, DataError
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.rerank import Rules, compute_mean_direction, filter_candidates, rerank_mmr, unit_rows

ENTRIES = [
    Entry("seed", "Ann", "One", isrc="AAAAA0000001"),
    Entry("a1", "Ann", "Two"),
    Entry("copy", "Other", "One (again)", isrc="AA-AAA-00-00001"),
    Entry("b1", "Bob", "Three"),
    Entry("b1 again", "BOB", "three"),
    Entry("b2", "Bob", "Four"),
    Entry("nobody 1"),
    Entry("nobody 2"),
    Entry("b3", "bob", "Five"),
]


def listed(rules: Rules, seeds: tuple[int, ...] = (0,)) -> list[str]:
    rows = filter_candidates(range(len(ENTRIES)), ENTRIES.__getitem__, [ENTRIES[row] for row in seeds], rules)
    return [ENTRIES[row].track_id for row in rows]


def test_seeds_and_second_entries_of_a_recording_are_left_out() -> None:
    assert listed(Rules()) == ["a1", "b1", "b2", "nobody 1", "nobody 2", "b3"]


def test_artists_of_seeds_are_left_out() -> None:
    assert listed(Rules(exclude_artist=True)) == ["b1", "b2", "nobody 1", "nobody 2", "b3"]


def test_an_unknown_artist_of_a_seed_excludes_nobody() -> None:
    assert "nobody 2" in listed(Rules(exclude_artist=True), seeds=(6,))


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, ["a1", "b1", "nobody 1", "nobody 2"]), (2, ["a1", "b1", "b2", "nobody 1", "nobody 2"])],
)
def test_an_artist_has_at_most_so_many_tracks(n: int, expected: list[str]) -> None:
    assert listed(Rules(max_per_artist=n)) == expected


def test_only_the_requested_number_is_examined() -> None:
    looked: list[int] = []

    def describe(row: int) -> Entry:
        looked.append(row)
        return Entry(str(row))

    assert list(itertools.islice(filter_candidates(itertools.count(), describe, [], Rules()), 5)) == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert looked == [0, 1, 2, 3, 4]


def definition(relevance: np.ndarray, factors: np.ndarray, k: int, diversity: float) -> list[int]:
    """Equation (1) of Carbonell & Goldstein 1998, with all similarities at hand."""
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    chosen: list[int] = []
    while len(chosen) < k:
        rest = [i for i in range(len(relevance)) if i not in chosen]
        values = [
            (1 - diversity) * relevance[i] - diversity * max((similarity[i, j] for j in chosen), default=0.0)
            for i in rest
        ]
        chosen.append(rest[int(np.argmax(values))])
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
def test_mmr_is_its_definition(diversity: float) -> None:
    rng = np.random.default_rng(3)
    factors, relevance = rng.standard_normal((40, 5)), rng.random(40)
    assert rerank_mmr(relevance, factors, 12, diversity).tolist() == definition(
        relevance, factors, 12, diversity
    )


def test_mmr_without_diversity_is_the_ranking_and_with_it_takes_the_other_direction() -> None:
    factors = np.array([[1, 0], [1, 0.01], [1, 0.02], [0, 1]], np.float32)
    relevance = np.array([1.0, 0.99, 0.98, 0.6])
    assert rerank_mmr(relevance, factors, 3, 0.0).tolist() == [0, 1, 2]
    assert rerank_mmr(relevance, factors, 2, 0.5).tolist() == [0, 3]
    assert rerank_mmr(relevance, factors, 9, 0.5).tolist()[0:2] == [0, 3]
    assert len(rerank_mmr(relevance, factors, 9, 0.5)) == 4
    assert len(rerank_mmr([], np.zeros((0, 2)), 3, 0.5)) == 0


def test_no_seed_weighs_more_than_another() -> None:
    np.testing.assert_allclose(compute_mean_direction([[100.0, 0], [0, 1]]), [0.5, 0.5])


@pytest.mark.parametrize("seeds", [[[0.0, 0.0]], [[1.0, 0.0], [-2.0, 0.0]]])
def test_seeds_without_a_direction_are_refused(seeds: list[list[float]]) -> None:
    with pytest.raises(DataError, match="no direction in common"):
        compute_mean_direction(seeds)


def test_rows_of_zeros_stay_zero() -> None:
    assert unit_rows([[0, 0], [3, 4]]).tolist() == [[0, 0], [np.float32(0.6), np.float32(0.8)]]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"diversity": 1.1}, {"diversity": -0.1}, {"max_per_artist": 0}])
def test_rules_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="Received"):
        Rules(**wrong)  # type: ignore[arg-type]
