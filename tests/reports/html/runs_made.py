"""Runs that kept predictions and epochs, and the space they were trained in, with names nobody should trust."""

import json
from pathlib import Path

import numpy as np

from cs_keras.data.schema import make_tracks
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors
from cs_keras.runs import write_npz
from reports.html.spaces import Space

N_TRACKS, N_FACTORS = 40, 4
DIGEST = "d" * 64
TITLES = (
    "<script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><b>bold</b>",
    "\"double\" 'single' `back` &amp; %{x} $x^2$",
    "שלום עולם",
    "left \u202e right",
    "🎧 headphones",
    "x" * 10_000,
    "two\nlines\u2028three",
)


def make_space(titles: tuple[str, ...] = TITLES) -> Space:
    """Tracks of folds 7 (validation) and 9 (test) alternating, the last without interactions; genres in fours."""
    rows = [
        {
            "track_id": f"t{i:02}",
            "title": titles[i % len(titles)],
            "artist": f"{titles[(i + 1) % len(titles)]}",
            "album": "",
            "isrc": "",
            "genres": [titles[i // 4 % len(titles)]],
            "duration_s": 10.0,
            "fold": (7, 9)[i % 2],
            "shard": "s",
            "first_frame": 0,
            "n_frames": 1,
        }
        for i in range(N_TRACKS)
    ]
    factors = np.random.default_rng(0).standard_normal((N_TRACKS, N_FACTORS)).astype(np.float32)
    has_factors = np.arange(N_TRACKS) < N_TRACKS - 1
    factors[~has_factors] = 0
    tracks = make_tracks(rows)
    return Space(
        tracks,
        Factors(
            name="wmf",
            track_ids=tracks.ids,
            item_factors=factors,
            has_factors=has_factors,
            playlist_ids=np.array([], np.str_),
            playlist_factors=np.zeros((0, N_FACTORS), np.float32),
            scaler=fit_scaler("standardize", factors[has_factors]),
            protocol="strict",
            config=None,
            quality={},
        ),
    )


def keep(run: Path, space: Space, noise: float = 0.5) -> None:
    """Give a run folder predictions, the truth with noise, and three epochs."""
    true = space.factors.item_factors
    predicted = true + noise * np.random.default_rng(1).standard_normal(true.shape).astype(np.float32)
    write_npz(
        run / "predictions.npz",
        track_ids=space.tracks.ids,
        factors=predicted,
        scaled_factors=space.factors.scaler.transform(predicted),
    )
    epochs = [{"epoch": i, "loss": 1 / i, "val_loss": 2 / i, "seconds": 1.0} for i in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs))


def keep_inspection(run: Path, space: Space | None, **changes: np.ndarray) -> None:
    """Give a run folder what was found inside a network of three filters and four units, which answer by the row.

    Filter and unit u answer most to track u, then u + 1, and on average to the last tracks.
    """
    ids = space.tracks.ids if space else np.array([f"t{i:02}" for i in range(N_TRACKS)])
    random = np.random.default_rng(2)
    arrays = {
        "version": np.array(1),
        "dataset": np.array("d" * 64),
        "track_ids": ids,
        "n_tracks": np.array(len(ids)),
        "n_windows": np.array(2),
        "window_s": np.array(5.94),
        "kernels": random.standard_normal((3, 3, 3)).astype(np.float32),
        "example_id": np.array(ids[0]),
        "example_s": np.array(62.0),
        "example_mel": random.standard_normal((16, 8)).astype(np.float32),
        "example_filters": np.array([0, 2]),
        "example_maps": random.standard_normal((16, 8, 2)).astype(np.float32),
    }
    for kind, n, layer in (("filters", 3, "conv_1"), ("units", 4, "dense_1")):
        places = np.arange(n)[:, np.newaxis] + np.arange(2)
        values = (10.0 - places).astype(np.float32)
        arrays |= {
            f"{kind}_layer": np.array(layer),
            f"{kind}_order": np.arange(n)[::-1],
            f"{kind}_moment_track": places,
            f"{kind}_moment_value": values,
            f"{kind}_moment_s": (60.0 + places / 2).astype(np.float32),
            f"{kind}_mean_track": len(ids) - 1 - places,
            f"{kind}_mean_value": values,
        }
    write_npz(run / "inspection.npz", **{**arrays, **changes})
