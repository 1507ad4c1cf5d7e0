import json
from dataclasses import replace

import numpy as np
import pytest

from cs_keras.errors import DataError, StorageError
from cs_keras.factors.arrays import seal
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import (
    Factors,
    align_external_factors,
    load_factors,
    read_external_factors,
    save_factors,
)


def make_factors(**changes):
    rng = np.random.default_rng(0)
    items = rng.normal(size=(4, 3)).astype(np.float32)
    items[3] = 0
    return replace(
        Factors(
            name="wmf",
            track_ids=np.array(["007", "b", "ç", "d"]),
            item_factors=items,
            has_factors=np.array([True, True, True, False]),
            playlist_ids=np.array(["p", "q"]),
            playlist_factors=rng.normal(size=(2, 3)).astype(np.float32),
            scaler=fit_scaler("standardize", items[:3]),
            protocol="strict",
            config={"factors": 3, "alpha": 40.0},
            quality={"rank": 3},
        ),
        **changes,
    )


def test_what_is_saved_is_loaded(tmp_path):
    factors = make_factors()
    save_factors(tmp_path / "factors" / "wmf.npz", factors)
    loaded = load_factors(tmp_path / "factors" / "wmf.npz")
    for name in ("track_ids", "item_factors", "has_factors", "playlist_ids", "playlist_factors"):
        assert np.array_equal(getattr(loaded, name), getattr(factors, name))
        assert getattr(loaded, name).dtype == getattr(factors, name).dtype
    for name in ("name", "protocol", "config", "quality", "digest"):
        assert getattr(loaded, name) == getattr(factors, name)
    assert loaded.scaler.kind == "standardize"
    assert np.array_equal(
        loaded.scaler.transform(factors.item_factors), factors.scaler.transform(factors.item_factors)
    )
    assert [path.name for path in (tmp_path / "factors").iterdir()] == ["wmf.npz"]


def test_a_refit_is_stored_and_changes_the_digest(tmp_path):
    factors = make_factors()
    second = make_factors(
        second_item_factors=-factors.item_factors, second_playlist_factors=-factors.playlist_factors
    )
    save_factors(tmp_path / "wmf.npz", second)
    loaded = load_factors(tmp_path / "wmf.npz")
    assert np.array_equal(loaded.second_item_factors, second.second_item_factors)
    assert np.array_equal(loaded.second_playlist_factors, second.second_playlist_factors)
    assert loaded.digest == second.digest != factors.digest
    save_factors(tmp_path / "wmf.npz", factors)
    assert load_factors(tmp_path / "wmf.npz").second_item_factors is None


def test_half_a_second_fit_is_refused(tmp_path):
    with pytest.raises(DataError, match="second_playlist_factors is missing"):
        save_factors(tmp_path / "wmf.npz", make_factors(second_item_factors=np.zeros((4, 3), np.float32)))
    wrong = make_factors(
        second_item_factors=np.zeros((4, 3), np.float32), second_playlist_factors=np.zeros((1, 3), np.float32)
    )
    with pytest.raises(DataError, match=r"second_playlist_factors must be float32 of shape \(2, 3\)"):
        save_factors(tmp_path / "wmf.npz", wrong)


def test_any_change_changes_the_digest():
    factors = make_factors()
    changed = [
        make_factors(name="other"),
        make_factors(track_ids=np.array(["007", "b", "c", "d"])),
        make_factors(item_factors=factors.item_factors * 2),
        make_factors(has_factors=~factors.has_factors),
        make_factors(playlist_factors=-factors.playlist_factors),
        make_factors(scaler=fit_scaler("none", factors.item_factors)),
        make_factors(config=None),
    ]
    digests = {f.digest for f in (factors, *changed)}
    assert len(digests) == 1 + len(changed)
    assert all(len(digest) == 64 for digest in digests)
    assert make_factors(track_ids=factors.track_ids.astype("U40")).digest == factors.digest


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "wmf.npz"
    save_factors(path, make_factors())

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StorageError, match="wmf.npz: the disk is full"):
        save_factors(path, make_factors(name="other"))
    assert load_factors(path).name == "wmf"
    assert list(tmp_path.iterdir()) == [path]


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write .*wmf.npz"):
        save_factors(tmp_path / "file" / "wmf.npz", make_factors())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_factors": np.zeros((3, 3), np.float32)}, r"item_factors must be float32 of shape \(4, 3\)"),
        ({"item_factors": np.zeros((4, 3))}, "item_factors must be float32 .* Received: float64"),
        ({"item_factors": np.full((4, 3), np.nan, np.float32)}, "item_factors must be finite, but row 0"),
        (
            {"playlist_factors": np.zeros((2, 2), np.float32)},
            r"playlist_factors must be float32 of shape \(2, 3\)",
        ),
        ({"has_factors": np.ones(4)}, "has_factors must be bool"),
        ({"track_ids": np.array(["a", "b", "a", "c"])}, "track_ids must not repeat; 'a' occurs 2 times"),
        ({"track_ids": np.arange(4)}, "expected track_ids as a vector of text"),
        ({"protocol": "loose"}, "protocol must be one of strict, thesis, given. Received: 'loose'"),
    ],
)
def test_factors_that_do_not_fit_together_are_not_written(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"wmf\.npz: {message}"):
        save_factors(tmp_path / "wmf.npz", make_factors(**changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("item_factors", None, "item_factors is missing"),
        ("settings", None, "settings is missing"),
        ("settings", np.array("{"), "expected 'settings' to hold JSON"),
        ("settings", np.array('{"schema_version": 99}'), "expected schema version 1. Received: 99"),
        ("settings", np.array('{"schema_version": 1}'), "the settings lack name, protocol"),
        ("playlist_ids", np.array(["p", "p"]), "playlist_ids must not repeat"),
        ("scaler_scale", np.ones(2, np.float32), "scaler_scale must be float32 of shape"),
        ("track_ids", np.array([1, 2, 3, None]), "'track_ids' holds pickled Python objects"),
    ],
)
def test_altered_files(tmp_path, name, value, message):
    path = tmp_path / "wmf.npz"
    save_factors(path, make_factors())
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays.pop(name)
    np.savez(path, **arrays, **({} if value is None else {name: value}))
    path.write_bytes(seal(path.read_bytes()))
    with pytest.raises(DataError, match=rf"wmf\.npz: .*{message}"):
        load_factors(path)


