"""``cs-keras outliers``: tracks that are far from the rest of their playlist."""

import math
from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import Console, conclude, print_table
from cs_keras.cli.listing import ListWriter
from cs_keras.cli.options import DATASET, LOCAL_PATH, Command, decoder_option, read_config, reading_options
from cs_keras.errors import ConfigError
from cs_keras.messages import count


@click.command("outliers", cls=Command)
@click.argument("run", type=DATASET)
@click.argument("playlists", nargs=-1, required=True, type=LOCAL_PATH, metavar="PLAYLIST|AUDIO...")
@click.option("--dataset", type=DATASET, help="Dataset that RUN was trained on: adds names and train tracks.")
@click.option("--out", type=LOCAL_PATH, help="CSV or JSON file for the table.")
@decoder_option
@reading_options
def command(
    run: Any, playlists: tuple[Path, ...], dataset: Any, out: Path | None, decoder: str, **reading: Any
) -> None:
    """Rank a playlist's tracks by their distance from the rest.

    PLAYLIST is an m3u8 file of recordings, or a CSV whose column track_id holds ids of tracks; AUDIO files and
    folders form one playlist. Factors are predicted by RUN's model. Distance: 1 - cosine of a track's predicted
    factors and the mean of the others', each scaled to length 1. Score: 0.6745 (x - median) / MAD of the angle
    between the two, x; tracks above 3.5 are outliers (Iglewicz & Hoaglin 1993) and are marked *.
    """
    if out and out.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"--out must end in .csv or .json. Received: {out}.")
    config = read_config(**reading)
    from pipelines.recommend.outliers import find_outliers

    found = find_outliers(run, playlists, dataset, decoder, Console(), config)
    for name, ranked in found:
        rows = [
            [
                str(n),
                one.entry.label,
                f"{one.distance:.3g}",
                f"{one.score:.2f}",
                "*" if one.is_outlier else "",
            ]
            for n, one in enumerate(ranked, 1)
        ]
        header = ["", "track", "distance", "score", "outlier"]
        print_table(f"{name}: the least similar first", header, rows, right=("", "distance", "score"))
    if out:
        measures = [
            {
                "playlist": name,
                "distance": one.distance,
                "score": one.score if math.isfinite(one.score) else None,  # JSON has no infinity
                "is_outlier": one.is_outlier,
            }
            for name, ranked in found
            for one in ranked
        ]
        entries = [one.entry for _, ranked in found for one in ranked]
        writer = ListWriter(out.suffix.lower().removeprefix("."), out)
        writer.write(entries, measures, {"title": "Outliers", "run": str(run)})
    n_outliers = sum(one.is_outlier for _, ranked in found for one in ranked)
    n_tracks = sum(len(ranked) for _, ranked in found)
    conclude(f"Outliers: {n_outliers:,} of {count(n_tracks, 'track')}.", "recommend", run, "TRACK")
