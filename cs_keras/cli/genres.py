"""``cs-keras genres``: how well a run tells genres, and what tracks are made of."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH
from cs_keras.cli.tables import print_sections

FORMATS = ("md", "csv", "latex")


@click.command("genres")
@click.argument("run", type=DATASET)
@click.argument("dataset", type=DATASET, required=False)
@click.option(
    "--track",
    "track_ids",
    multiple=True,
    metavar="ID",
    help="Show what this track is made of; may be repeated.",
)
@click.option(
    "--out",
    type=LOCAL_PATH,
    help="Folder for the tables as Markdown, CSV and LaTeX, and pictures as PNG and SVG.",
)
@reading_options
def command(run: Any, dataset: Any, track_ids: tuple[str, ...], out: Path | None, **reading: Any) -> None:
    """How well RUN, of a genre-space model, tells the genres of tracks that it was not trained on.

    Without DATASET these are the test tracks of the dataset that it was trained on. With another DATASET its
    classifier is tested on another collection: all tracks there are told and held against their own genres, whose
    names are compared without regard to case; those that the classifier does not know are counted and told.
    """
    from pipelines.evaluation.genres import describe_genres, read_genre_predictions
    from reports.formats.files import write_report
    from reports.tables.genres import composition_bars, make_genres_section

    told = read_genre_predictions(run)
    if dataset is not None:
        from cs_keras.cli.console import Console, quiet_tensorflow

        quiet_tensorflow()
        from pipelines.evaluation.genre_transfer import predict_genres

        told = predict_genres(run, told, dataset, read_config(**reading), Console())
    findings = describe_genres(run, told, track_ids)
    sections = (make_genres_section(findings),)
    print_sections(sections)
    for composition in findings.compositions:
        click.echo("")
        for line in composition_bars(findings.accuracy, composition):
            click.echo(_printable(line))
    if out is not None:
        from reports.formats.genre_figures import write_genre_figures

        written = [*write_report(sections, out, FORMATS), *write_genre_figures(findings, out)]
        click.echo(f"Written: {', '.join(map(str, written))}", err=True)


def _printable(line: str) -> str:
    """Return a line that no id or genre can make more than text."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
