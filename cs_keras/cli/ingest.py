"""``cs-keras ingest``: recordings to a dataset folder."""

import os
from pathlib import Path
from typing import Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, runner_option
from cs_keras.cli.options import dataset_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH


@click.command("ingest", cls=BeamCommand)
@click.argument("audio", nargs=-1, type=LOCAL_PATH)
@click.option(
    "--tracks",
    "table",
    type=LOCAL_PATH,
    help="tracks.csv: one recording a row, with what is known about it.",
)
@click.option(
    "--no-audio",
    is_flag=True,
    help="There are no recordings: --tracks lists items (track_id, artist, title, album, isrc, genres) that are "
    "known by their attributes. Where items are artists, give --folds track.",
)
@click.option("--out", required=True, type=DATASET, help="Dataset folder or URL to make or add to.")
@click.option(
    "--folds",
    "fold_by",
    type=click.Choice(["artist", "track"]),
    default="artist",
    show_default=True,
    help="What a fold keeps together.",
)
@click.option(
    "--decoder",
    type=click.Choice(["auto", "soundfile", "tfio", "librosa"]),
    default="auto",
    show_default=True,
    help="auto: whichever reads the file, the fastest first.",
)
@click.option(
    "--waveforms", is_flag=True, help="Keep samples, of which models make magnitudes themselves, or none."
)
@click.option("--workers", type=int, default=0, help="Shards made at a time.  [default: processor cores]")
@runner_option
@dataset_options
def command(
    audio: tuple[Path, ...],
    table: Path | None,
    no_audio: bool,
    out: Any,
    append: bool,
    fold_by: str,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    window: str,
    mixdown: str,
    dtype: str,
    decoder: str,
    waveforms: bool,
    shard_mb: int,
    workers: int,
    runner: str | None,
    encoding: str | None,
) -> None:
    """Turn recordings (mp3, ogg, flac, wav and others) into a dataset of magnitude spectrograms, or of waveforms.

    AUDIO are files and folders. With --tracks, its rows describe the recordings, paths being relative to the
    table; otherwise the files' tags and names do. The same command goes on where it was stopped.

    With --runner, workers of Apache Beam make the shards, to the same bytes: each must see AUDIO at the same paths
    (recordings are not read from URLs), and --out, which may be a URL.
    """
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.errors import ConfigError

    if no_audio:
        _ingest_items(audio, table, out, fold_by, append, encoding)
        return
    if not audio and not table:
        raise ConfigError(
            "There is nothing to ingest: name audio files or folders, or a table with --tracks."
        )
    flags = beam_flags(runner)
    if flags and workers:
        raise ConfigError(
            "--workers is for this process; with --runner, Beam's options say how many there are."
        )
    content = "waveform" if waveforms else "magnitude"
    settings_audio = AudioConfig(sample_rate, n_fft, hop_length, window, mixdown, content)
    quiet_tensorflow()
    from cs_keras.data.catalogue import describe_recordings, find_audio, read_catalogue
    from pipelines.dataset.ingest import IngestConfig, ingest

    settings = IngestConfig(settings_audio, dtype, fold_by, shard_mb, append, decoder, workers)
    listed = read_catalogue(table, encoding) if table else []
    paths = {recording.path for recording in listed}
    others = [
        (path, track_id) for path, track_id in find_audio(audio) if Path(os.path.abspath(path)) not in paths
    ]
    console = Console()
    result = ingest([*listed, *describe_recordings(others)], out, settings, console, flags)
    if result.fold_assignment.startswith("round-robin"):
        console.log(
            f"Too few artists for ten hashed folds: tracks were assigned to folds {result.fold_assignment}, "
            "largest group first."
        )
    click.echo(
        f"{out}: {result.n_tracks} tracks, {result.n_new} of them new, "
        f"{len(result.left_out)} recording{'' if len(result.left_out) == 1 else 's'} left out."
    )


OF_ITEMS = ("audio", "table", "no_audio", "out", "fold_by", "append", "encoding")


def _ingest_items(
    audio: tuple[Path, ...], table: Path | None, out: Any, fold_by: str, append: bool, encoding: str | None
) -> None:
    """Make a dataset of items that have no recordings; refuse what is said about recordings all the same."""
    from cs_keras.errors import ConfigError

    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    others = [p for p in context.command.params if p.name not in OF_ITEMS]
    for option in others:
        if context.get_parameter_source(str(option.name)) == given:
            raise ConfigError(f"{option.opts[-1]} is of recordings, and with --no-audio there are none.")
    if audio or table is None:
        raise ConfigError("With --no-audio, items come from a table alone: name it by --tracks.")
    from pipelines.dataset.ingest_items import ingest_items, read_items

    result = ingest_items(read_items(table, encoding), out, fold_by, append)
    if result.fold_assignment.startswith("round-robin"):
        click.echo(
            f"Too few artists for ten hashed folds: items were assigned to folds {result.fold_assignment}, "
            "largest group first."
        )
    click.echo(f"{out}: {result.n_tracks} items without sound, {result.n_new} of them new.")
