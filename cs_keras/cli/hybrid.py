"""``cs-keras hybrid``: a run's predictions and a little listening, alone and together."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH
from cs_keras.cli.selection import INTEGERS
from cs_keras.cli.tables import print_sections

FORMATS = ("md", "csv", "latex")


@click.command("hybrid")
@click.argument("run", type=DATASET)
@click.argument("dataset", type=DATASET)
@click.option(
    "--listens",
    type=INTEGERS,
    default="0,1,2,5,10",
    show_default=True,
    help="Playlists that a track is given; twice the most of them must hold a track for it to count.",
)
@click.option("-k", "k", type=int, default=10, show_default=True, help="List length.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of which playlists are given.")
@click.option("--out", type=LOCAL_PATH, help="Folder for the tables as Markdown, CSV and LaTeX.")
@reading_options
def command(
    run: Any, dataset: Any, listens: tuple[int, ...], k: int, seed: int, out: Path | None, **reading: Any
) -> None:
    """How long sound is worth hearing: RUN's predictions beside a little listening to the same tracks.

    Each test track of DATASET, which RUN was trained on, is given a few of the playlists that hold it and judged by
    all others: by sound alone, by folding in the few alone, and by both, switching from one to the other or
    weighting them. Where to switch and how to weigh is chosen on validation tracks.
    """
    from pipelines.evaluation.hybrid import HybridConfig, compare_hybrids
    from reports.formats.files import write_report
    from reports.tables.hybrids import make_hybrids_section

    config = HybridConfig(listens=tuple(sorted(set(listens))), k=k, seed=seed)
    found = compare_hybrids(run, dataset, config, read_config(**reading))
    sections = (make_hybrids_section(found),)
    print_sections(sections)
    if out is not None:
        written = write_report(sections, out, FORMATS)
        click.echo(f"Written: {', '.join(map(str, written))}", err=True)
