"""Frames read by position and by range are equal and verified."""

import os
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from upath import UPath

from cs_keras.data import reader as reader_module
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import FrameRange, FrameReader, ReadConfig, coalesce
from cs_keras.data.shards import BLOCK_FRAMES, read_shard
from cs_keras.data.windows import Windows
from cs_keras.errors import StorageError, UnreachableError
from cs_keras.storage import remote
from cs_keras.storage.cache import CacheConfig
from cs_keras.storage.location import locate
from tests.data.small import AUDIO, magnitudes, read_block, write_small

LENGTHS = [90, 33, 64, 1, 100, 75]
SHARD = "shards/fold-00/part-00001.h5"  # of tracks 2 and 3


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    """The same dataset on a disk and behind a URL."""
    folder = tmp_path if request.param == "local" else locate(f"memory://{tmp_path.name}/data")
    yield write_small(folder, LENGTHS)
    if request.param == "memory":
        folder.fs.store.clear()


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A dataset behind a URL, and the ranges that are requested of it."""
    folder = locate(f"memory://{tmp_path.name}/data")
    write_small(folder, LENGTHS)
    requested, once = [], remote.call_once

    def record(location, operation, *arguments, **options):
        if operation == "cat_file" and location.name.endswith(".h5"):
            requested.append((location.name, options["start"], options["end"]))
        return once(location, operation, *arguments, **options)

    monkeypatch.setattr(remote, "call_once", record)
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.0)
    yield types.SimpleNamespace(folder=folder, requested=requested)
    folder.fs.store.clear()


def alter(path, frame, n_bytes=1):
    """Change bytes of a shard's frame in place."""
    shard = read_shard(path)
    content = bytearray(path.read_bytes())
    at = shard.offset + frame * AUDIO.n_bins * 2
    content[at : at + n_bytes] = bytes(b ^ 1 for b in content[at : at + n_bytes])
    path.write_bytes(bytes(content))


def random_windows(n, frames, seed=0):
    rng = np.random.default_rng(seed)
    row = rng.integers(0, len(LENGTHS), n)
    start = [rng.integers(0, max(1, LENGTHS[r] - frames + 1)) for r in row]
    return Windows(row, np.array(start))


def expected(windows, frames):
    out = np.zeros((len(windows), frames, AUDIO.n_bins), np.float16)
    for window, row, start in zip(out, windows.row, windows.start, strict=True):
        n = min(frames, LENGTHS[row] - start)
        window[:n] = magnitudes(row, LENGTHS[row])[start : start + n]
    return out


@pytest.mark.parametrize("frames", [1, 7, 32, 70])
def test_windows_are_what_was_written(folder, frames):
    dataset = Dataset(folder)
    for seed in range(3):  # the second time around blocks are known to be right
        windows = random_windows(40, frames, seed)
        assert np.array_equal(dataset.read_windows(windows, frames), expected(windows, frames))


def test_whole_tracks_are_what_was_written(folder):
    dataset = Dataset(folder)
    for row, n_frames in enumerate(LENGTHS):
        assert np.array_equal(dataset.read_track(row), magnitudes(row, n_frames))
    dataset.verify()


@pytest.mark.parametrize("frame", [0, 63, 64])
def test_altered_frames_are_reported_with_their_tracks(folder, frame, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.0)
    alter(folder / SHARD, frame)
    dataset = Dataset(folder)
    windows = Windows(np.array([2, 3]), np.array([0, 0]))
    inside = {0: "Track 't2'", 63: "Track 't2'", 64: "Track 't3'"}[frame]
    with pytest.raises(StorageError, match=rf"{inside} in .*part-00001\.h5 has changed since"):
        dataset.read_windows(windows, 64)
    assert isinstance(dataset.error, StorageError)
    with pytest.raises(StorageError, match="has changed since"):
        Dataset(folder).verify()
    assert len(dataset.read_track(0)) == 90  # the others are read all the same


def test_a_block_of_two_tracks_names_both(folder, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.0)
    alter(folder / "shards/fold-00/part-00000.h5", 88)
    with pytest.raises(StorageError, match="Tracks 't0' and 't1' in .* have changed since"):
        Dataset(folder).read_track(0)


