"""``cs-keras size-study``: trained on few tracks or all, tested on few or all."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.options import attribute_file, attribute_options, read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH
from cs_keras.cli.tables import print_sections

FORMATS = ("md", "csv", "latex")


@click.command("size-study")
@click.argument("model")
@click.argument("dataset", type=DATASET)
@click.option(
    "--small", "share", type=float, default=0.1, show_default=True, help="Share of each split's tracks."
)
@click.option(
    "--by",
    type=click.Choice(["random", "popularity"]),
    default="random",
    show_default=True,
    help="Which tracks are in the small set.",
)
@click.option(
    "--small-tracks",
    type=LOCAL_PATH,
    help="CSV whose column track_id lists the small set, instead of a share.",
)
@click.option("-k", "k", type=int, default=10, show_default=True, help="List length of overlaps.")
@click.option("--out", type=LOCAL_PATH, help="Folder of the study.  [default: size-studies/MODEL]")
@click.option("--factors", "factors_name", help="Which of the dataset's factors to predict.  [default: wmf]")
@click.option("--config", "config_file", type=LOCAL_PATH, help="TOML file of settings.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One setting.")
@attribute_options
@reading_options
def command(
    model: str,
    dataset: Any,
    share: float,
    by: str,
    small_tracks: Path | None,
    k: int,
    out: Path | None,
    factors_name: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    features: Path | None,
    id_column: str | None,
    kinds: tuple[str, ...],
    **reading: Any,
) -> None:
    """Train MODEL on few tracks of DATASET and on all of them, and test both on few and on all.

    The 2 x 2 table tells what more tracks to learn from are worth, and whether a model of few is at a loss with
    others than those. Tables go to OUT as Markdown, CSV and LaTeX; the same command goes on where it was stopped.
    """
    from cs_keras import config
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.models import check_key

    check_key(model)
    attributes = attribute_file(features, id_column, kinds)
    changes = config.merge(
        config.load_toml(config_file) if config_file else {}, config.parse_overrides(assignments)
    )
    quiet_tensorflow()
    from cs_keras.playlists.read import read_ids
    from pipelines.size_study import SizeConfig, study_size
    from reports.formats.files import write_report
    from reports.tables.size_study import make_size_section

    ids = tuple(read_ids(small_tracks)) if small_tracks else ()
    folder = out or Path("size-studies") / model
    study = study_size(
        dataset,
        model,
        folder,
        SizeConfig(share, by, ids, k),
        changes,
        factors_name,
        Console(),
        read_config(**reading),
        attributes.read() if attributes else None,
    )
    sections = (make_size_section(study),)
    print_sections(sections)
    written = write_report(sections, folder, FORMATS)
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)
