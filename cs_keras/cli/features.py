"""``cs-keras features``: what a finished run's model computes on its way to the factors."""

from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET
from cs_keras.cli.sources import decoder_option, find_sources, split_option

if TYPE_CHECKING:
    from cs_keras.training.hidden_layers import HiddenLayer


@click.command("features")
@click.argument("run", type=DATASET)
@click.argument("sources", nargs=-1, metavar="DATASET|AUDIO...")
@click.option("--out", metavar="FILE", type=DATASET, help="The .npz or .parquet to write; may be a URL.")
@click.option(
    "--layer", metavar="NAME", help="Whose output to take; see --list.  [default: the last hidden layer]"
)
@click.option(
    "--list", "show_layers", is_flag=True, help="Show the layers that can be named, and write nothing."
)
@split_option
@decoder_option
@reading_options
def command(
    run: Any,
    sources: tuple[str, ...],
    out: Any,
    layer: str | None,
    show_layers: bool,
    split: str | None,
    decoder: str,
    **reading: Any,
) -> None:
    """Write the activations of a hidden layer of RUN's model as features of tracks, for other tasks than its own.

    A track's features are the mean over the sequences that cover it. Of layers that keep time or space (steps,
    convolutions' maps) the global mean is taken: one number a channel, the last of the axes that --list shows.

    FILE gets the arrays track_ids, features, layer and run_digest; as Parquet, the columns track_id and features.
    Ids, what is left out, and going on after an interruption are as in `cs-keras predict`.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow

    if show_layers:
        if sources or out is not None or layer is not None:
            raise click.UsageError("--list takes RUN alone.")
        quiet_tensorflow()
        from pipelines.inference.features import list_layers
        from pipelines.inference.trained_run import read_run

        _show(*list_layers(read_run(run)))
        return
    if not sources or out is None:
        raise click.UsageError(
            "Name a DATASET or AUDIO, and a file by --out; or --list to see the layers of RUN."
        )
    from pipelines.inference.track_vectors import check_suffix

    dataset, files = find_sources(sources, split)
    check_suffix(out)
    quiet_tensorflow()
    from pipelines.inference.features import at_layer
    from pipelines.inference.predict import predict_dataset, predict_recordings
    from pipelines.inference.prediction_blocks import DatasetTracks
    from pipelines.inference.trained_run import read_run

    console, trained = Console(), at_layer(read_run(run), layer)
    if dataset is not None:
        tracks = DatasetTracks(dataset, read_config(**reading))
        result = predict_dataset(trained, tracks, split or "all", out, console)
    else:
        result = predict_recordings(trained, files, decoder, out, console)
    name, n_left_out = trained.hidden.layer if trained.hidden else "", len(result.left_out)
    click.echo(
        f"{out}: {result.n_factors} features of {result.n_tracks} track{'' if result.n_tracks == 1 else 's'} from "
        f"layer {name}, {n_left_out} recording{'' if n_left_out == 1 else 's'} left out."
    )


def _show(layers: "list[HiddenLayer]", default: str) -> None:
    """Print the layers with the shapes of their outputs, the default one with a star."""
    width = max(len(layer.name) for layer in layers)
    click.echo(f"{'layer':<{width}}  features  output")
    for layer in layers:
        shape = ", ".join("any" if size is None else str(size) for size in layer.shape[1:])
        star = "  *" if layer.name == default else ""
        click.echo(f"{layer.name:<{width}}  {layer.n_features:>8}  ({shape}){star}")
    click.echo("* the default. Features: numbers that are left when all axes but the last are averaged.")
