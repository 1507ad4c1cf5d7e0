"""``cs-keras ingest``: recordings to a dataset folder."""

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
    decoder_option,
    folds_help,
    say_artists,
    say_assigned,
)
from cs_keras.errors import ConfigError
from cs_keras.messages import count

ITEM_OPTIONS = ("audio", "table", "no_audio", "out", "fold_by", "append", "encoding")  # valid with --no-audio


@click.command("ingest", cls=BeamCommand)
@click.argument("audio", nargs=-1, type=LOCAL_PATH)
@click.option("--tracks", "table", type=LOCAL_PATH, help="tracks.csv: a recording and its metadata per row.")
@click.option(
    "--no-audio",
    is_flag=True,
    help="--tracks lists items (track_id, artist, title, album, isrc, genres, release_date) without "
    "recordings, described by attributes. For items that are artists, give --folds track.",
)
@click.option("--out", required=True, type=DATASET, help="Dataset folder or URL to make or add to.")
@click.option(
    "--folds",
    "fold_by",
    type=click.Choice(["artist", "track"]),
    default="artist",
    help=f"{folds_help}.",
)
@decoder_option
@click.option(
    "--waveforms",
    is_flag=True,
    help="Store waveforms, for models that compute magnitudes themselves or take samples.",
)
@click.option(
    "--workers",
    type=int,
    default=0,
    show_default=False,
    help="Shards written in parallel.  [default: processor cores]",
)
@runner_option
@dataset_options
def command(
    audio: tuple[Path, ...],
    table: Path | None,
    no_audio: bool,
    out: Any,
    fold_by: str,
    decoder: str,
    waveforms: bool,
    workers: int,
    runner: str | None,
    **options: Any,
) -> None:
    """Convert recordings to a dataset folder.

    The dataset contains magnitude spectrograms, or waveforms. AUDIO are files (mp3, ogg, flac, wav and others) and
    folders. Rows of --tracks name recordings, with paths relative to the table, and their metadata. Without it,
    metadata are read from tags; a missing artist is read from the path below a folder of AUDIO: Artist/Album/track,
    "Artist - Title" or Artist/track. After an interruption, the same command resumes.

    With --runner, Apache Beam workers write the same bytes. Each worker needs access to AUDIO at the same paths
    (not URLs), and to --out, which may be a URL.
    """
    if no_audio:
        _ingest_items(audio, table, out, fold_by, options["append"], options["encoding"])
        return
    if not audio and not table:
        raise ConfigError(
            "There is nothing to ingest: name audio files or folders, or a table with --tracks."
        )
    flags = beam_flags(runner)
    if flags and workers:
        raise ConfigError(
            "--workers is for this process; with --runner, Beam's options set the number of workers."
        )
    out = locate_for_workers(out, flags)
    from cs_keras.data.catalogue import describe_recordings, find_audio, read_catalogue
    from pipelines.dataset.ingest import IngestConfig, ingest

    settings = IngestConfig(
        audio_config(options, "waveform" if waveforms else "magnitude"),
        options["dtype"],
        fold_by,
        options["shard_mb"],
        options["append"],
        decoder,
        workers,
    )
    listed = read_catalogue(table, options["encoding"]) if table else []
    paths = {recording.path for recording in listed}
    others = [(path, name) for path, name in find_audio(audio) if Path(os.path.abspath(path)) not in paths]
    console = Console()
    result = ingest([*listed, *describe_recordings(others)], out, settings, console, flags)
    say_assigned(console.log, result.fold_assignment)
    say_artists(console.log, out)
    conclude(
        f"{out}: {count(result.n_tracks, 'track')}, {result.n_new:,} of them new, "
        f"{count(len(result.left_out), 'recording')} left out.",
        *("factors", "INTERACTIONS.csv", out),
    )


def _ingest_items(
    audio: tuple[Path, ...], table: Path | None, out: Any, fold_by: str, append: bool, encoding: str | None
) -> None:
    """Make a dataset of items without recordings; refuse options about recordings."""
    context = click.get_current_context()
    for option in context.command.params:
        is_given = context.get_parameter_source(str(option.name)) == click.core.ParameterSource.COMMANDLINE
        if is_given and option.name not in ITEM_OPTIONS:
            raise ConfigError(f"{option.opts[-1]} is about recordings, and with --no-audio there are none.")
    if audio or table is None:
        raise ConfigError("With --no-audio, items come from a table alone: name it by --tracks.")
    from pipelines.dataset.ingest_items import ingest_items, read_items

    result = ingest_items(read_items(table, encoding), out, fold_by, append)
    say_assigned(click.echo, result.fold_assignment, "items")
    say_artists(click.echo, out)
    conclude(
        f"{out}: {count(result.n_tracks, 'item')} without audio, {result.n_new:,} of them new.",
        *("factors", "INTERACTIONS.csv", out),
    )
