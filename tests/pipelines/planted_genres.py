"""A dataset whose audio determines genres: each fills a band of the spectrum, and playlists have one genre."""

import csv
import dataclasses
from pathlib import Path

import numpy as np

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset
from cs_keras.data.shards import read_shard, write_shard
from tests.data.small import track_row

AUDIO = AudioConfig(sample_rate=8000, n_fft=128, hop_length=64)  # 65 bins
GENRES = ("Bass", "Middle", "Treble")
N_TRACKS, N_FRAMES = 90, 40
FACTORS = ["--n-factors", 4, "--alpha", 10, "--no-ceiling"]
QUICK = [
    "--set=sequence.frames=16",
    "--set=front_end.n_mels=16",
    "--set=training.batch_size=16",
    "--set=models.genre-space.model.filters=4",
    "--set=models.genre-space.model.pool_frames=[4,4]",
    "--set=models.genre-space.model.pool_mels=[2,2]",
    "--set=models.genre-space.model.dense=[16]",
    "--set=models.genre-space.training.learning_rate=0.01",
    "--set=evaluation.ks=[5]",
    "--set=evaluation.n_permutations=19",
]


def genre_of(row: int) -> int:
    return (row // 10 + row) % len(GENRES)  # each is in each fold


def write_sounds(folder: Path, labels: list[list[str]], prefix: str = "t") -> Path:
    """Write a dataset with fold i % 10 for track i, the sound of `genre_of` and these labels; return `folder`."""
    random = np.random.default_rng(0)
    name, rows = "shards/fold-00/part-00000.h5", []
    sounds = []
    for row in range(len(labels)):
        frames = random.uniform(0.0, 0.1, (N_FRAMES, AUDIO.n_bins)).astype(np.float32)
        start = 5 + 20 * genre_of(row)
        frames[:, start : start + 15] += random.uniform(1, 3)
        sounds.append((f"{prefix}{row:03d}", frames))
    write_shard(folder / name, sounds, AUDIO)
    shard = read_shard(folder / name)
    for row, track in enumerate(shard.tracks):
        place = {"first_frame": track.first_frame, "n_frames": track.n_frames}
        artist, duration_s = f"a{row // 2}", N_FRAMES * 64 / 8000
        rows.append(
            track_row(
                track.track_id,
                **place,
                shard=name,
                genres=labels[row],
                fold=row % 10,
                artist=artist,
                duration_s=duration_s,
            )
        )
    info = dataclasses.replace(
        DatasetInfo(AUDIO),
        shards={name: shard.attributes["checksum"]},
        headers={name: shard.rest_checksum},
    )
    write_dataset(folder, info, make_tracks(rows))
    return folder


def true_labels() -> list[list[str]]:
    return [[GENRES[genre_of(row)]] for row in range(N_TRACKS)]


def write_interactions(path: Path) -> Path:
    """Write who holds what: 60 playlists, each of 8 tracks of one genre."""
    random = np.random.default_rng(1)
    by_genre = [[r for r in range(N_TRACKS) if genre_of(r) == genre] for genre in range(len(GENRES))]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["playlist_id", "track_id"])
        for playlist in range(60):
            chosen = random.choice(by_genre[playlist % len(GENRES)], 8, replace=False)
            writer.writerows((f"p{playlist}", f"t{row:03d}") for row in chosen.tolist())
    return path
