"""Time and memory of `cs-keras factors` by implicit and by Spark, on interactions of any number.

    python -m benchmarks.factor_engines [--n-interactions 1000000] [--engine implicit|spark] [--n-factors 64]
        [--iterations 5] [--spark-master local[2]] [--spark-option NAME=VALUE]

draws playlists of up to 50 tracks, half of them of the playlist's topic, with a track for every 50 interactions and
a skewed popularity. It writes them as Parquet, makes a dataset without audio of these tracks, and runs the command
in a process of its own: reading, one fit to train tracks, fold-in of the others, and quality; no repeated fits.
Printed are seconds, processor seconds and the peak of memory of its processes, Spark's Java process among them.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.factors.store import load_factors

PER_PLAYLIST, PER_TRACK = 50, 50
N_TOPICS = 100
PLAYLISTS_PER_BLOCK = 20_000
POLL_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-interactions", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=["implicit", "spark"], default="implicit")
    parser.add_argument("--n-factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--spark-master", default="local[2]")
    parser.add_argument("--spark-option", action="append", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n = write_interactions(folder / "interactions.parquet", given.n_interactions)
        write_tracks(folder / "dataset", given.n_interactions // PER_TRACK)
        command = [
            sys.executable,
            "-m",
            "cs_keras",
            "factors",
            folder / "interactions.parquet",
            folder / "dataset",
        ]
        command += ["--n-factors", given.n_factors, "--iterations", given.iterations, "--alpha", 10]
        command += ["--items", "dataset", "--targets", "in-sample", "--no-ceiling", "--engine", given.engine]
        if given.engine == "spark":
            command += ["--spark-master", given.spark_master]
            command += [part for option in given.spark_option for part in ("--spark-option", option)]
        seconds, used, peak = run_measured(list(map(str, command)))
        quality = load_factors(folder / "dataset" / "factors" / "wmf.npz").quality
    print(
        f"{given.engine}: {n:,} interactions, {given.n_factors} factors, {given.iterations} iterations: "
        f"{seconds:.0f} s, {used:.0f} s of processor time, {peak / 1e9:.1f} GB at most, "
        f"explained preference {quality['explained_preference']:.3f}"
    )


def write_interactions(path: Path, n_interactions: int) -> int:
    """Write playlists block by block and return the number of pairs."""
    n_playlists, n_tracks = n_interactions // PER_PLAYLIST, n_interactions // PER_TRACK
    rng = np.random.default_rng(0)
    schema = pa.schema([("playlist_id", pa.int32()), ("track_id", pa.int32())])
    n_pairs = 0
    with pq.ParquetWriter(path, schema) as file:
        for first in range(0, n_playlists, PLAYLISTS_PER_BLOCK):
            playlists = np.arange(first, min(first + PLAYLISTS_PER_BLOCK, n_playlists))
            # Uniform to the third power: density falls as the rank to the power -2/3.
            tracks = (n_tracks * rng.random((len(playlists), PER_PLAYLIST)) ** 3).astype(np.int64)
            topics = rng.integers(0, N_TOPICS, (len(playlists), 1))
            half = PER_PLAYLIST // 2
            tracks[:, :half] = np.minimum(tracks[:, :half] // N_TOPICS * N_TOPICS + topics, n_tracks - 1)
            pairs = np.unique(playlists.repeat(PER_PLAYLIST) * n_tracks + tracks.ravel())
            columns = [pa.array(pairs // n_tracks, pa.int32()), pa.array(pairs % n_tracks, pa.int32())]
            file.write_table(pa.table(columns, schema=schema))
            n_pairs += len(pairs)
    return n_pairs


def write_tracks(folder: Path, n_tracks: int) -> None:
    row = {
        "title": "",
        "album": "",
        "isrc": "",
        "genres": [],
        "duration_s": None,
        "shard": "",
        "first_frame": 0,
    }
    tracks = (
        {"track_id": str(i), "artist": str(i), "fold": i % 10, "n_frames": 0, **row} for i in range(n_tracks)
    )
    write_dataset(folder, DatasetInfo(), make_tracks(list(tracks)))


def run_measured(command: list[str]) -> tuple[float, float, int]:
    """Run a command; return seconds, processor seconds and the peak of memory in bytes, of all of its processes."""
    started, peak = time.monotonic(), 0
    used: dict[int, float] = {}
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            seconds, resident = measure_session(process.pid)
            used |= seconds
            peak = max(peak, resident)
            time.sleep(POLL_S)
    finally:
        if process.poll() is None:  # interrupted, which a session of its own does not notice
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        sys.exit(f"the command failed with status {process.returncode}")
    return time.monotonic() - started, sum(used.values()), peak


def measure_session(session: int) -> tuple[dict[int, float], int]:
    """Return processor seconds by process of a session, and their memory, in which shared pages count once."""
    seconds, total = {}, 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                seconds[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):  # it ended meanwhile
            continue
    return seconds, total


if __name__ == "__main__":
    main()
