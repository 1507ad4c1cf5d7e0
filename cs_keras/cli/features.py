"""``cs-keras features``: activations of a run's model as features of tracks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import Console, conclude, print_written
from cs_keras.cli.options import (
    DATASET,
    LOCAL_PATH,
    Command,
    decoder_option,
    read_config,
    reading_options,
    split_option,
)
from cs_keras.messages import count

if TYPE_CHECKING:
    from cs_keras.training.hidden_layers import HiddenLayer


@click.command("features", cls=Command)
@click.argument("run", type=DATASET)
@click.argument("sources", nargs=-1, metavar="DATASET|AUDIO...")
@click.option("--out", metavar="FILE", type=DATASET, help="The .npz or .parquet to write; may be a URL.")
@click.option("--layer", metavar="NAME", help="Layer of --list.  [default: the last hidden layer]")
@click.option(
    "--list", "show_layers", is_flag=True, help="Show the layers of RUN's model, and write nothing."
)
@click.option(
    "--pictures",
    type=LOCAL_PATH,
    metavar="FOLDER",
    help="Draw RUN's network as PNG and SVG instead: values of its front end, weights of its convolutions, and the "
    "activations of every layer in the middle of --track.",
)
@click.option("--track", metavar="ID", help="Track of DATASET for --pictures.")
@split_option
@decoder_option
@reading_options
def command(
    run: Any,
    sources: tuple[str, ...],
    out: Any,
    layer: str | None,
    show_layers: bool,
    pictures: Path | None,
    track: str | None,
    split: str | None,
    decoder: str,
    **reading: Any,
) -> None:
    """Write a hidden layer's activations as features of tracks.

    A track's features are the mean over the sequences that cover it. Layers with time or space axes (recurrent
    steps, feature maps) are reduced by global average pooling to one value per channel, the last axis shown by
    --list.

    FILE gets the arrays track_ids, features, layer and run_digest; as Parquet, the columns track_id and features.
    Ids, skipped recordings and resuming are as in `cs-keras predict`.
    """
    from cs_keras.data.catalogue import find_sources

    if show_layers and (sources or out is not None or layer is not None):
        raise click.UsageError("--list takes RUN alone.")
    if (pictures is None) != (track is None):
        raise click.UsageError("--pictures and --track are given together.")
    if pictures is not None and (len(sources) != 1 or out is not None or layer is not None or show_layers):
        raise click.UsageError("--pictures takes RUN, one DATASET and --track alone.")
    if not show_layers and pictures is None and (not sources or out is None):
        raise click.UsageError(
            "Name a DATASET or AUDIO, and a file by --out; or --list to see the layers of RUN."
        )
    if not show_layers:
        dataset, files = find_sources(sources, split)
    if pictures is not None and track is not None:
        _draw(run, dataset, track, pictures, read_config(**reading))
        return
    if show_layers:
        from pipelines.inference.features import list_layers

        _show(*list_layers(run))
        return
    from pipelines.inference.predict_sources import extract_features

    result, layer = extract_features(
        run,
        layer,
        dataset,
        files,
        out,
        split=split,
        decoder=decoder,
        reading=read_config(**reading),
        progress=Console(),
    )
    conclude(
        f"{out}: {result.n_factors} features of {count(result.n_tracks, 'track')} from layer {layer}, "
        f"{count(len(result.left_out), 'recording')} left out.",
        *("classify", out, *(("--dataset", dataset) if dataset else ("LABELS.csv",))),
    )


def _draw(run: Any, dataset: Any, track: str, pictures: Path, reading: Any) -> None:
    """Write pictures of a network for one track of a dataset."""
    from cs_keras.data.dataset import Dataset
    from pipelines.inference.inspect_run import view_track
    from reports.formats.network_figures import network_drawings
    from reports.formats.plot_style import save_drawings

    if dataset is None:
        raise click.UsageError("--pictures takes a DATASET, which has --track.")
    network = view_track(run, Dataset(dataset, reading), track)
    written = save_drawings(network_drawings(network), pictures)
    print_written(written)
    conclude(f"{pictures}: {count(len(written) // 2, 'picture')} of {run}.", "features", run, "--list")


def _show(layers: "list[HiddenLayer]", default: str) -> None:
    """Print the layers with the shapes of their outputs, and a star after the default one."""
    width = max(len(layer.name) for layer in layers)
    click.echo(f"{'layer':<{width}}  features  output")
    for layer in layers:
        shape = ", ".join("any" if size is None else str(size) for size in layer.shape[1:])
        star = "  *" if layer.name == default else ""
        click.echo(f"{layer.name:<{width}}  {layer.n_features:>8}  ({shape}){star}")
    click.echo("* the default. Features: values after averaging over all axes but the last.")
