"""``cs-keras predict``: factors of tracks by a finished run's model."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, locate_for_workers, runner_option
from cs_keras.cli.console import Console, conclude
from cs_keras.cli.options import (
    DATASET,
    TableFile,
    artist_option,
    decoder_option,
    name_tables,
    read_config,
    reading_options,
    split_option,
    weights_option,
)
from cs_keras.messages import count


@click.command("predict", cls=BeamCommand)
@click.argument("run", type=DATASET)
@click.argument("sources", nargs=-1, required=True, metavar="DATASET|AUDIO...|FEATURES")
@click.option("--out", required=True, metavar="FILE", type=DATASET, help="An .npz or .parquet; may be a URL.")
@split_option
@decoder_option
@click.option(
    "--features",
    multiple=True,
    type=TableFile(),
    help="Attributes of the tracks, for a fusion, and models of artists or joined tables; NAME as in training.",
)
@click.option(
    "--id-column", help="Id column of FEATURES or --features.  [default: track_id, or the first column]"
)
@weights_option
@artist_option
@runner_option
@reading_options
def command(
    run: Any,
    sources: tuple[str, ...],
    out: Any,
    split: str | None,
    decoder: str,
    features: tuple[tuple[str, Path], ...],
    id_column: str | None,
    weights: tuple[tuple[str, Path], ...],
    artist: str | None,
    runner: str | None,
    **reading: Any,
) -> None:
    """Predict factors of tracks with the model of a finished RUN.

    FILE gets the arrays track_ids, factors, in the space of the factors that the model was trained on, and
    scaled_factors, the model's own output; as Parquet, the columns track_id, factors and scaled_factors. A
    model that predicts variances adds std, standard deviations of the factors, and expected_error, their root
    mean square in units of the scaled factors: the lower, the more certain. A recording's id is its path
    without the suffix, relative to the folder named. Unusable recordings are listed and skipped. After an
    interruption, the same command resumes.

    A model that takes attributes needs FEATURES: a table or npz with the attributes it was trained on; its items
    need not be in a dataset. Where `cs-keras embed` made the table, it also takes AUDIO, by the same encoder. A
    fusion takes DATASET or AUDIO, and with --features attributes of the tracks; a model that joins tables takes
    DATASET with all of them, or AUDIO. A model of artists takes what its content model takes; artists are those of
    DATASET, or --artist.

    With --runner, Apache Beam workers write the same bytes. Each worker needs access to RUN, DATASET and --out
    (which may be URLs), and to AUDIO at the same paths.
    """
    from cs_keras.data.catalogue import find_sources

    dataset, files = find_sources(sources, split)
    flags = beam_flags(runner)
    run, out = locate_for_workers(run, flags), locate_for_workers(out, flags)
    dataset = None if dataset is None else locate_for_workers(dataset, flags)
    from pipelines.inference.predict_items import TableFiles
    from pipelines.inference.predict_sources import predict_sources
    from pipelines.inference.track_vectors import check_output
    from pipelines.inference.trained_run import read_run

    check_output(out)
    result = predict_sources(
        read_run(run),
        dataset,
        files,
        out,
        split=split,
        decoder=decoder,
        tables=TableFiles(name_tables(features), id_column, name_tables(weights, "--weights")),
        reading=read_config(**reading),
        progress=Console(),
        beam=flags,
        artist=artist,
    )
    error = "" if result.expected_error is None else f", median expected error {result.expected_error:.2f}"
    conclude(
        f"{out}: factors of {count(result.n_tracks, 'track')} in {result.n_factors} dimensions{error}, "
        f"{len(result.left_out):,} left out.",
        *("recommend", run, "TRACK", *(("--dataset", dataset) if dataset else ())),
    )
