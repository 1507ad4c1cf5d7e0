"""``cs-keras predict``: factors of tracks by a finished run's model."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, runner_option
from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH
from cs_keras.cli.sources import decoder_option, find_sources, split_option


@click.command("predict", cls=BeamCommand)
@click.argument("run", type=DATASET)
@click.argument("sources", nargs=-1, required=True, metavar="DATASET|AUDIO...|FEATURES")
@click.option("--out", required=True, metavar="FILE", type=DATASET, help="An .npz or .parquet; may be a URL.")
@split_option
@decoder_option
@click.option(
    "--features",
    type=LOCAL_PATH,
    help="Attributes of DATASET's tracks, for a model that joins them with sound.",
)
@click.option("--id-column", help="Of FEATURES or --features.  [default: track_id, or the first column]")
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
    """Predict the factors of a dataset's tracks, or of recordings, by the model of RUN, a finished run folder.

    FILE gets the arrays track_ids, factors, in the space of the factors that the model was trained on, and
    scaled_factors, the model's own output; as Parquet, the columns track_id, factors and scaled_factors. A
    recording's id is its path without the suffix, relative to the folder named. What cannot be used is left out and
    told. The same command goes on where it was stopped.

    A model that learnt from attributes takes FEATURES: a table or npz with those it was trained on, of items that
    need be in no dataset. A fusion takes a DATASET, and with --features what is known of its tracks beside sound.

    With --runner, workers of Apache Beam predict, to the same bytes: each must see RUN, DATASET and --out, which
    may be URLs, or AUDIO at the same paths.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.errors import ConfigError
    from pipelines.inference.track_vectors import check_suffix

    dataset, files = find_sources(sources, split)
    flags = beam_flags(runner)
    check_suffix(out)
    quiet_tensorflow()
    from cs_keras.models.spec import ANY
    from pipelines.inference.predict import predict_dataset, predict_recordings
    from pipelines.inference.predict_fusion import FeaturesFile, predict_fused, require_dataset
    from pipelines.inference.predict_items import choose_table, predict_items
    from pipelines.inference.prediction_blocks import DatasetTracks
    from pipelines.inference.trained_run import read_run

    console, trained = Console(), read_run(run)
    hears, is_fusion = trained.needs == "sound", trained.needs == ANY
    if features and not is_fusion:
        raise ConfigError(f"--features is for a fusion, and the model of {run} is none.")
    if id_column and is_fusion and not features:
        raise ConfigError("--id-column is of --features, and there is none.")
    if id_column and hears:
        raise ConfigError(f"--id-column is for a model that takes attributes, and that of {run} hears.")
    if flags and not hears:
        raise ConfigError(f"--runner is for a model that hears, and that of {run} takes attributes.")
    if is_fusion:
        tracks = DatasetTracks(require_dataset(trained, dataset, sources), read_config(**reading))
        table = FeaturesFile(features, id_column) if features else None
        result = predict_fused(trained, tracks, split or "all", out, table, console)
    elif not hears:
        result = predict_items(trained, choose_table(trained, dataset, files), out, id_column, console)
    elif dataset is not None:
        tracks = DatasetTracks(dataset, read_config(**reading))
        result = predict_dataset(trained, tracks, split or "all", out, console, flags)
    else:
        result = predict_recordings(trained, files, decoder, out, console, flags)
    n_left_out, noun = len(result.left_out), "recording" if hears else "item"
    click.echo(
        f"{out}: factors of {result.n_tracks} track{'' if result.n_tracks == 1 else 's'} in {result.n_factors} "
        f"dimensions, {n_left_out} {noun}{'' if n_left_out == 1 else 's'} left out."
    )
