"""``cs-keras genres``: genre accuracy of a genre-space model, and genre mixtures of tracks."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import Console, print_written, show_sections
from cs_keras.cli.options import DATASET, LOCAL_PATH, Command, read_config, reading_options


@click.command("genres", cls=Command)
@click.argument("run", type=DATASET)
@click.argument("dataset", type=DATASET, required=False)
@click.option(
    "--track",
    "track_ids",
    multiple=True,
    metavar="ID",
    help="Show the genre probabilities of a track; may be repeated.",
)
@click.option(
    "--map",
    "names",
    type=LOCAL_PATH,
    metavar="FILE.csv",
    help="Genre names of DATASET (column from) and of the classifier (column to). Genres that neither the table "
    "nor the classifier has are listed and left out.",
)
@click.option(
    "--mix",
    default="",
    show_default=False,
    metavar="TEXT",
    help="List the tracks whose genre probabilities are nearest to a composition, such as '60% ambient, 40% "
    "techno', by Euclidean distance.",
)
@click.option("-k", "k", type=int, help="Tracks in the list of --mix.  [default: 10]")
@click.option(
    "--out", type=LOCAL_PATH, help="Folder for tables as Markdown, CSV and LaTeX, and figures as PNG and SVG."
)
@reading_options
def command(
    run: Any,
    dataset: Any,
    track_ids: tuple[str, ...],
    names: Path | None,
    mix: str,
    k: int | None,
    out: Path | None,
    **reading: Any,
) -> None:
    """Report genre accuracy and genre probabilities of tracks.

    RUN is of a genre-space model. Without DATASET, its classifier is evaluated on the test tracks of its own
    dataset, with another DATASET on all tracks of that: genre names are compared case-insensitively, and genres
    that the classifier does not know are counted and listed.
    """
    if k is not None and not mix:
        raise click.UsageError("-k is the number of tracks of --mix.")
    from pipelines.evaluation.genres import describe_genres
    from reports.commands.genres import composition_bars, make_genres_section

    findings = describe_genres(
        run,
        track_ids,
        dataset,
        read_config(**reading),
        Console(),
        names=names,
        mix=mix,
        k=10 if k is None else k,
    )
    show_sections((make_genres_section(findings),), out, "recommend", run, "TRACK")
    for composition in findings.compositions:
        click.echo("")
        for line in composition_bars(findings.accuracy, composition):  # ids and genres may hold control codes
            click.echo("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line))
    if out is not None:
        from reports.formats.genre_figures import write_genre_figures

        print_written(write_genre_figures(findings, out))
