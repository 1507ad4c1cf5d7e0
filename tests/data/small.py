"""Tiny datasets whose every magnitude says where it is: frame t of track r is 100 r + t."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.reader import read_unverified
from cs_keras.data.schema import (
    DATASET_FILE,
    TRACKS_FILE,
    DatasetInfo,
    add_checksum,
    make_tracks,
    write_dataset,
)
from cs_keras.data.shards import read_shard, write_shard

AUDIO = AudioConfig(sample_rate=4000, n_fft=16, hop_length=8)  # 9 bins, 500 frames a second
FRAMES = 4


def magnitudes(row, n_frames):
    """Shape (n_frames, 9), float32; exact in float16 for rows below 20 and up to 100 frames."""
    time = np.arange(n_frames, dtype=np.float32)[:, None]
    return np.repeat(100 * row + time, 9, axis=1)


def track_row(track_id, **values):
    row = {
        "track_id": track_id,
        "artist": "",
        "title": track_id,
        "album": "",
        "isrc": "",
        "genres": [],
        "duration_s": 1.0,
        "fold": 0,
        "shard": "shards/fold-00/part-00000.h5",
        "first_frame": 0,
        "n_frames": 1,
    }
    return row | values


def write_small(folder, lengths, folds=None, dtype="float16"):
    """Write a dataset of tracks of `lengths` frames, two tracks a shard, and return `folder`."""
    rows = []
    for start in range(0, len(lengths), 2):
        name = f"shards/fold-00/part-{start // 2:05d}.h5"
        inside = range(start, min(start + 2, len(lengths)))
        write_shard(folder / name, [(f"t{r}", magnitudes(r, lengths[r])) for r in inside], AUDIO, dtype)
        for row, track in zip(inside, read_shard(folder / name).tracks, strict=True):
            rows.append(
                track_row(
                    track.track_id,
                    fold=folds[row] if folds else 0,
                    shard=name,
                    first_frame=track.first_frame,
                    n_frames=track.n_frames,
                )
            )
    write_dataset(folder, DatasetInfo(AUDIO, dtype), make_tracks(rows))
    return folder


def read_block(shard):
    """Return all magnitudes of a shard as they lie there, shape (n_frames, n_bins)."""
    return read_unverified(shard, 0, shard.shape[0])


def change_document(folder, **changes):
    """Change ``dataset.json`` as a program would that keeps its checksum right; ``...`` takes a key out."""
    path = folder / DATASET_FILE
    document = json.loads(path.read_text()) | changes
    path.write_text(
        json.dumps(add_checksum({name: value for name, value in document.items() if value is not ...}))
    )


def change_table(folder, change):
    """Change the rows of ``tracks.parquet``, valid or not, as a program would that keeps checksums right."""
    path = folder / TRACKS_FILE
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), path)
    change_document(folder, tracks_checksum=hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest())
