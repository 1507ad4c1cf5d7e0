"""Reading and training on a dataset of the reference thesis's size, in sparse files.

    python -m benchmarks.scale [--n-tracks 53202] [--batches 20000]

Shards are sparse files: headers, checksums and lengths are real, but magnitudes take no space. The benchmark reads
random windows for the given number of batches. Then it compares the peak memory of a process that trains on this
dataset with that of one that trains on the demo dataset.
"""

import argparse
import collections
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from isal.isal_zlib import crc32

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.folds import N_FOLDS
from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.data.shards import BLOCK_FRAMES, write_header

AUDIO = AudioConfig()
FRAME_BYTES = AUDIO.n_bins * 2
PATCHES = 2_235_781 / 53_202  # mean per track in the thesis's dataset
PATCH_FRAMES = 256
SHARD_FRAMES = 128_000_000 // FRAME_BYTES
N_FACTORS = 200
BATCH_SIZE = 32
TRAINED_STEPS = 40
MB = 1e6
ALLOWED_MB = 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-tracks", type=int, default=53_202)
    parser.add_argument("--batches", type=int, default=20_000)
    parser.add_argument("--workspace", type=Path, help="folder for the sparse files")
    parser.add_argument("--child", choices=("read", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.child == "read":
        read(arguments.dataset, arguments.batches)
    elif arguments.child == "train":
        train(arguments.dataset)
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="cs-keras-scale-", dir=arguments.workspace) as workspace:
        large, demo = Path(workspace) / "large", Path(workspace) / "demo"
        start = time.perf_counter()
        n_bytes = write_sparse(large, arguments.n_tracks)
        taken = sum(path.stat().st_blocks * 512 for path in large.rglob("*") if path.is_file())
        print(
            f"{arguments.n_tracks:,} tracks, {n_bytes / 1e9:,.0f} GB of magnitudes that take {taken / MB:,.0f} MB; "
            f"made in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        _child("read", large, "--batches", str(arguments.batches))
        command = [sys.executable, "-c", "from cs_keras.cli import main; main()", "demo-data", str(demo)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peaks = {folder.name: _child("train", folder) for folder in (demo, large)}
        difference = peaks["large"] - peaks["demo"]
        print(
            f"peak memory of training: {peaks['demo']:,.0f} MB on the demo dataset, {peaks['large']:,.0f} MB on "
            f"this, {difference:,.0f} MB more ({ALLOWED_MB} allowed): "
            f"{'met' if difference <= ALLOWED_MB else 'MISSED'}"
        )


def write_sparse(folder: Path, n_tracks: int) -> int:
    """Write a dataset of sparse shards, with factors, and return the size of its magnitudes in bytes."""
    from cs_keras.factors.scaling import fit_scaler
    from cs_keras.factors.store import Factors, save_factors

    rng = np.random.default_rng(0)
    lengths = np.maximum(rng.normal(PATCHES, 12, n_tracks) * PATCH_FRAMES, PATCH_FRAMES).astype(int)
    rows, checksums = [], {}
    members = np.array_split(np.arange(n_tracks), N_FOLDS)
    for fold, inside in enumerate(members):
        for number, group in enumerate(_pack(inside, lengths)):
            name = f"shards/fold-{fold:02d}/part-{number:05d}.h5"
            checksums[name] = _write_holes(folder / name, group, lengths[group])
            first = np.cumsum(lengths[group]) - lengths[group]
            for track, start in zip(group.tolist(), first.tolist(), strict=True):
                rows.append(_row(track, fold, name, start, int(lengths[track])))
    write_dataset(folder, DatasetInfo(AUDIO, fold_assignment="given", shards=checksums), make_tracks(rows))
    item_factors = rng.standard_normal((n_tracks, N_FACTORS), np.float32)
    factors = Factors(
        name="wmf",
        track_ids=np.array([row["track_id"] for row in rows]),
        item_factors=item_factors,
        has_factors=np.ones(n_tracks, bool),
        playlist_ids=np.array(["p"]),
        playlist_factors=item_factors[:1],
        scaler=fit_scaler("standardize", item_factors),
        protocol="given",
        config=None,
        quality={},
    )
    save_factors(folder / "factors" / "wmf.npz", factors)
    return int(lengths.sum()) * FRAME_BYTES


def read(folder: Path, n_batches: int) -> None:
    """Read random batches, and print memory and the sizes of reads."""
    sizes: collections.Counter[int] = collections.Counter()
    preadv = os.preadv

    def counting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        sizes[sum(map(len, buffers))] += 1
        return preadv(descriptor, buffers, offset)

    os.preadv = counting
    start = time.perf_counter()
    from cs_keras.data.batches import TrainingBatches
    from cs_keras.data.dataset import Dataset
    from cs_keras.data.windows import SequenceConfig

    imported = time.perf_counter()
    dataset = Dataset(folder)
    train_rows = np.flatnonzero(dataset.tracks.in_split("train"))
    targets = np.zeros((len(dataset), N_FACTORS), np.float32)
    batches = TrainingBatches(dataset, train_rows, targets, SequenceConfig(), BATCH_SIZE, seed=0)
    endless = iter(batches.from_epoch(0))
    next(endless)
    print(
        f"start-up: {imported - start:.1f} s to import TensorFlow, {time.perf_counter() - imported:.1f} s more to "
        f"the first batch; {batches.n_windows:,} windows an epoch",
        flush=True,
    )
    began = time.perf_counter()
    marks = sorted({max(1, n_batches * part // 8) for part in range(1, 9)})
    for number in range(1, n_batches + 1):
        next(endless)
        if number in marks:
            seconds = time.perf_counter() - began
            print(
                f"  {number:>7,} batches  {number * BATCH_SIZE / seconds:>7,.0f} windows/s  "
                f"{_resident_mb():>7,.0f} MB resident  {len(os.listdir('/proc/self/fd')):>4} open files",
                flush=True,
            )
    print(_describe(sizes))


def _describe(sizes: collections.Counter[int]) -> str:
    """Return the number of reads and the share of each kind."""
    window, block = PATCH_FRAMES * FRAME_BYTES, BLOCK_FRAMES * FRAME_BYTES
    shares = collections.Counter[str]()
    for n_bytes, count in sizes.items():
        whole_blocks = n_bytes % block == 0 and window <= n_bytes <= window + block
        kind = "the blocks that hold one" if whole_blocks else "something else"
        shares["exactly a window" if n_bytes == window else kind] += count
    total = sum(shares.values())
    return f"{total:,} reads: " + ", ".join(f"{n / total:.1%} of {kind}" for kind, n in shares.most_common())


def train(folder: Path) -> None:
    """Train the basic network for some steps, as `run-baselines` would, and print the peak of resident memory."""
    import tensorflow as tf

    from cs_keras.data.batches import TrainingBatches, prediction_batches
    from cs_keras.data.dataset import Dataset
    from cs_keras.models.cnn import VARIANTS, build
    from cs_keras.training.fit import fit
    from pipelines.factors.open import open_factors
    from pipelines.training.targets import make_training_data

    baseline = VARIANTS["cnn-bn"]
    dataset = Dataset(folder)
    task = make_training_data(dataset, open_factors(folder, dataset.tracks), 1.0)
    batches = TrainingBatches(dataset, task.train, task.targets, baseline.sequence, BATCH_SIZE, 0)
    batches.steps_per_epoch = min(batches.steps_per_epoch, TRAINED_STEPS)  # a whole epoch takes hours
    inputs, windows = prediction_batches(dataset, task.validation[:8], baseline.sequence, BATCH_SIZE)
    outputs = tf.data.Dataset.from_tensor_slices(task.targets[windows.row]).batch(BATCH_SIZE)
    model = build(baseline, task.targets.shape[1], dataset.info.audio)
    training = dataclasses.replace(baseline.training, epochs=2)
    with tempfile.TemporaryDirectory() as work:
        fit(model, batches, tf.data.Dataset.zip((inputs, outputs)), training, Path(work))
    print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB}))


def _child(what: str, folder: Path, *options: str) -> float:
    """Run one part in a process of its own; return the peak memory that it prints, or 0."""
    command = [sys.executable, "-m", "benchmarks.scale", "--child", what, "--dataset", str(folder), *options]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("{"):
                peak = float(json.loads(line)["peak_mb"])
            else:
                print(line, end="", flush=True)
    if process.returncode:
        raise SystemExit(process.returncode)
    return peak


def _write_holes(path: Path, tracks: np.ndarray, lengths: np.ndarray) -> str:
    """Write a sparse shard of zeros, and return a replacement for its checksum."""
    n_frames = int(lengths.sum())
    zeros = bytes(BLOCK_FRAMES * FRAME_BYTES)
    blocks = np.full(-(-n_frames // BLOCK_FRAMES), crc32(zeros), np.uint32)
    if n_frames % BLOCK_FRAMES:
        blocks[-1] = crc32(zeros[: n_frames % BLOCK_FRAMES * FRAME_BYTES])
    index = {
        "tracks/track_id": np.array([_track_id(track) for track in tracks.tolist()], "S16"),
        "tracks/first_frame": np.cumsum(lengths) - lengths,
        "tracks/n_frames": lengths,
        "tracks/crc32": np.zeros(len(tracks), np.uint32),
        "block_crc32": blocks,
        "left_out/track_id": np.array([], "S1"),
        "left_out/reason": np.array([], "S1"),
    }
    checksum = path.stem
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        write_header(file, index, AUDIO, checksum, {})
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((n_frames, AUDIO.n_bins))
        h5py.h5d.create(file.id, b"magnitude", h5py.h5t.IEEE_F16LE, space, settings)
    return checksum


def _pack(tracks: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Group tracks by shard."""
    shard = np.cumsum(lengths[tracks]) // SHARD_FRAMES
    return np.split(tracks, np.flatnonzero(np.diff(shard)) + 1)


def _row(track: int, fold: int, name: str, first_frame: int, n_frames: int) -> dict[str, object]:
    columns = {"fold": fold, "shard": name, "first_frame": first_frame, "n_frames": n_frames}
    return {"track_id": _track_id(track), "artist": "", "duration_s": 0.0, "genres": [], **columns}


def _track_id(track: int) -> str:
    return f"track-{track:08d}"


def _resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
