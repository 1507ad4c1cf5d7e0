"""``cs-keras outliers``: tracks that sound unlike the rest of their playlist."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.listing import make_export, show_table
from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH

if TYPE_CHECKING:
    from pipelines.recommend.outliers import PlaylistTrack


@click.command("outliers")
@click.argument("run", type=DATASET)
@click.argument("playlists", nargs=-1, required=True, type=LOCAL_PATH, metavar="PLAYLIST|AUDIO...")
@click.option("--dataset", type=DATASET, help="That RUN was trained on: for names and train tracks.")
@click.option("--out", type=LOCAL_PATH, help="CSV or JSON file for the table.")
@click.option(
    "--decoder",
    type=click.Choice(["auto", "soundfile", "tfio", "librosa"]),
    default="auto",
    show_default=True,
    help="Of recordings.",
)
@reading_options
def command(
    run: Any, playlists: tuple[Path, ...], dataset: Any, out: Path | None, decoder: str, **reading: Any
) -> None:
    """Rank the tracks of each PLAYLIST by how little they sound like the rest of it, by RUN's model.

    PLAYLIST is an m3u8 file of recordings, or a CSV whose column track_id holds ids of tracks; AUDIO files and
    folders are one playlist together. Distance: 1 - cosine of a track's predicted factors and the mean of the
    others', each scaled to length 1. Score: 0.6745 (x - median) / MAD of the angle between the two, x; tracks above
    3.5 count as outliers (Iglewicz & Hoaglin 1993) and have a star.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.errors import ConfigError

    if out and out.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"--out must end in .csv or .json. Received: {out}.")
    export = make_export(None, out, None, None)
    config = read_config(**reading)
    quiet_tensorflow()
    from pipelines.inference.trained_run import read_run
    from pipelines.recommend.catalogue import open_catalogue
    from pipelines.recommend.outliers import find_outliers, read_playlists

    lists, console = read_playlists(playlists), Console()
    catalogue, trained = open_catalogue(run, dataset, config), read_run(run)
    found = [(one.name, find_outliers(trained, catalogue, one, decoder, console)) for one in lists]
    for name, ranked in found:
        show_table(f"{name}: the least alike first", ["track", "distance", "score", "outlier"], _rows(ranked))
    if export:
        measures = [_measures(name, one) for name, ranked in found for one in ranked]
        entries = [one.entry for _, ranked in found for one in ranked]
        export.write(entries, measures, {"title": "Outliers", "run": str(run)})


def _rows(ranked: "list[PlaylistTrack]") -> list[list[str]]:
    return [
        [one.entry.label, f"{one.distance:.3g}", f"{one.score:.2f}", "*" if one.is_outlier else ""]
        for one in ranked
    ]


def _measures(name: str, one: "PlaylistTrack") -> dict[str, Any]:
    """Return the columns of a file; a score that is infinite has no number in JSON, so it is left empty."""
    score = one.score if abs(one.score) != float("inf") else None
    return {"playlist": name, "distance": one.distance, "score": score, "is_outlier": one.is_outlier}
