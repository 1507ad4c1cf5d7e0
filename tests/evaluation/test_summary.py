"""The summary of two factor matrices: the values of the functions that it joins, and its own ratio and text."""

import numpy as np
import pytest

import cs_keras as cs
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.overlap import evaluate_overlap

N_TRACKS, K = 120, 5


@pytest.fixture(scope="module")
def factors() -> list[np.ndarray]:
    """Reference, prediction and refit."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(N_TRACKS, 8))
    return [reference, *(reference + sd * rng.normal(size=reference.shape) for sd in (0.8, 0.1))]


def test_values_are_those_of_each_overlap(factors: list[np.ndarray]) -> None:
    reference, predicted, refit = factors
    artists = np.arange(N_TRACKS) // 3
    names: list[str | None] = [f"artist {number}" for number in artists]
    names[:3], artists[:3] = ["", None, ""], -1
    found = cs.evaluate(reference, predicted, artists=names, refit=refit, k=K, n_permutations=99)
    settings = {"ks": (K,), "artists": artists, "n_permutations": 99}
    (filtered,) = evaluate_overlap(reference, predicted, filtered=True, **settings)
    (unfiltered,) = evaluate_overlap(reference, predicted, **settings)
    (ceiling,) = evaluate_overlap(reference, refit, filtered=True, **settings)
    assert found.leading == filtered and found.leading.p_beyond_artist == 0.01
    assert found.unfiltered is not None and found.unfiltered.overlap == unfiltered.overlap
    assert found.interval == (filtered.low, filtered.high)
    expected = (filtered.overlap - filtered.chance) / (ceiling.overlap - filtered.chance)
    assert found.gap_closed == pytest.approx(expected)
    text = str(found)
    assert f"overlap@5, artist-filtered: {filtered.overlap:.1%}" in text
    assert f"{expected:.1%} of the gap closed" in text and "p, beyond artists: 0.01" in text


def test_without_artists_all_candidates_lead(factors: list[np.ndarray]) -> None:
    found = cs.evaluate(*factors[:2], k=K, n_permutations=9)
    assert found.unfiltered is None and found.gap_closed is None and found.leading.p_beyond_artist is None
    assert "artist" not in str(found)


def test_a_prediction_may_have_another_width(factors: list[np.ndarray]) -> None:
    """By cosine, zeros beside the factors change nothing."""
    reference, predicted, _ = factors
    wider = np.hstack([predicted, np.zeros((N_TRACKS, 3))])
    assert cs.evaluate(reference, wider, k=K, n_permutations=9) == cs.evaluate(
        reference, predicted, k=K, n_permutations=9
    )
    with pytest.raises(DataError):  # by dot product the space is that of the reference
        cs.evaluate(reference, wider, playlist_factors=reference[:5], k=K)
    with pytest.raises(DataError, match="expected 120 rows. Received: 119"):
        cs.evaluate(reference, predicted[1:], k=K)


def test_lists_of_playlists_are_by_dot_product(factors: list[np.ndarray]) -> None:
    reference, predicted, _ = factors
    playlists = np.random.default_rng(1).normal(size=(30, 8))
    found = cs.evaluate(reference, predicted, playlist_factors=playlists, k=K, n_permutations=9)
    best = [np.argsort(-(playlists @ own.T))[:, :K] for own in (reference, predicted)]
    shared = [len(np.intersect1d(*pair)) / K for pair in zip(*best, strict=True)]
    assert found.overlap == pytest.approx(np.mean(shared))
    with pytest.raises(ConfigError, match="refit is for lists of tracks"):
        cs.evaluate(reference, predicted, playlist_factors=playlists, refit=reference)


def test_what_does_not_match_is_refused(factors: list[np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="one for each of 120 tracks. Received: 2"):
        cs.evaluate(*factors[:2], artists=["a", "b"])
    with pytest.raises(DataError, match="Lists of 120 tracks need as many candidates"):
        cs.evaluate(*factors[:2], k=N_TRACKS)


def test_the_plot_shows_chance_and_ceiling(factors: list[np.ndarray]) -> None:
    found = cs.evaluate(*factors[:2], refit=factors[2], k=K, n_permutations=0)
    axes = found.plot()
    assert [text.get_text() for text in axes.texts] == ["chance", "ceiling"]
    assert axes.patches[0].get_width() == pytest.approx(100 * found.overlap)
