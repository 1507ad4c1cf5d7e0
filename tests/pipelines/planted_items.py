"""Items without sound whose attributes explain a known part of who listens to what; genres say nothing."""

import csv
import dataclasses
from pathlib import Path

import numpy as np

MOODS = ("calm", "dark", "driving", "warm", "wistful")
KEYS = ("C", "D", "E", "F", "G", "A", "B")
GENRES = ("ambient", "folk", "metal", "pop", "rock")
RANK = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
    """Files of planted items, and the attributes as numbers, shape (n_items, 8)."""

    items: Path
    interactions: Path
    table: Path
    features: Path
    known: np.ndarray


def write_items(
    folder: Path, n_items: int = 1500, n_plays: int = 60_000, share: float = 0.8, seed: int = 0
) -> Planted:
    """Write items, their interactions and their attributes, as CSV and as npz.

    An item's place has `RANK` dimensions, of whose variance the attributes explain `share`, by a linear map; users
    listen to items near theirs. Every artist has three items, whose attributes and places are drawn alone.
    """
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n_items, RANK))
    places = np.sqrt(share) * numbers @ _rotation(rng) + np.sqrt(1 - share) * rng.normal(size=(n_items, RANK))
    ids = [f"item-{i:04d}" for i in range(n_items)]
    genres = rng.choice(GENRES, n_items)
    _write(
        folder / "items.csv",
        ["track_id", "artist", "title", "genres"],
        [[i, f"artist {n // 3}", f"title {n}", g] for n, (i, g) in enumerate(zip(ids, genres, strict=True))],
    )
    _write(folder / "listening.csv", ["user", "item", "count"], _plays(ids, places, n_plays, rng))
    # Two of the eight numbers are given as text: one as a category, the other as labels.
    keys = [KEYS[k] for k in np.digitize(numbers[:, 6], np.quantile(numbers[:, 6], np.arange(1, 7) / 7))]
    moods = [
        "|".join(m for m, at in zip(MOODS, (-1.2, -0.4, 0, 0.4, 1.2), strict=True) if x > at)
        for x in numbers[:, 7]
    ]
    _write(
        folder / "attributes.csv",
        ["track_id", "title", *(f"number_{n}" for n in range(6)), "key", "moods"],
        [
            [ids[n], f"title {n}", *(f"{x:.6g}" for x in numbers[n, :6]), keys[n], moods[n]]
            for n in rng.permutation(n_items)
        ],
    )
    np.savez(folder / "features.npz", track_ids=np.array(ids), features=numbers.astype(np.float32))
    paths = (folder / name for name in ("items.csv", "listening.csv", "attributes.csv", "features.npz"))
    return Planted(*paths, numbers)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(RANK, RANK)))[0]


def _plays(ids: list[str], places: np.ndarray, n_plays: int, rng: np.random.Generator) -> list[list[object]]:
    """Return a row for each user and item: every user draws 40 items, the likelier the nearer they are."""
    users = rng.normal(size=(n_plays // 40, RANK))
    keys = 1.5 * users @ places.T + rng.gumbel(size=(len(users), len(ids)))
    drawn = np.argpartition(-keys, 40, axis=1)[:, :40]
    return [[f"user-{u:05d}", ids[i], 1] for u, own in enumerate(drawn.tolist()) for i in own]


def _write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
