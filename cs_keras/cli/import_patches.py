"""``cs-keras import-patches``: magnitude spectrograms in HDF5 files to a dataset folder."""

import os
from pathlib import Path
from typing import Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, locate_for_workers, runner_option
from cs_keras.cli.console import Console, conclude
from cs_keras.cli.options import (
    DATASET,
    LOCAL_PATH,
    audio_config,
    dataset_options,
    folds_help,
    say_artists,
    say_assigned,
)
from cs_keras.messages import count


@click.command("import-patches", cls=BeamCommand)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", required=True, type=DATASET, help="Dataset folder or URL to make or add to.")
@click.option(
    "--tracks",
    "table",
    type=LOCAL_PATH,
    help="tracks.csv: track_id, artist, title, album, isrc, genres, release_date.",
)
@click.option(
    "--layout",
    type=click.Choice(["auto", "thesis", "index-features"]),
    default="auto",
    help="thesis: (patches, bins, frames); index-features: (rows, frames, bins) or (frames, bins).",
)
@click.option("--patches-name", help="HDF5 path of the patches.  [default: found by shape]")
@click.option("--index-name", help="HDF5 path of the ids, one per row.  [default: found by shape]")
@click.option(
    "--folds",
    "fold_by",
    type=click.Choice(["artist", "track", "file"]),
    default="artist",
    help=f"{folds_help}; file: ten files are folds 0 to 9 in the order named.",
)
@runner_option
@dataset_options
def command(
    files: tuple[str, ...],
    out: Any,
    table: Path | None,
    layout: str,
    patches_name: str | None,
    index_name: str | None,
    fold_by: str,
    runner: str | None,
    **options: Any,
) -> None:
    """Convert HDF5 files of magnitude patches to a dataset.

    FILE is a local path or a URL that fsspec opens (gs:// and others). Patches of a track are consecutive; the
    zero padding of its last one is dropped. After an interruption, the same command resumes.

    With --runner, Apache Beam workers write the same bytes. Each worker needs access to --out and to FILE under the
    same names; both may be URLs.
    """
    flags = beam_flags(runner)
    out = locate_for_workers(out, flags)
    if flags:
        files = tuple(url if "://" in url else os.path.abspath(url) for url in files)
    from cs_keras.data.patches.read import PatchFormat
    from pipelines.dataset.import_patches import ImportConfig, import_patches
    from pipelines.dataset.ingest_items import read_items

    patches = PatchFormat(layout, patches_name, index_name)
    settings = ImportConfig(
        audio_config(options), options["dtype"], fold_by, options["shard_mb"], options["append"], patches
    )
    descriptions = read_items(table, options["encoding"]) if table else []
    console = Console()
    done = import_patches(files, out, settings, descriptions, console, flags)
    dataset = done.dataset
    if fold_by == "file":
        for fold, file in enumerate(files):
            console.log(f"fold {fold}: {file}")
    else:
        say_assigned(console.log, dataset.fold_assignment)
    say_artists(console.log, out)
    if table:
        console.log(
            f"{table} describes {done.n_described} of the {done.n_tracks} tracks in the files, and "
            f"{len(descriptions) - done.n_described} that are not in them."
        )
    click.echo(f"The files hold {count(done.n_tracks, 'track')} in {count(done.n_rows, 'row')}.")
    conclude(
        f"{out}: {count(dataset.n_tracks, 'track')} of {done.n_frames} frames, {dataset.n_new} of them new and "
        f"verified, {len(dataset.left_out)} left out.",
        *("factors", "INTERACTIONS.csv", out),
    )
