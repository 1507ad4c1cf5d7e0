from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_keras.data.folds import N_FOLDS, SPLITS, assign_folds, group_keys, hash_fold, sample_rows
from cs_keras.errors import ConfigError, DataError

names = st.text(max_size=8)


def ids(n):
    return [f"t{i}" for i in range(n)]


def splits_of(folds):
    return {name for name, members in SPLITS.items() if set(folds) & set(members)}


def test_the_splits_share_all_ten_folds_without_overlap():
    assert sorted(sum(SPLITS.values(), ())) == list(range(N_FOLDS))


# Written down once: datasets that exist were split by these, so they may never change.
@pytest.mark.parametrize(("key", "fold"), [("", 6), ("Björk", 3), ("Radiohead", 9), ("宇多田ヒカル", 1)])
def test_folds_are_stable(key, fold):
    assert hash_fold(key) == fold


@given(names)
def test_case_does_not_change_the_fold(key):
    assert hash_fold(key) == hash_fold(key.casefold())
    assert 0 <= hash_fold(key) < N_FOLDS


def test_hashing_gives_every_fold_its_tenth():
    counts = Counter(hash_fold(f"artist {i}") for i in range(10_000))
    # Binomial(10,000, 0.1): a standard deviation of 30, and a fixed sample.
    assert all(abs(counts[fold] - 1000) < 4 * 30 for fold in range(N_FOLDS))


def test_an_artist_stays_together_in_any_case_and_spacing():
    artists = [f"Artist {i}" for i in range(40)] * 2 + [f"  ARTIST   {i} " for i in range(40)]
    folds, fold_assignment = assign_folds(ids(120), artists)
    assert fold_assignment == "hash"
    assert folds[:40] == folds[40:80] == folds[80:]


def test_tracks_without_an_artist_are_groups_of_their_own():
    folds, _ = assign_folds(ids(200), [" "] * 200)
    assert set(folds) == set(range(N_FOLDS))
    assert group_keys(["a", "b"], ["", "Low"], "artist") == ["track:a", "low"]


def test_folds_by_track_split_an_artist():
    folds, fold_assignment = assign_folds(ids(200), ["Low"] * 200, "track")
    assert set(folds) == set(range(N_FOLDS))
    assert fold_assignment == "hash"
    assert folds == [hash_fold(i) for i in ids(200)]


@given(st.lists(names, min_size=30, max_size=60), st.integers(1, 29))
def test_adding_tracks_moves_none_that_hashing_placed(artists, n_before):
    before, fold_assignment = assign_folds(ids(n_before), artists[:n_before], known={"": 0})
    after, _ = assign_folds(ids(len(artists)), artists, known={"": 0})
    assert fold_assignment == "hash"
    assert after[:n_before] == before


def test_folds_that_are_known_are_kept_though_a_split_stays_empty():
    assert assign_folds(ids(3), ["A", "A", "b"], known={"a": 9, "b": 3}) == ([9, 9, 3], "hash")


@given(st.lists(st.sampled_from("ABCDEF"), min_size=3, max_size=30))
def test_every_split_has_tracks_and_artists_stay_together_where_there_are_three(artists):
    folds, fold_assignment = assign_folds(ids(len(artists)), artists)
    assert splits_of(folds) == set(SPLITS)
    if len(set(artists)) >= 3:
        assert fold_assignment in ("hash", "round-robin by artist")
        assert len({(artist, fold) for artist, fold in zip(artists, folds, strict=True)}) == len(set(artists))
    else:
        assert fold_assignment == "round-robin by track"


def test_round_robin_trains_on_the_largest_artist_and_does_not_depend_on_order():
    artists = ["A"] * 5 + ["B"] * 3 + ["C"] * 2
    folds, fold_assignment = assign_folds(ids(10), artists)
    if fold_assignment == "hash":
        pytest.fail("these names were chosen because their hashes leave a split empty")
    assert folds == [0] * 5 + [8] * 3 + [7] * 2
    backwards, _ = assign_folds(ids(10)[::-1], artists[::-1])
    assert backwards == folds[::-1]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_tracks_are_refused(n):
    with pytest.raises(DataError, match=f"needs at least 3 usable tracks.* Received: {n}"):
        assign_folds(ids(n), ["A", "B"][:n])


def test_three_tracks_of_one_artist_are_one_each():
    folds, fold_assignment = assign_folds(ids(3), ["A"] * 3)
    assert sorted(folds) == [0, 7, 8]
    assert fold_assignment == "round-robin by track"


def test_another_way_to_fold_is_refused():
    with pytest.raises(ConfigError, match="folds must be one of artist, track. Received: 'album'"):
        assign_folds(ids(3), ["A"] * 3, "album")


class TestSampleRows:
    @given(
        st.lists(st.integers(0, 99), min_size=1, unique=True),
        st.floats(0.001, 1),
        st.floats(0.001, 1),
    )
    def test_a_smaller_share_lies_in_a_larger(self, rows, a, b):
        small, large = (sample_rows(ids(100), rows, fraction) for fraction in sorted((a, b)))
        assert set(small) <= set(large) <= set(rows)
        assert small == sorted(small)
        assert len(large) == max(1, round(max(a, b) * len(rows)))

    def test_order_of_rows_does_not_matter(self):
        assert sample_rows(ids(9), range(9), 0.5) == sample_rows(ids(9), range(8, -1, -1), 0.5)

    def test_all_of_it_is_all_rows(self):
        assert sample_rows(ids(9), [4, 2, 7], 1) == [2, 4, 7]

    def test_it_is_chosen_by_id_not_by_row(self):
        chosen = {ids(50)[row] for row in sample_rows(ids(50), range(50), 0.2)}
        assert {ids(50)[::-1][row] for row in sample_rows(ids(50)[::-1], range(50), 0.2)} == chosen

    @pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
    def test_a_share_outside_is_refused(self, fraction):
        with pytest.raises(ConfigError, match="train_fraction must be above 0 and at most 1"):
            sample_rows(ids(9), range(9), fraction)
