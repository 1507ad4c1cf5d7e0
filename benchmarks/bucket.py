"""Random windows from a bucket, compared with raw concurrent requests to the same server, and from the cache."""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp

from benchmarks.comparison import Comparison, Line, median_seconds
from benchmarks.loader import AUDIO, BATCH_SIZE, SEQUENCE, Files, batches_of, epoch_windows, write_files
from benchmarks.settings import Settings
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.shards import read_shard
from cs_keras.data.windows import Windows
from cs_keras.storage.cache import CacheConfig
from cs_keras.storage.location import Location, locate

TOPIC = "bucket"
N_BATCHES = 48  # 400 MB
IN_FLIGHT = 32
FRAME_BYTES = AUDIO.n_bins * 2


def measure(settings: Settings) -> Iterator[Line]:
    files = write_files(settings.workspace / "bucket" / "data", min(settings.loader_mb, 512))
    with _server(files.dataset.parent) as port:
        location = locate("gs://bench/data")
        ranges = _ranges(files)
        cached = ReadConfig(cache=CacheConfig(settings.workspace / "cache"))

        def from_cache() -> float:
            return _windows(location, cached)

        from_cache()
        turns = (
            lambda: _windows(location, ReadConfig()),
            lambda: asyncio.run(_raw(port, ranges)),
            from_cache,
            lambda: _windows(files.dataset, ReadConfig()),
        )
        seconds = median_seconds(turns, settings.repeats)
    shutil.rmtree(files.dataset.parent)
    n_windows = N_BATCHES * BATCH_SIZE
    rates = [n_windows / s for s in seconds]
    name = "raw range requests, unverified"
    yield Comparison(TOPIC, "windows from gs://", rates[0], rates[1], "windows/s", name, 0.8)
    yield Comparison(TOPIC, "windows from the cache", rates[2], rates[3], "windows/s", "local, first read")


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.range_server", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        port = int(process.stdout.readline())
        before = os.environ.get("STORAGE_EMULATOR_HOST")
        os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"
        try:
            yield port
        finally:
            process.stdin.close()
            del os.environ["STORAGE_EMULATOR_HOST"]
            if before:
                os.environ["STORAGE_EMULATOR_HOST"] = before


def _windows(location: Location, reading: ReadConfig) -> float:
    """Return the seconds for an epoch's first batches, after the headers have been read."""
    dataset = Dataset(location, reading)
    dataset.locate_windows(_chosen(dataset), SEQUENCE.frames)
    endless = iter(batches_of(dataset).from_epoch(0))
    start = time.perf_counter()
    for _ in itertools.islice(endless, N_BATCHES):
        pass
    return time.perf_counter() - start


def _chosen(dataset: Dataset) -> Windows:
    windows = epoch_windows(dataset)
    n = N_BATCHES * BATCH_SIZE
    return Windows(windows.row[:n], windows.start[:n])


def _ranges(files: Files) -> list[tuple[str, int, int]]:
    """Return the object, first byte and last byte of each of the same windows."""
    dataset, ranges = Dataset(files.dataset), []
    paths, _, first, last = dataset.locate_windows(_chosen(dataset), SEQUENCE.frames)
    offsets = {path: read_shard(Path(path.decode())).offset for path in set(paths.tolist())}
    for path, a, b in zip(paths.tolist(), first.tolist(), last.tolist(), strict=True):
        name = Path(path.decode()).relative_to(files.dataset.parent).as_posix()
        start = offsets[path]
        ranges.append((name, start + a * FRAME_BYTES, start + b * FRAME_BYTES - 1))
    return ranges


async def _raw(port: int, ranges: list[tuple[str, int, int]]) -> float:
    """Fetch ranges with as many concurrent requests as our reader, and ignore the bytes; return the seconds."""
    limit = asyncio.Semaphore(IN_FLIGHT)

    async with aiohttp.ClientSession() as session:

        async def fetch(name: str, start: int, last: int) -> None:
            url = f"http://127.0.0.1:{port}/download/storage/v1/b/bench/o/{quote(name, safe='')}?alt=media"
            async with limit, session.get(url, headers={"Range": f"bytes={start}-{last}"}) as answer:
                assert len(await answer.read()) == last - start + 1

        start = time.perf_counter()
        await asyncio.gather(*(fetch(*r) for r in ranges))
        return time.perf_counter() - start
