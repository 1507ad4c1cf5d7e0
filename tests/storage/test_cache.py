import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cs_keras.errors import ConfigError, StorageError
from cs_keras.storage import cache as cache_module
from cs_keras.storage.cache import Cache, CacheConfig, parse_size

MB = 10**6


def block(value, n_bytes=MB):
    return memoryview(np.full(n_bytes, value, np.uint8))


def read(kept, offset=0, n_bytes=MB):
    buffer = bytearray(n_bytes)
    return bytes(buffer) if kept.read(offset, memoryview(buffer)) else None


def used(folder):
    return sum(path.stat().st_blocks * 512 for path in folder.glob("*.frames"))


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("200GB", 200 * 10**9), ("1.5 tb", 15 * 10**11), ("1000000", 10**6), ("64M", 64 * MB), ("3KiB", 3000)],
)
def test_sizes(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "many", "1PB", "1e9"])
def test_an_invalid_size_is_an_error(text):
    with pytest.raises(ConfigError, match="such as 200GB"):
        parse_size(text)


def test_cached_blocks_are_read_and_the_rest_are_holes(tmp_path):
    kept = Cache(CacheConfig(tmp_path)).open("a")
    assert read(kept) is None
    kept.write(2 * MB, block(7))
    assert read(kept, 2 * MB) == bytes(block(7))
    assert read(kept) == bytes(MB)  # a hole, which no checksum but that of zeros fits
    assert used(tmp_path) < 1.1 * MB
    assert read(Cache(CacheConfig(tmp_path)).open("a"), 2 * MB) == bytes(block(7))
    assert read(Cache(CacheConfig(tmp_path)).open("b"), 2 * MB) is None


def test_files_unused_for_longest_are_evicted_first(tmp_path):
    cache = Cache(CacheConfig(tmp_path, 10 * MB))
    for number in range(10):
        cache.open(str(number)).write(0, block(number))
        path = max(tmp_path.glob("*.frames"), key=lambda p: p.stat().st_mtime_ns)
        os.utime(path, (number, number))
    for number in (2, 5):  # used again
        assert read(cache.open(str(number))) == bytes(block(number))
    cache.open("new").write(0, block(99))
    assert used(tmp_path) <= 10 * MB
    there = {number for number in range(10) if read(cache.open(str(number)))}
    assert {2, 5} <= there and 0 not in there and 1 not in there
    assert read(cache.open("new")) == bytes(block(99))


def test_a_cache_that_is_too_large_is_brought_to_its_limit_when_opened(tmp_path):
    cache = Cache(CacheConfig(tmp_path, 100 * MB))
    for number in range(8):
        cache.open(str(number)).write(0, block(number))
    Cache(CacheConfig(tmp_path, 4 * MB))
    assert used(tmp_path) <= 4 * MB


def test_open_evicted_files_stay_readable_and_are_created_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "USE_INTERVAL_S", 0.1)
    kept = Cache(CacheConfig(tmp_path)).open("a")
    kept.write(0, block(3))
    assert read(kept) == bytes(block(3))
    for path in tmp_path.glob("*.frames"):
        path.unlink()
    assert read(kept) == bytes(block(3))
    time.sleep(0.15)
    assert read(kept) is None
    kept.write(0, block(4))
    assert len(list(tmp_path.glob("*.frames"))) == 1


def test_threads_read_while_files_are_closed_and_evicted(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "USE_INTERVAL_S", 0.0)
    monkeypatch.setattr("cs_keras.storage.open_files.MAX_OPEN", 3)
    cache, wrong = Cache(CacheConfig(tmp_path, 3 * MB)), []

    def work(seed):
        rng = np.random.default_rng(seed)
        for number in rng.integers(0, 12, 150).tolist():
            kept = cache.open(str(number))
            content = read(kept, n_bytes=MB // 4)
            if content is None or not any(content):
                kept.write(0, block(number + 1, MB // 4))
            elif set(content) != {number + 1}:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert used(tmp_path) <= 3.5 * MB


@pytest.mark.medium
def test_processes_share_a_cache(tmp_path):
    code = """
import sys, numpy as np
from pathlib import Path
from cs_keras.storage.cache import Cache, CacheConfig
cache = Cache(CacheConfig(Path(sys.argv[1]), 20 * 10**6))
rng = np.random.default_rng(int(sys.argv[2]))
for number in rng.integers(0, 40, 400).tolist():
    kept = cache.open(str(number))
    buffer = bytearray(10**6)
    if kept.read(0, memoryview(buffer)) and any(buffer):
        assert set(buffer) <= {0, number + 1}, number
    else:
        kept.write(0, memoryview(np.full(10**6, number + 1, np.uint8)))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert used(tmp_path) <= 22 * MB


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot make cache folder"):
        Cache(CacheConfig(tmp_path / "file" / "cache"))


def test_reading_works_without_a_writable_cache(tmp_path, monkeypatch):
    kept = Cache(CacheConfig(tmp_path)).open("a")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    kept.write(0, block(1))
    assert read(kept) is None


def test_a_descriptor_closed_during_a_write_is_not_reused(tmp_path, monkeypatch):
    """The descriptor of a closed file is reused by the next one, so writing to it would write into that."""
    cache, other, pwrite = Cache(CacheConfig(tmp_path / "cache")), tmp_path / "other", os.pwrite
    kept = cache.open("a")

    def let_go_first(number, content, offset):
        cache._files._open.clear()
        with open(other, "wb") as file:
            file.write(b"mine")
            file.flush()
            return pwrite(number, content, offset)

    monkeypatch.setattr(os, "pwrite", let_go_first)
    kept.write(0, block(7))
    assert other.read_bytes() == b"mine"
    assert read(kept) == bytes(block(7))


def test_evicted_files_do_not_stay_open(tmp_path):
    cache = Cache(CacheConfig(tmp_path, 5 * MB))
    for number in range(30):
        cache.open(str(number)).write(0, block(number))
    opened = (
        os.stat(f"/proc/self/fd/{n}")
        for n in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{n}")
    )
    assert sum(status.st_nlink == 0 and status.st_size >= MB for status in opened) <= 1
