"""Factors of a dataset that holds some of the tracks with interactions."""

import csv

import numpy as np
import pytest
import scipy.sparse

from cs_keras.data.schema import INTERACTIONS_FILE, factors_path, read_tracks
from cs_keras.errors import ConfigError
from cs_keras.factors.cross_fitting import cross_fit, group_folds
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.store import load_factors
from cs_keras.factors.wmf import WmfConfig, fit_protocol
from pipelines.factors.fit import FactorsConfig, make_factors
from pipelines.factors.open import open_interactions
from tests.pipelines.planted import N_TRACKS, draw_interactions, write_planted

WMF = WmfConfig(factors=6, alpha=5.0, regularization=1.0, iterations=5)
N_OWN, N_PLAYLISTS = 60, 150
HOLDS = draw_interactions(N_PLAYLISTS)


@pytest.fixture
def listening(tmp_path):
    """Write a dataset of the first tracks, and interactions with all."""
    write_planted(tmp_path / "dataset", HOLDS[:, :N_OWN])
    path = tmp_path / "all.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["playlist_id", "track_id"])
        writer.writerows((f"p{u:04d}", f"t{i:03d}") for u, i in np.argwhere(HOLDS))
    return path


def fit(listening, **settings):
    return make_factors(
        listening, listening.parent / "dataset", FactorsConfig(WMF, ceiling=False, **settings)
    )[0]


def test_all_tracks_are_fitted_and_those_of_the_dataset_stored(listening):
    dataset = listening.parent / "dataset"
    factors = fit(listening, items="all")
    tracks = read_tracks(dataset)
    is_train = np.ones(N_TRACKS, dtype=bool)
    is_train[:N_OWN] = tracks.in_split("train")
    has_own = HOLDS[:, :N_OWN].any(axis=1)
    order = np.argsort(~has_own, kind="stable")  # playlists of the dataset first: initial factors are by row
    user_items = scipy.sparse.csr_matrix(HOLDS[order].astype(np.float32))
    main = fit_protocol(user_items, is_train, WMF)
    groups = np.full(N_TRACKS, -1)
    groups[:N_OWN] = group_folds(tracks.numbers("fold"), is_train[:N_OWN])
    expected = cross_fit(user_items, is_train, groups, main, WMF).fit
    assert factors.item_factors.shape == (N_OWN, 6)
    np.testing.assert_array_equal(factors.item_factors, expected.item_factors[:N_OWN])
    np.testing.assert_array_equal(factors.playlist_factors, main.playlist_factors[: has_own.sum()])
    interactions = open_interactions(dataset, load_factors(factors_path(dataset, "wmf")))
    assert interactions is not None and interactions.user_items.sum() == HOLDS[:, :N_OWN].sum()
    assert factors.config["items"] == "all" and factors.quality["n_unknown_tracks"] == 0


def test_without_other_tracks_the_choice_is_the_dataset(listening):
    write_planted(listening.parent / "dataset", HOLDS)
    every = [fit(listening, items=items) for items in (None, "all", "dataset")]
    assert {one.config["items"] for one in every} == {"dataset"}
    assert all("items_ndcg" not in one.quality and one.digest == every[0].digest for one in every)


@pytest.mark.parametrize("informative", [True, False])
def test_the_default_is_what_finds_held_out_interactions_better(listening, informative):
    if not informative:  # other tracks at random
        rng = np.random.default_rng(0)
        rows = listening.read_text().splitlines()
        own = [row for row in rows[1:] if int(row[-3:]) < N_OWN]
        noise = [f"p{u:04d},t{i:03d}" for u, i in np.argwhere(rng.random((N_PLAYLISTS, N_TRACKS)) < 0.5)]
        listening.write_text("\n".join([rows[0], *own, *(row for row in noise if int(row[-3:]) >= N_OWN)]))
    factors = fit(listening)
    ndcg = factors.quality["items_ndcg"]
    assert (ndcg["all"] > ndcg["dataset"]) is informative
    assert factors.config["items"] == ("all" if informative else "dataset")
    assert factors.digest != fit(listening, items="dataset" if informative else "all").digest


def test_under_strict_the_interactions_of_test_tracks_change_no_choice_and_no_playlist(listening):
    before = fit(listening)
    tracks = read_tracks(listening.parent / "dataset")
    is_test = set(tracks.ids[tracks.in_split("test")].tolist())
    rows = listening.read_text().splitlines()
    kept = [row for row in rows if row.split(",")[1] not in is_test]
    others = [f"p{u:04d},{name}" for u in range(0, N_PLAYLISTS, 3) for name in sorted(is_test)]
    listening.write_text("\n".join([*kept, *others]))
    after = fit(listening)
    assert before.quality["items_ndcg"] == after.quality["items_ndcg"]
    same = np.isin(before.playlist_ids, after.playlist_ids), np.isin(after.playlist_ids, before.playlist_ids)
    np.testing.assert_array_equal(before.playlist_factors[same[0]], after.playlist_factors[same[1]])
    is_train = tracks.in_split("train")
    np.testing.assert_array_equal(before.item_factors[is_train], after.item_factors[is_train])
    assert not np.array_equal(before.item_factors, after.item_factors)


def test_targets_are_cross_fitted_under_strict_and_the_reference_does_not_depend_on_them(listening):
    crossed, fitted = fit(listening), fit(listening, targets="in-sample")
    assert (crossed.config["targets"], fitted.config["targets"]) == ("cross-fitted", "in-sample")
    is_train = read_tracks(listening.parent / "dataset").in_split("train")
    np.testing.assert_array_equal(crossed.item_factors[~is_train], fitted.item_factors[~is_train])
    np.testing.assert_array_equal(crossed.playlist_factors, fitted.playlist_factors)
    assert not np.isclose(crossed.item_factors[is_train], fitted.item_factors[is_train]).all(axis=1).any()
    assert len(crossed.quality["cross_fitting"]["residuals"]) == 7
    assert fit(listening, protocol="thesis").config["targets"] == "in-sample"
    with pytest.raises(ConfigError, match="need the strict protocol"):
        FactorsConfig(protocol="thesis", targets="cross-fitted")


def test_dislikes_do_not_enter_the_fit_and_are_stored(listening):
    expected = fit(listening)
    header, *rows = listening.read_text().splitlines()
    disliked = np.argwhere(~HOLDS & (np.random.default_rng(0).random(HOLDS.shape) < 0.05))
    lines = [f"{header},feedback", *(f"{row},{i % 2 or ''}" for i, row in enumerate(rows))]
    listening.write_text("\n".join([*lines, *(f"p{u:04d},t{i:03d},-1" for u, i in disliked)]))
    found = fit(listening)
    assert found.digest == expected.digest
    stored = load_interactions(listening.parent / "dataset" / INTERACTIONS_FILE)
    has_own = HOLDS[:, :N_OWN].any(axis=1)
    own = disliked[(disliked[:, 1] < N_OWN) & has_own[disliked[:, 0]] & HOLDS.any(axis=0)[disliked[:, 1]]]
    assert stored.dislikes is not None and stored.dislikes.nnz == len(own)
    assert not stored.dislikes.multiply(stored.user_items).nnz
