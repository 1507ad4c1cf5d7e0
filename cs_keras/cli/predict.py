"""``cs-keras predict``: factors of tracks by a finished run's model."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, runner_option
from cs_keras.cli.console import Console, count, quiet_tensorflow
from cs_keras.cli.options import (
    DATASET,
    LOCAL_PATH,
    decoder_option,
    find_sources,
    read_config,
    reading_options,
    split_option,
)
from cs_keras.errors import ConfigError


@click.command("predict", cls=BeamCommand)
@click.argument("run", type=DATASET)
@click.argument("sources", nargs=-1, required=True, metavar="DATASET|AUDIO...|FEATURES")
@click.option("--out", required=True, metavar="FILE", type=DATASET, help="An .npz or .parquet; may be a URL.")
@split_option
@decoder_option
@click.option("--features", type=LOCAL_PATH, help="Attributes of DATASET's tracks, for a fusion with audio.")
@click.option(
    "--id-column", help="Id column of FEATURES or --features.  [default: track_id, or the first column]"
)
@runner_option
@reading_options
def command(
    run: Any,
    sources: tuple[str, ...],
    out: Any,
    split: str | None,
    decoder: str,
    features: Path | None,
    id_column: str | None,
    runner: str | None,
    **reading: Any,
) -> None:
    """Predict factors of tracks by the model of a finished RUN.

    FILE gets the arrays track_ids, factors, in the space of the factors that the model was trained on, and
    scaled_factors, the model's own output; as Parquet, the columns track_id, factors and scaled_factors. A
    recording's id is its path without the suffix, relative to the folder named. Unusable recordings are named and
    left out. After an interruption, the same command resumes.

    A model that takes attributes needs FEATURES: a table or npz with the attributes it was trained on; its items
    need not be in a dataset. A fusion takes a DATASET, and with --features attributes of its tracks.

    With --runner, Apache Beam workers write the same bytes: each must see RUN, DATASET and --out, which may be
    URLs, or AUDIO at the same paths.
    """
    from pipelines.inference.track_vectors import check_suffix

    dataset, files = find_sources(sources, split)
    flags = beam_flags(runner)
    check_suffix(out)
    quiet_tensorflow()
    from pipelines.inference.predict import predict_dataset, predict_recordings
    from pipelines.inference.predict_fusion import predict_fused
    from pipelines.inference.predict_items import choose_table, predict_items
    from pipelines.inference.prediction_blocks import DatasetTracks
    from pipelines.inference.trained_run import read_run, source_error

    console, trained = Console(), read_run(run)
    takes_audio, is_fusion = trained.procedure.takes_audio, trained.procedure.is_fusion
    if features and not is_fusion:
        raise ConfigError(f"--features is for a fusion, and the model of {run} is none.")
    if id_column and is_fusion and not features:
        raise ConfigError("--id-column describes the table of --features, which is missing.")
    if id_column and takes_audio:
        raise ConfigError(f"--id-column is for a model that takes attributes, and that of {run} takes audio.")
    if flags and not takes_audio:
        raise ConfigError(f"--runner is for a model that takes audio, and that of {run} takes attributes.")
    if is_fusion:
        if dataset is None:
            raise source_error(trained, ", ".join(sources))
        tracks = DatasetTracks(dataset, read_config(**reading))
        result = predict_fused(trained, tracks, split or "all", out, features, id_column, console)
    elif not takes_audio:
        result = predict_items(trained, choose_table(trained, dataset, files), out, id_column, console)
    elif dataset is not None:
        tracks = DatasetTracks(dataset, read_config(**reading))
        result = predict_dataset(trained, tracks, split or "all", out, console, flags)
    else:
        result = predict_recordings(trained, files, decoder, out, console, flags)
    left_out = count(len(result.left_out), "recording" if takes_audio else "item")
    click.echo(
        f"{out}: factors of {count(result.n_tracks, 'track')} in {result.n_factors} dimensions, "
        f"{left_out} left out."
    )
