"""``cs-keras embed``: features of tracks by an encoder."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, locate_for_workers, runner_option
from cs_keras.cli.console import Console, conclude
from cs_keras.cli.options import (
    DATASET,
    decoder_option,
    read_config,
    reading_options,
    split_option,
)
from cs_keras.messages import count


@click.command("embed", cls=BeamCommand)
@click.argument("sources", nargs=-1, required=True, metavar="DATASET|AUDIO...")
@click.option(
    "--encoder",
    required=True,
    metavar="NAME|FILE.onnx",
    help="musicnn, musicnn-mtt, musicnn-vgg, musicnn-vgg-mtt, choi, notes, harmony, rhythm; or an ONNX file with a "
    ".toml beside it.",
)
@click.option("--weights", help="Folder or file of its weights.  [default: the installed package musicnn]")
@click.option("--out", required=True, metavar="FILE", type=DATASET, help="The .npz or .parquet to write.")
@click.option(
    "--pooling",
    help="Statistics over time: some of mean, std, max.  [default: mean,std; of notes, harmony and rhythm mean]",
)
@click.option(
    "--sequences",
    is_flag=True,
    help="Keep the frames, for models that pool them themselves, in place of statistics.",
)
@click.option(
    "--reuse",
    metavar="FILE.npz",
    type=DATASET,
    help="Take features of the same audio from a table that the same encoder wrote; it may be that of --out.",
)
@split_option
@decoder_option
@runner_option
@reading_options
def command(
    sources: tuple[str, ...],
    encoder: str,
    weights: str | None,
    out: Any,
    pooling: str | None,
    sequences: bool,
    reuse: Any,
    split: str | None,
    decoder: str,
    runner: str | None,
    **reading: Any,
) -> None:
    """Write features of tracks by an encoder.

    FILE is a table for --features of other commands: track_ids, features and the encoder. DATASET must hold
    waveforms. Ids and skipped recordings are as in `cs-keras predict`. After an interruption, the same command
    resumes and writes the same bytes.

    With --runner, Apache Beam workers write the same bytes. Each worker needs access to DATASET and --out (which
    may be URLs), and to AUDIO and the encoder's weights at the same paths.
    """
    from cs_keras.data.catalogue import find_sources

    if sequences and pooling:
        raise click.UsageError("--pooling names statistics over frames, and --sequences keeps the frames.")
    dataset, files = find_sources(sources, split)
    flags = beam_flags(runner)
    out = locate_for_workers(out, flags)
    from pipelines.inference.embed import EncoderChoice, embed_dataset, embed_recordings

    if encoder.lower().endswith(".onnx"):
        encoder, weights = Path(encoder).name, weights or encoder
    statistics = tuple(name.strip() for name in pooling.split(",")) if pooling else None
    choice = EncoderChoice(encoder, weights, () if sequences else statistics, reuse)
    if dataset is not None:
        dataset = locate_for_workers(dataset, flags)
        result = embed_dataset(choice, dataset, split or "all", out, read_config(**reading), Console(), flags)
    else:
        result = embed_recordings(choice, files, decoder, out, Console(), flags)
    where = "each frame of " if sequences else ""
    conclude(
        f"{out}: {result.n_factors} features of {where}{count(result.n_tracks, 'track')} by {encoder}, "
        f"{count(len(result.left_out), 'recording')} left out.",
        *("run-baselines", "DATASET" if dataset is None else dataset, "--features", out),
    )
