import errno
import hashlib
import json
import math
import os
import re
import resource
import threading
import time

import numpy as np
import pytest

from cs_keras import runs
from cs_keras.config import load_toml
from cs_keras.errors import StorageError
from cs_keras.storage.cache import Cache, CacheConfig
from cs_keras.storage.location import read_bytes

CONFIG = {"model": {"units": [1, 2]}, "seed": 0}


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_written_has_its_name_only_when_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "file.bin"
    with runs.atomic_write(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), runs.atomic_write(path, "w") as file:
        file.write("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_by_the_keyboard_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), runs.atomic_write(path, "w") as file:
        file.write("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(StorageError, match=rf"^Cannot write {re.escape(str(path))}: the disk is full\.$"):
        runs.write_json(path, {"a": 1})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_real_full_device_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    with pytest.raises(StorageError, match="the disk is full"), runs.atomic_write(path):
        with open("/dev/full", "wb") as full:
            full.write(b"x")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Cannot write .*file/a\.json: File exists"):
        runs.write_json(tmp_path / "file" / "a.json", {})


def test_json_keeps_order_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    runs.write_json(path, {"b": 1, "a": ["é", None]})
    assert list(runs.read_json(path)) == ["b", "a"]
    assert runs.read_json(path) == {"b": 1, "a": ["é", None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.write_json(path, {"a": math.nan})
    assert runs.read_json(path) == {"b": 1, "a": ["é", None]}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe"])
def test_json_that_is_not_whole_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"a\.json is not valid JSON"):
        runs.read_json(tmp_path / "a.json")


def test_json_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"Cannot read .*a\.json: there is no such file"):
        runs.read_json(tmp_path / "a.json")


class TestNpz:
    def test_what_is_written_is_read(self, tmp_path):
        arrays = {"ids": np.array(["ç", "b"]), "x": np.eye(2, dtype=np.float16), "none": np.zeros((0, 3))}
        runs.write_npz(tmp_path / "a.npz", **arrays)
        read = runs.read_npz(tmp_path / "a.npz", *arrays)
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(read[name], array) and read[name].dtype == array.dtype

    def test_missing_arrays_are_named_with_those_there_are(self, tmp_path):
        runs.write_npz(tmp_path / "a.npz", x=np.zeros(1), y=np.zeros(1))
        with pytest.raises(StorageError, match=r"a\.npz lacks ids, z; it holds x, y"):
            runs.read_npz(tmp_path / "a.npz", "ids", "x", "z")

    def test_objects_are_neither_written_nor_read(self, tmp_path):
        objects = np.array([None, "a"], dtype=object)
        with pytest.raises(TypeError, match="pickled"):
            runs.write_npz(tmp_path / "a.npz", x=objects)
        np.savez(tmp_path / "b.npz", x=objects)
        with pytest.raises(StorageError, match=r"b\.npz is not an npz file, or damaged"):
            runs.read_npz(tmp_path / "b.npz", "x")

    def test_every_truncation_and_every_flipped_byte_gives_the_one_error_or_the_array(self, tmp_path):
        path = tmp_path / "a.npz"
        runs.write_npz(path, x=np.arange(20))
        whole = path.read_bytes()
        cut = [whole[:n] for n in range(len(whole))]
        flipped = [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(len(whole))]
        for content in cut + flipped:
            path.write_bytes(content)
            try:
                x = runs.read_npz(path, "x")["x"]
            except StorageError as error:
                assert "a.npz" in str(error)
            else:  # a byte that nothing depends on, such as the time stamp
                assert np.array_equal(x, np.arange(20))

    def test_a_lone_array_is_not_an_npz(self, tmp_path):
        with open(tmp_path / "a.npz", "wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(StorageError, match=r"a\.npz is not an npz file, or damaged"):
            runs.read_npz(tmp_path / "a.npz", "x")

    def test_a_file_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(StorageError, match=r"There is no file .*a\.npz"):
            runs.read_npz(tmp_path / "a.npz", "x")


class TestDigest:
    def test_it_is_the_sha_256_of_the_shortest_sorted_json(self):
        expected = hashlib.sha256(b'{"a":[1,2.5],"b":null}').hexdigest()
        assert runs.digest({"b": None, "a": [1, 2.5]}) == expected
        assert runs.digest({"a": (1, 2.5), "b": None}) == expected

    def test_it_depends_on_values_and_on_the_order_of_lists(self):
        values = [{"a": 1}, {"a": 2}, {"a": 1.0}, {"a": "1"}, {"b": 1}, {"a": [1, 2]}, {"a": [2, 1]}, None]
        assert len(set(map(runs.digest, values))) == len(values)


class TestRunFolder:
    def test_a_new_run_is_partial_and_holds_what_it_was_started_with(self, tmp_path):
        folder = runs.open_run(tmp_path / "runs", "cnn", CONFIG, "data")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d-cnn-[0-9a-f]{10}\.partial", folder.name)
        assert json.loads((folder / "config.json").read_text()) == CONFIG | {"data_digest": "data"}
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["packages"]["numpy"] == np.__version__
        assert not runs.is_done(folder)

    def test_the_same_command_finds_a_begun_run_begun_on_another_day(self, tmp_path):
        folder = runs.open_run(tmp_path, "cnn", CONFIG, "data")
        earlier = folder.rename(tmp_path / f"2001-01-01{folder.name[10:]}")
        (earlier / "work").touch()
        assert runs.open_run(tmp_path, "cnn", CONFIG, "data") == earlier
        assert (earlier / "work").exists()

    def test_a_finished_run_is_found_before_a_begun_one(self, tmp_path):
        final = runs.finish_run(runs.open_run(tmp_path, "cnn", CONFIG, "data"))
        (tmp_path / f"{final.name}.partial").mkdir()
        assert runs.open_run(tmp_path, "cnn", CONFIG, "data") == final
        assert runs.is_done(final)

    def test_other_settings_data_or_model_are_another_run(self, tmp_path):
        folders = {
            runs.open_run(tmp_path, "cnn", CONFIG, "data"),
            runs.open_run(tmp_path, "cnn", CONFIG | {"seed": 1}, "data"),
            runs.open_run(tmp_path, "cnn", CONFIG, "other data"),
            runs.open_run(tmp_path, "cnn-bn", CONFIG, "data"),
        }
        assert len(folders) == 4

    def test_finishing_writes_done_and_takes_the_final_name(self, tmp_path):
        folder = runs.open_run(tmp_path, "cnn", CONFIG, "data")
        final = runs.finish_run(folder)
        assert final.name == folder.name.removesuffix(".partial")
        assert not folder.exists()
        assert {path.name for path in final.iterdir()} == {"DONE", "config.json", "environment.json"}

    def test_a_run_killed_between_done_and_its_final_name_is_not_done_but_can_be_finished(self, tmp_path):
        folder = runs.open_run(tmp_path, "cnn", CONFIG, "data")
        (folder / "DONE").touch()
        assert not runs.is_done(folder)
        assert runs.is_done(runs.finish_run(folder))

    def test_a_file_changed_after_the_run_was_finished_is_named(self, tmp_path):
        folder = runs.open_run(tmp_path, "cnn", CONFIG, "data")
        runs.write_json(folder / "branches" / "signature.json", {"offset": [0.5]})
        final = runs.finish_run(folder)
        runs.verify_run(final)
        changed = final / "branches" / "signature.json"
        changed.write_text(changed.read_text().replace("5", "6"))
        runs.verify_run(final, skip=["signature.json"])
        with pytest.raises(StorageError, match=r"branches/signature\.json was changed or damaged"):
            runs.verify_run(final)

    def test_changed_checksums_are_refused_and_runs_of_earlier_releases_pass(self, tmp_path):
        final = runs.finish_run(runs.open_run(tmp_path, "cnn", CONFIG, "data"))
        content = (final / "DONE").read_text()
        for damaged in (content.replace("config", "konfig"), content[:40], "[" * 10**5, "{}"):
            (final / "DONE").write_text(damaged)
            with pytest.raises(StorageError, match="DONE is damaged"):
                runs.verify_run(final)
        (final / "DONE").write_text("2026-11-29T05:48:30+00:00\n")
        runs.verify_run(final)

    def test_a_final_name_without_done_is_not_done(self, tmp_path):
        assert not runs.is_done(tmp_path)

    def test_a_run_killed_before_its_settings_were_written_gets_them(self, tmp_path):
        folder = runs.open_run(tmp_path, "cnn", CONFIG, "data")
        (folder / "config.json").unlink()
        assert runs.open_run(tmp_path, "cnn", CONFIG, "data") == folder
        assert (folder / "config.json").exists()

    def test_a_full_disk_while_finishing_leaves_the_run_begun(self, tmp_path, monkeypatch):
        folder = runs.open_run(tmp_path, "cnn", CONFIG, "data")
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", no_space)
            with pytest.raises(StorageError, match="the disk is full"):
                runs.finish_run(folder)
        assert runs.open_run(tmp_path, "cnn", CONFIG, "data") == folder
        assert not runs.is_done(folder)

    def test_runs_below_a_file_are_one_sentence(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="Cannot create the run folder"):
            runs.open_run(tmp_path / "file", "cnn", CONFIG, "data")


def test_a_run_folder_belongs_to_one_process_at_a_time(tmp_path):
    with runs.locked(tmp_path):
        with pytest.raises(StorageError, match="Another process is working on"), runs.locked(tmp_path):
            pass
    with runs.locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_only_temporaries_of_ours_are_removed(tmp_path):
    (tmp_path / "a").mkdir()
    for name in (".x.npz.0123abcd.tmp", ".notes.tmp", "x.0123abcd.tmp"):
        (tmp_path / "a" / name).touch()
    runs.remove_temporaries(tmp_path)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {".notes.tmp", "x.0123abcd.tmp"}


def test_who_waits_for_a_lock_gets_it_alone_when_it_is_given_back(tmp_path):
    inside, most, waited = [], [], []

    def work():
        for _ in range(20):
            with runs.locked(tmp_path, lambda: waited.append(1)):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (80, 1) and waited
    assert list(tmp_path.iterdir()) == []


def test_links_and_pipes_are_neither_followed_nor_emptied(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("content")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".lock").symlink_to(precious)
    with pytest.raises(StorageError, match="symbolic link, which is not followed"), runs.locked(folder):
        pass
    with pytest.raises(StorageError, match="symbolic link"):
        Cache(CacheConfig(folder))
    (folder / ".lock").unlink()
    os.mkfifo(folder / ".lock")
    with pytest.raises(StorageError, match="not a regular file"), runs.locked(folder):
        pass
    (folder / "file.json").symlink_to(precious)
    runs.write_json(folder / "file.json", {})
    assert precious.read_text() == "content"
    assert not (folder / "file.json").is_symlink()
    os.mkfifo(folder / "pipe")
    for read in (runs.read_json, runs.read_npz, load_toml, read_bytes):
        with pytest.raises(StorageError, match="not a regular file"):
            read(folder / "pipe")


def test_a_disk_that_fills_while_arrays_are_written_is_one_sentence(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match=r"Cannot write .*a\.npz"):
            runs.write_npz(tmp_path / "a.npz", a=np.ones(10_000), b=np.ones(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
