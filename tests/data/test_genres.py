import numpy as np

from cs_keras.data.genres import genre_targets, track_genres
from cs_keras.data.schema import make_tracks
from tests.data.small import track_row

GENRES = [["rock"], ["pop", "rock"], ["pop"], [], ["polka"], ["rock"], ["pop"], ["polka", "rock"]]
TRAIN, VALIDATION = np.arange(5), np.array([5, 7])


def test_genres_are_those_of_the_table_once_each():
    rows = [["rock", "pop", "rock"], [], None, ["", "folk"]]
    tracks = make_tracks(track_row(f"t{i}", genres=own) for i, own in enumerate(rows))
    assert track_genres(tracks) == (("rock", "pop"), (), (), ("folk",))


def test_shares_are_equal_parts_of_what_enough_train_tracks_have():
    targets = genre_targets(GENRES, TRAIN, VALIDATION, 2)
    assert targets.names == ("pop", "rock") and targets.counts == {"pop": 2, "rock": 2}
    assert targets.left_out == {"polka": 1}
    expected = [[0, 1], [0.5, 0.5], [1, 0], [0, 0], [0, 0], [0, 1], [0, 0], [0, 1]]
    np.testing.assert_array_equal(targets.shares, expected)
    np.testing.assert_array_equal(np.flatnonzero(targets.has), [0, 1, 2, 5, 7])
    assert targets.shares.dtype == np.float32


def test_tracks_of_no_split_are_ignored():
    others = [*GENRES[:6], ["folk"], GENRES[7]]
    one, two = (genre_targets(own, TRAIN, VALIDATION, 1) for own in (GENRES, others))
    assert one.counts == two.counts and not one.left_out
    np.testing.assert_array_equal(one.shares, two.shares)