def test_frames_are_compared_once_on_a_disk_and_every_time_in_a_bucket(folder, monkeypatch):
    compared = []
    first_altered = reader_module.first_altered

    def record(shard, block, frames):
        compared.append(block)
        return first_altered(shard, block, frames)

    monkeypatch.setattr(reader_module, "first_altered", record)
    dataset = Dataset(folder)
    for _ in range(3):
        dataset.read_track(0)
    assert len(compared) == (3 if dataset.is_remote else 1)


def test_a_shard_cut_while_it_is_read_is_reported(tmp_path):
    dataset = Dataset(write_small(tmp_path, LENGTHS))
    dataset.read_track(2)
    with open(tmp_path / SHARD, "r+b") as file:
        file.truncate(read_shard(tmp_path / SHARD).offset + 10)
    with pytest.raises(StorageError, match=r"part-00001\.h5 has become shorter"):
        dataset.read_track(2)


def test_many_shards_are_read_with_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("cs_keras.storage.open_files.MAX_OPEN", 4)
    lengths = [40] * 40  # 20 shards
    dataset = Dataset(write_small(tmp_path, lengths))
    before = len(os.listdir("/proc/self/fd"))
    for row in range(40):
        assert dataset.read_track(row)[0, 0] == 100 * row
    assert len(os.listdir("/proc/self/fd")) <= before + 5


def test_only_the_blocks_of_a_window_are_fetched(bucket):
    dataset = Dataset(bucket.folder)
    dataset.read_windows(Windows(np.array([4]), np.array([40])), 10)
    header, window = bucket.requested
    assert (header[0], window[0]) == ("part-00002.h5",) * 2
    offset = read_shard(bucket.folder / "shards/fold-00/part-00002.h5").offset
    frame = AUDIO.n_bins * 2
    assert window[1:] == (offset + 32 * frame, offset + 64 * frame)


def test_neighbours_are_fetched_together_and_others_concurrently(bucket, monkeypatch):
    monkeypatch.setattr(reader_module, "COALESCED_BLOCKS", 0)
    dataset = Dataset(bucket.folder)
    dataset.read_windows(Windows(np.array([0, 2, 4]), np.zeros(3, np.int64)), 1)  # learns the headers
    bucket.requested.clear()
    windows = Windows(np.array([0, 4, 0, 0, 0]), np.array([0, 3, 70, 40, 2]))
    assert np.array_equal(dataset.read_windows(windows, 20), expected(windows, 20))
    assert sorted(name for name, *_ in bucket.requested) == ["part-00000.h5", "part-00002.h5"]


def test_a_long_range_is_fetched_in_parts(bucket, monkeypatch):
    monkeypatch.setattr(reader_module, "REQUEST_BLOCKS", 1)
    dataset = Dataset(bucket.folder)
    assert np.array_equal(dataset.read_track(4), magnitudes(4, 100))
    assert len(bucket.requested) == 1 + 4


def test_cached_frames_are_not_fetched_again_by_any_process(bucket, tmp_path):
    reading = ReadConfig(cache=CacheConfig(tmp_path / "cache"))
    windows = random_windows(40, 16)
    for n_requests in ("some", "none"):
        dataset = Dataset(bucket.folder, reading)
        for row in (0, 2, 4):
            dataset.read_windows(Windows(np.array([row]), np.array([0])), 1)
        bucket.requested.clear()
        assert np.array_equal(dataset.read_windows(windows, 16), expected(windows, 16))
        assert bool(bucket.requested) == (n_requests == "some")


def test_altered_cached_frames_are_fetched_again(bucket, tmp_path):
    reading = ReadConfig(cache=CacheConfig(tmp_path / "cache"))
    Dataset(bucket.folder, reading).read_track(0)
    for path in (tmp_path / "cache").glob("*.frames"):
        path.write_bytes(b"\1" * path.stat().st_size)
    assert np.array_equal(Dataset(bucket.folder, reading).read_track(0), magnitudes(0, 90))


