"""Random windows as tf.data batches, compared with copies, sequential reads, HDF5 patches and tensorflow-io."""

import dataclasses
import functools
import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from benchmarks import page_cache
from benchmarks.comparison import Comparison, Line, NotMeasured, best_seconds, median_seconds
from benchmarks.settings import Settings
from cs_keras import tfio
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.batches import PREFETCHED_BATCHES, TrainingBatches
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.data.shards import BLOCK_FRAMES, blocks_of, read_shard, write_shard
from cs_keras.data.windows import SequenceConfig, Windows, training_windows

TOPIC = "loader"
AUDIO = AudioConfig()
SEQUENCE = SequenceConfig()
BATCH_SIZE = 32
SEED = 0
TRACK_FRAMES = (
    40 * SEQUENCE.frames
)  # four minutes, and whole patches, so that both formats hold the same frames
SHARD_MB = 128
WARM_BATCHES = 512  # 4 GB
TFIO_BATCHES = 128
COLD_SHARE = 0.5  # of an epoch: a whole epoch reads many pages twice, the second time from the cache
READ_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True)
class Files:
    """The same frames in three formats: a float16 dataset, a float32 dataset for tensorflow-io, and patches."""

    dataset: Path
    dataset_float32: Path
    shards: list[Path]
    patches: Path
    n_patches: int


