"""``cs-keras size-study``: trained on few tracks or all, tested on few or all."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import Console, show_sections
from cs_keras.cli.options import (
    DATASET,
    LOCAL_PATH,
    Command,
    attribute_files,
    attribute_options,
    factors_option,
    read_config,
    read_settings,
    reading_options,
    renamed,
    settings_options,
)


@click.command("size-study", cls=Command)
@click.argument("model")
@click.argument("dataset", type=DATASET)
@click.option("--small", "share", type=float, default=0.1, help="Share of each split's tracks.")
@click.option(
    "--small-by",
    type=click.Choice(["random", "popularity"]),
    default="random",
    help="Selection of the small set.",
)
@renamed(
    "--by", "--small-by", "--by takes similarity or dot; for how to select the small set use --small-by."
)
@click.option(
    "--small-tracks",
    type=LOCAL_PATH,
    help="CSV with the track_id of each track of the small set, instead of a share.",
)
@click.option("-k", "k", type=int, default=10, help="List length of overlaps.")
@click.option("--out", type=LOCAL_PATH, help="Folder of the study.  [default: size-studies/MODEL]")
@factors_option
@settings_options
@attribute_options
@reading_options
def command(
    model: str,
    dataset: Any,
    share: float,
    small_by: str,
    small_tracks: Path | None,
    k: int,
    out: Path | None,
    factors_name: str | None,
    **options: Any,
) -> None:
    """Compare training on few tracks with training on all.

    MODEL is trained on a small set of DATASET's tracks and on all of them, and both are tested on few and on all.
    The 2 x 2 table shows the gain from more train tracks, on the same test tracks. Tables
    are written to OUT as Markdown, CSV and LaTeX; after an interruption, the same command resumes.
    """
    from cs_keras.models import check_key

    check_key(model)
    attributes = attribute_files(options)
    changes = read_settings(options)
    from cs_keras.playlists.read import read_ids
    from pipelines.size_study import SizeConfig, study_size
    from reports.commands.size_study import make_size_section

    ids = tuple(read_ids(small_tracks)) if small_tracks else ()
    folder = out or Path("size-studies") / model
    study = study_size(
        dataset,
        model,
        folder,
        SizeConfig(share, small_by, ids, k),
        changes,
        factors_name,
        Console(),
        read_config(**options),
        attributes.read(),
    )
    show_sections((make_size_section(study),), folder, "tune", model, dataset)