def test_another_shard_of_the_same_name_is_not_taken_from_the_cache(bucket, tmp_path):
    reading = ReadConfig(cache=CacheConfig(tmp_path / "cache"))
    Dataset(bucket.folder, reading).read_track(1)
    write_small(bucket.folder, [90, 40, *LENGTHS[2:]])
    assert np.array_equal(Dataset(bucket.folder, reading).read_track(1), magnitudes(1, 40))


def test_an_altered_response_is_requested_again(bucket, monkeypatch):
    dataset = Dataset(bucket.folder)
    dataset.read_windows(Windows(np.array([0]), np.array([0])), 1)
    spoilt, once = [], remote.call_once

    def spoil(location, operation, **options):
        content = once(location, operation, **options)
        if not spoilt:
            spoilt.append(location)
            content = content[:100] + bytes([content[100] ^ 8]) + content[101:]
        return content

    monkeypatch.setattr(remote, "call_once", spoil)
    assert np.array_equal(dataset.read_track(0), magnitudes(0, 90))
    assert spoilt


def test_a_lost_shard_is_reported(bucket):
    dataset = Dataset(bucket.folder)
    dataset.read_track(0)
    UPath(bucket.folder / "shards/fold-00/part-00000.h5").unlink()
    with pytest.raises(StorageError, match="There is no shard"):
        dataset.read_track(0)


def test_ranges_are_grouped_by_their_gaps(tmp_path):
    write_small(tmp_path, [2000])
    shard = FrameReader(ReadConfig()).open(read_shard(tmp_path / "shards/fold-00/part-00000.h5"))

    def frame_range(first, n=10):
        return FrameRange(shard, first, np.empty((n, AUDIO.n_bins), np.float16))

    far = BLOCK_FRAMES * (2 + reader_module.COALESCED_BLOCKS)
    groups = coalesce(
        [frame_range(far), frame_range(0), frame_range(5), frame_range(far + 40), frame_range(7, 0)]
    )
    assert [[s.first for s in group] for group in groups] == [[0, 5], [far, far + 40]]


def test_unverified_frames_are_as_stored(folder, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.0)
    alter(folder / SHARD, 3)
    shard = read_shard(folder / SHARD)
    block = read_block(shard)
    assert block[3, 0] != magnitudes(2, 64)[3, 0]
    assert np.array_equal(block[4:64], magnitudes(2, 64)[4:])


def test_a_header_is_read_once_by_any_number_of_threads(bucket, monkeypatch):
    dataset, read = Dataset(bucket.folder), []

    def slow(path, n_bytes=None):
        read.append(path.name)
        time.sleep(0.02)
        return read_shard(path, n_bytes)

    monkeypatch.setattr("cs_keras.data.dataset.read_shard", slow)
    with ThreadPoolExecutor(8) as pool:
        tracks = list(pool.map(dataset.read_track, [0, 1, 2, 3, 4, 5] * 3))
    assert sorted(read) == ["part-00000.h5", "part-00001.h5", "part-00002.h5"]
    assert all(np.array_equal(track, magnitudes(i % 6, LENGTHS[i % 6])) for i, track in enumerate(tracks))


def test_a_header_that_could_not_be_read_is_read_again(bucket, monkeypatch):
    dataset = Dataset(bucket.folder)

    def refuse(path, n_bytes=None):
        raise UnreachableError("not now")

    with monkeypatch.context() as patch:
        patch.setattr("cs_keras.data.dataset.read_shard", refuse)
        with pytest.raises(UnreachableError, match="not now"):
            dataset.read_track(0)
    assert len(dataset.read_track(0)) == 90


def test_unverified_frames_of_altered_responses_are_requested_again(bucket, monkeypatch):
    shard, spoilt, once = read_shard(bucket.folder / SHARD), [], remote.call_once

    def spoil(location, operation, **options):
        content = once(location, operation, **options)
        if not spoilt:
            spoilt.append(location)
            content = bytes([content[0] ^ 8]) + content[1:]
        return content

    monkeypatch.setattr(remote, "call_once", spoil)
    assert np.array_equal(read_block(shard)[:64], magnitudes(2, 64))
    assert spoilt
