import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from cs_keras.errors import DataError, StorageError
from cs_keras.factors.arrays import seal
from cs_keras.factors.interactions import Interactions, RowCounts, align, load_interactions, save_interactions


def make_interactions():
    counts = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0]], dtype=np.float32)
    return Interactions(
        np.array(["p", "q", "r"]),
        np.array(["a", "b", "c"]),
        scipy.sparse.csr_matrix(counts),
        RowCounts(n_rows=4),
    )


def test_align_reorders_adds_and_leaves_out():
    aligned = align(make_interactions(), ["new", "c", "a"])
    assert aligned.track_ids.tolist() == ["new", "c", "a"]
    assert aligned.playlist_ids.tolist() == ["p", "r"]
    assert aligned.user_items.toarray().tolist() == [[0, 2, 1], [0, 0, 4]]
    assert aligned.user_items.has_sorted_indices and aligned.user_items.dtype == np.float32
    assert aligned.tally == RowCounts(
        n_rows=4, n_unknown_tracks=1, n_unknown_pairs=1, unknown_tracks=("b",), n_empty_playlists=1
    )


def test_align_to_its_own_tracks_changes_nothing():
    interactions = make_interactions()
    aligned = align(interactions, interactions.track_ids)
    assert (aligned.user_items != interactions.user_items).nnz == 0
    assert aligned.tally == interactions.tally


def test_align_twice_is_align_once():
    once = align(make_interactions(), ["c", "new", "a"])
    twice = align(align(make_interactions(), ["c", "b", "a"]), ["c", "new", "a"])
    assert np.array_equal(once.user_items.toarray(), twice.user_items.toarray())


def test_align_with_nothing_in_common_or_ids_twice():
    with pytest.raises(
        DataError, match="no track in common: the dataset holds 'x', 'y', the interactions 'a', 'b', 'c'"
    ):
        align(make_interactions(), ["x", "y"])
    with pytest.raises(DataError, match="dataset: track ids must not repeat; 'a' occurs 2 times"):
        align(make_interactions(), ["a", "a"])


def test_what_is_saved_is_loaded(tmp_path):
    saved = align(make_interactions(), ["c", "a"])
    save_interactions(tmp_path / "interactions.npz", saved)
    loaded = load_interactions(tmp_path / "interactions.npz")
    assert loaded.playlist_ids.tolist() == saved.playlist_ids.tolist()
    assert loaded.track_ids.tolist() == saved.track_ids.tolist()
    assert np.array_equal(loaded.user_items.toarray(), saved.user_items.toarray())
    assert loaded.user_items.dtype == np.float32
    assert loaded.tally == saved.tally


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("indptr", None, "indptr is missing"),
        ("track_ids", np.array(["a", "a", "c"]), "track_ids must not repeat"),
        ("indices", np.array([0, 2, 1, 9], np.int32), "do not make a playlists × tracks matrix"),
        ("data", np.ones(3, np.float32), "do not make a playlists × tracks matrix"),
        ("data", np.array([1, 1, -1, 1], np.float32), "expected counts to be finite and above 0"),
        ("data", np.array([1, 1, np.nan, 1], np.float32), "expected counts to be finite and above 0"),
        ("playlist_ids", np.array(["p"]), "do not make a playlists × tracks matrix"),
        ("settings", np.array(json.dumps({"schema_version": 2})), "expected schema version 1. Received: 2"),
        ("settings", np.array(json.dumps({"schema_version": 1})), "do not make"),
    ],
)
def test_altered_files(tmp_path, name, value, message):
    path = tmp_path / "interactions.npz"
    save_interactions(path, make_interactions())
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays.pop(name)
    np.savez(path, **arrays, **({} if value is None else {name: value}))
    path.write_bytes(seal(path.read_bytes()))
    with pytest.raises(DataError, match=rf"interactions\.npz: .*{message}"):
        load_interactions(path)


def test_missing_file(tmp_path):
    with pytest.raises(StorageError, match="there is no such file"):
        load_interactions(tmp_path / "interactions.npz")


def test_dislikes_are_aligned_saved_and_loaded(tmp_path):
    own = make_interactions()
    dislikes = own.user_items.copy()
    dislikes.data[:] = 1  # of the same pairs, so that they move with the counts
    aligned = align(replace(own, dislikes=dislikes), ["x", *own.track_ids[::-1].tolist()])
    counts = align(own, aligned.track_ids).user_items
    assert np.array_equal(aligned.dislikes.toarray(), counts.toarray() > 0)
    save_interactions(tmp_path / "interactions.npz", aligned)
    loaded = load_interactions(tmp_path / "interactions.npz")
    assert np.array_equal(loaded.dislikes.toarray(), aligned.dislikes.toarray())
    save_interactions(tmp_path / "interactions.npz", own)
    assert load_interactions(tmp_path / "interactions.npz").dislikes is None
