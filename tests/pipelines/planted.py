"""A dataset without sound whose interactions have a known rank."""

import csv

import numpy as np

from cs_keras.data.schema import DatasetInfo, make_tracks, write_dataset

RANK = 8
N_TRACKS = 200


def draw_interactions(n_playlists=600, length=20, seed=0):
    """Return who holds what, bool (n_playlists, N_TRACKS): mixtures of `RANK` topics, without replacement."""
    rng = np.random.default_rng(seed)
    tastes = rng.dirichlet(np.full(RANK, 0.1), n_playlists)
    topics = rng.dirichlet(np.full(RANK, 0.2), N_TRACKS)
    chance = tastes @ (topics / topics.sum(axis=0)).T
    keys = np.log(chance + 1e-12) + rng.gumbel(size=chance.shape)
    return np.argsort(np.argsort(-keys, axis=1), axis=1) < length


def write_planted(folder, holds):
    """Write a dataset with fold i % 10 for track i, and the interactions file next to it."""
    rows = [
        {
            "track_id": f"t{i:03d}",
            "artist": f"a{i}",
            "title": "",
            "album": "",
            "isrc": "",
            "genres": [],
            "duration_s": 1.0,
            "fold": i % 10,
            "shard": "part-00000.h5",
            "first_frame": i,
            "n_frames": 1,
        }
        for i in range(holds.shape[1])
    ]
    write_dataset(folder, DatasetInfo(), make_tracks(rows))
    interactions = folder.parent / "listening.csv"
    with open(interactions, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["playlist_id", "track_id"])
        writer.writerows((f"p{u:04d}", f"t{i:03d}") for u, i in np.argwhere(holds))
    return interactions