class Patches(keras.utils.PyDataset):
    """Shuffled batches of (513, 256) float32 patches from HDF5 by h5py."""

    def __init__(self, path: Path, targets: np.ndarray) -> None:
        super().__init__()
        self._file = h5py.File(path, "r")
        self._features, self._targets = self._file["features"], targets
        self._order = np.random.default_rng(SEED).permutation(len(self._features))

    def __len__(self) -> int:
        return -(-len(self._order) // BATCH_SIZE)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        return np.stack([self._features[i] for i in chosen]), self._targets[chosen]

    def close(self) -> None:
        self._file.close()


def measure(settings: Settings) -> Iterator[Line]:
    files = write_files(settings.workspace / "loader", settings.loader_mb)
    yield from warm(files, settings.repeats)
    yield from cold(files, settings.repeats)


def write_files(folder: Path, megabytes: int) -> Files:
    frame_bytes = AUDIO.n_bins * 2
    n_tracks = max(2, int(megabytes * 1e6 / frame_bytes / TRACK_FRAMES))
    in_shard = max(1, int(SHARD_MB * 1e6 / frame_bytes / TRACK_FRAMES))
    in_track = TRACK_FRAMES // SEQUENCE.frames
    noise = (
        np.random.default_rng(SEED).random((2 * TRACK_FRAMES, AUDIO.n_bins), np.float32).astype(np.float16)
    )
    folders = {"float16": folder, "float32": folder / "float32"}
    for one in folders.values():
        one.mkdir(parents=True)
    rows, shards, patches = [], [], folder / "patches.h5"
    with h5py.File(patches, "w") as file:
        shape = (n_tracks * in_track, AUDIO.n_bins, SEQUENCE.frames)
        features = file.create_dataset("features", shape, np.float32)
        for first in range(0, n_tracks, in_shard):
            tracks = [
                (f"track-{i}", noise[i % TRACK_FRAMES :][:TRACK_FRAMES])
                for i in range(first, min(first + in_shard, n_tracks))
            ]
            name = f"shards/part-{len(shards):05d}.h5"
            shards.append(folder / name)
            for dtype, one in folders.items():
                write_shard(one / name, tracks, AUDIO, dtype)
            for number, (track_id, frames) in enumerate(tracks):
                rows.append(_row(track_id, name, number * TRACK_FRAMES))
                windows = frames.reshape(in_track, SEQUENCE.frames, AUDIO.n_bins).astype(np.float32)
                at = (first + number) * in_track
                features[at : at + in_track] = windows.transpose(0, 2, 1)
    for dtype, one in folders.items():
        write_dataset(one, DatasetInfo(AUDIO, dtype), make_tracks(rows))
    page_cache.sync([*shards, patches])
    return Files(folder, folders["float32"], shards, patches, shape[0])


def warm(files: Files, repeats: int) -> Iterator[Line]:
    """Measure reads from the page cache: the cost of copying and of the transfer to TensorFlow."""
    dataset = Dataset(files.dataset)
    dataset.verify()  # as after the first epoch
    endless = iter(batches_of(dataset).from_epoch(0))
    windows = epoch_windows(dataset)
    paths, shapes, first, _ = dataset.locate_windows(windows, SEQUENCE.frames)
    maps = {path: _memory_map(path, shape) for path, shape in zip(paths.tolist(), shapes, strict=True)}
    pairs = itertools.cycle(zip(map(maps.get, paths.tolist()), first.tolist(), strict=True))
    buffer = np.empty((BATCH_SIZE, SEQUENCE.frames, AUDIO.n_bins), np.float16)

    def ours() -> float:
        for _ in itertools.islice(endless, WARM_BATCHES // 4):  # skip what was prefetched during other turns
            pass
        start = time.perf_counter()
        for _ in itertools.islice(endless, WARM_BATCHES):
            pass
        return time.perf_counter() - start

    def copies() -> None:
        for _ in range(WARM_BATCHES):
            for slot, (block, start) in zip(buffer, pairs, strict=False):
                slot[:] = block[start : start + SEQUENCE.frames]

    def first_time() -> float:
        unverified = iter(batches_of(Dataset(files.dataset)).from_epoch(0))
        start = time.perf_counter()
        for _ in itertools.islice(unverified, files.n_patches // BATCH_SIZE):
            pass
        return time.perf_counter() - start

    patches = Patches(files.patches, _targets(files.n_patches))
    n_patch_batches = min(len(patches), WARM_BATCHES)

    def peer() -> None:
        for index in range(n_patch_batches):
            patches[index]

    turns = [ours, copies, peer, first_time]
    if tfio.available():
        turns.append(_by_tfio(files))
    seconds = best_seconds(turns, repeats)
    patches.close()
    rate = WARM_BATCHES * BATCH_SIZE / seconds[0]
    copied = WARM_BATCHES * BATCH_SIZE / seconds[1]
    patch_rate = min(n_patch_batches * BATCH_SIZE, files.n_patches) / seconds[2]
    yield Comparison(TOPIC, "warm windows", rate, copied, "windows/s", "NumPy copy", 0.4)
    first_rate = files.n_patches // BATCH_SIZE * BATCH_SIZE / seconds[3]
    yield Comparison(TOPIC, "warm windows", rate, patch_rate, "windows/s", "PyDataset, h5py", 1.0)
    yield Comparison(
        TOPIC, "warm, verified by checksums", first_rate, patch_rate, "windows/s", "PyDataset, h5py"
    )
    if len(turns) > 4:
        tfio_rate = TFIO_BATCHES * BATCH_SIZE / seconds[4]
        yield Comparison(TOPIC, "warm windows", rate, tfio_rate, "windows/s", "tensorflow-io, float32", 1.0)


def _by_tfio(files: Files) -> Callable[[], float]:
    """Return a turn of `--reader tfio`."""
    reading = ReadConfig(reader="tfio")
    endless = iter(batches_of(Dataset(files.dataset_float32, reading)).from_epoch(0))

    def turn() -> float:
        for _ in itertools.islice(endless, TFIO_BATCHES // 4):
            pass
        start = time.perf_counter()
        for _ in itertools.islice(endless, TFIO_BATCHES):
            pass
        return time.perf_counter() - start

    return turn


def _memory_map(path: bytes, shape: np.ndarray) -> np.ndarray:
    offset = read_shard(Path(path.decode())).offset
    return np.memmap(path.decode(), np.float16, "r", offset, tuple(shape.tolist()))


def cold(files: Files, repeats: int) -> Iterator[Line]:
    """Measure reads with an empty page cache: the cost of the disk."""
    _drop_from_cache(files.shards)
    share = page_cache.cached_share(files.shards)
    if share > 0.01:
        reason = f"{share:.0%} of the files stay in the page cache; set --workspace to a folder on a disk"
        yield NotMeasured(TOPIC, "cold windows", reason)
        return
    n_batches = max(1, int(files.n_patches * COLD_SHARE / BATCH_SIZE))
    turns = [
        functools.partial(_cold_windows, files, n_batches),
        functools.partial(_cold_sequential, files),
        functools.partial(_cold_patches, files, n_batches),
        functools.partial(_cold_ranges, files, n_batches),
    ]
    seconds = median_seconds(turns, repeats)
    frame_mb = AUDIO.n_bins * 2 / 1e6
    read_mb = _distinct_frames(files, n_batches) * frame_mb
    sequential_mb = sum(path.stat().st_size for path in files.shards) / 1e6
    yield Comparison(
        TOPIC,
        "cold windows",
        read_mb / seconds[0],
        sequential_mb / seconds[1],
        "MB/s",
        "sequential read",
        0.8,
    )
    yield Comparison(
        TOPIC,
        "cold windows",
        read_mb / seconds[0],
        read_mb / seconds[3],
        "MB/s",
        "raw reads of the same ranges",
    )
    tracks = n_batches * BATCH_SIZE * SEQUENCE.frames / TRACK_FRAMES
    yield Comparison(
        TOPIC,
        "cold windows",
        tracks / seconds[0],
        tracks / seconds[2],
        "tracks/s",
        "PyDataset, h5py",
        2.0,
    )


def _cold_windows(files: Files, n_batches: int) -> float:
    _drop_from_cache(files.shards)
    endless = iter(batches_of(Dataset(files.dataset)).from_epoch(0))  # opens shards on demand
    start = time.perf_counter()
    for _ in itertools.islice(endless, n_batches):
        pass
    return time.perf_counter() - start


def _cold_ranges(files: Files, n_batches: int) -> float:
    """Read the blocks that the windows are in, in the same order and as far ahead, and ignore the bytes."""
    _drop_from_cache(files.shards)
    dataset = Dataset(files.dataset)
    n = n_batches * BATCH_SIZE
    paths, _, first, last = dataset.locate_windows(epoch_windows(dataset).batch(0, n), SEQUENCE.frames)
    descriptors = {path: os.open(path, os.O_RDONLY) for path in set(paths.tolist())}
    offsets = {path: read_shard(Path(path.decode())).offset for path in descriptors}
    ranges = []
    for path, begin, end in zip(paths.tolist(), first.tolist(), last.tolist(), strict=True):
        blocks = blocks_of(begin, end - begin)
        start, stop = (offsets[path] + block * BLOCK_FRAMES * AUDIO.n_bins * 2 for block in blocks)
        ranges.append((descriptors[path], start, stop - start))
    ahead = BATCH_SIZE * PREFETCHED_BATCHES
    buffer = bytearray(max(n_bytes for _, _, n_bytes in ranges))
    began = time.perf_counter()
    for position, (descriptor, start, n_bytes) in enumerate(ranges):
        if position % BATCH_SIZE == 0:
            for later in ranges[position + ahead :][:BATCH_SIZE]:
                os.posix_fadvise(*later, os.POSIX_FADV_WILLNEED)
        os.preadv(descriptor, [memoryview(buffer)[:n_bytes]], start)
    seconds = time.perf_counter() - began
    for descriptor in descriptors.values():
        os.close(descriptor)
    return seconds


def _cold_sequential(files: Files) -> float:
    _drop_from_cache(files.shards)
    buffer = bytearray(READ_BYTES)
    start = time.perf_counter()
    for path in files.shards:
        descriptor = os.open(path, os.O_RDONLY)
        while os.readv(descriptor, [buffer]):
            pass
        os.close(descriptor)
    return time.perf_counter() - start


def _cold_patches(files: Files, n_batches: int) -> float:
    _drop_from_cache([files.patches])
    patches = Patches(files.patches, _targets(files.n_patches))
    start = time.perf_counter()
    for index in range(n_batches):
        patches[index]
    seconds = time.perf_counter() - start
    patches.close()
    return seconds


def _drop_from_cache(paths: list[Path]) -> None:
    """Drop files from the page cache, after releasing the memory maps of earlier turns, which hold pages."""
    keras.backend.clear_session()  # or TensorFlow keeps the functions of its pipelines
    gc.collect()
    page_cache.drop(paths)


def batches_of(dataset: Dataset) -> TrainingBatches:
    rows = np.arange(len(dataset))
    return TrainingBatches(dataset, rows, _targets(len(dataset)), SEQUENCE, BATCH_SIZE, SEED)


def _targets(n: int) -> np.ndarray:
    return np.zeros((n, 200), np.float32)


def epoch_windows(dataset: Dataset) -> Windows:
    """Return the crops of epoch 0 that `TrainingBatches` draws."""
    rng = np.random.default_rng([SEED, 0])
    return training_windows(np.arange(len(dataset)), dataset.n_frames, SEQUENCE, AUDIO, rng)


def _distinct_frames(files: Files, n_batches: int) -> int:
    """Count the distinct frames that the first batches of an epoch read."""
    dataset = Dataset(files.dataset)
    windows = epoch_windows(dataset)
    needed = np.zeros((len(dataset), TRACK_FRAMES), bool)
    for row, start in zip(windows.row[: n_batches * BATCH_SIZE], windows.start, strict=False):
        needed[row, start : start + SEQUENCE.frames] = True
    return int(needed.sum())


def _row(track_id: str, shard: str, first_frame: int) -> dict[str, object]:
    columns = {"fold": 0, "shard": shard, "first_frame": first_frame, "n_frames": TRACK_FRAMES}
    return {"track_id": track_id, "artist": "", "duration_s": 0.0, "genres": [], **columns}