def test_files_that_are_not_whole(tmp_path):
    path = tmp_path / "wmf.npz"
    save_factors(path, make_factors())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    for content in (b"", b"PK", whole[: len(whole) // 2], whole[:-5], bytes(flipped), b"\x80\x04N."):
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"wmf\.npz: a damaged \.npz file"):
            load_factors(path)
    with pytest.raises(StorageError, match="there is no such file"):
        load_factors(tmp_path / "none.npz")
    with pytest.raises(StorageError, match="Cannot read .*: Is a directory"):
        load_factors(tmp_path)


def test_settings_are_readable_json(tmp_path):
    save_factors(tmp_path / "wmf.npz", make_factors())
    with np.load(tmp_path / "wmf.npz", allow_pickle=False) as archive:
        assert json.loads(str(archive["settings"])) == {
            "schema_version": 1,
            "name": "wmf",
            "protocol": "strict",
            "scaler": "standardize",
            "config": {"factors": 3, "alpha": 40.0},
            "quality": {"rank": 3},
        }


class TestGiven:
    def write(self, path, **arrays):
        np.savez(
            path, **({"ids": np.array([10, 7]), "item_factors": np.array([[1.0, 2.0], [0.0, 0.0]])} | arrays)
        )
        return path

    def test_the_least_there_must_be(self, tmp_path):
        given = read_external_factors(self.write(tmp_path / "svd.npz"))
        assert given.name == "svd" and given.protocol == "given" and given.config is None
        assert given.track_ids.tolist() == ["10", "7"]
        assert given.item_factors.dtype == np.float32
        assert given.has_factors.tolist() == [True, False]
        assert given.playlist_factors.shape == (0, 2)
        save_factors(tmp_path / "out.npz", given)
        assert load_factors(tmp_path / "out.npz").digest == given.digest

    def test_with_playlists(self, tmp_path):
        unnamed = read_external_factors(
            self.write(tmp_path / "a.npz", playlist_factors=np.ones((2, 2), np.float16))
        )
        assert unnamed.playlist_ids.tolist() == ["0", "1"]
        named = read_external_factors(
            self.write(
                tmp_path / "b.npz", playlist_factors=np.ones((2, 2)), playlist_ids=np.array(["x", "y"])
            )
        )
        assert named.playlist_ids.tolist() == ["x", "y"]

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"ids": np.array(["a", None], dtype=object)}, "'ids' holds pickled .* such as ids.astype"),
            ({"ids": np.array([1.0, 2.0])}, "ids must be text or integers. Received: float64"),
            ({"ids": np.array(["a", "a"])}, "track_ids must not repeat; 'a' occurs 2 times"),
            ({"ids": np.array(["a"])}, r"item_factors must be float32 of shape \(1, 2\)"),
            ({"item_factors": np.ones(2)}, "item_factors must be a matrix of floats"),
            ({"item_factors": np.ones((2, 2), int)}, "item_factors must be a matrix of floats"),
            ({"item_factors": np.array([[1, 1], [1, np.inf]])}, "item_factors must be finite, but row 1"),
            ({"item_factors": np.full((2, 2), 1e300)}, "item_factors must be finite, but row 0"),
            ({"playlist_factors": np.ones((2, 3))}, r"playlist_factors must be float32 of shape \(2, 2\)"),
            ({"playlist_ids": np.array(["x"])}, r"playlist_factors must be float32 of shape \(1, 2\)"),
        ],
    )
    def test_bad_arrays(self, tmp_path, arrays, message):
        with pytest.raises(DataError, match=rf"given\.npz: {message}"):
            read_external_factors(self.write(tmp_path / "given.npz", **arrays))

    def test_missing_arrays(self, tmp_path):
        np.savez(tmp_path / "given.npz", factors=np.ones((2, 2)))
        with pytest.raises(DataError, match="ids, item_factors is missing. Received: factors"):
            read_external_factors(tmp_path / "given.npz")

    def test_align(self):
        factors = make_factors()
        aligned, unknown = align_external_factors(factors, ["new", "ç", "007", "d"])
        assert aligned.track_ids.tolist() == ["new", "ç", "007", "d"]
        assert aligned.has_factors.tolist() == [False, True, True, False]
        assert np.array_equal(aligned.item_factors[1:], factors.item_factors[[2, 0, 3]])
        assert not aligned.item_factors[0].any()
        assert unknown == ("b",)
        assert np.array_equal(aligned.playlist_factors, factors.playlist_factors)

    def test_align_with_nothing_in_common_or_ids_twice(self):
        with pytest.raises(
            DataError, match=r"no track in common: the dataset holds \['x'\], the factors \['007'"
        ):
            align_external_factors(make_factors(), ["x"])
        with pytest.raises(DataError, match="dataset: track ids must not repeat; 'b'"):
            align_external_factors(make_factors(), ["b", "b"])
