"""``cs-keras predict``: factors of tracks by a finished run's model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.beam import BeamCommand, beam_flags, runner_option
from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET

if TYPE_CHECKING:
    from cs_keras.storage.location import Location


@click.command("predict", cls=BeamCommand)
@click.argument("run", type=DATASET)
@click.argument("sources", nargs=-1, required=True, metavar="DATASET|AUDIO...")
@click.option("--out", required=True, metavar="FILE", type=DATASET, help="The npz to write; may be a URL.")
@click.option(
    "--split",
    type=click.Choice(["all", "train", "validation", "test"]),
    help="Which of a dataset's tracks.  [default: all]",
)
@click.option(
    "--decoder",
    type=click.Choice(["auto", "soundfile", "tfio", "librosa"]),
    default="auto",
    show_default=True,
    help="Of AUDIO; auto: whichever reads the file, the fastest first.",
)
@runner_option
@reading_options
def command(
    run: Any,
    sources: tuple[str, ...],
    out: Any,
    split: str | None,
    decoder: str,
    runner: str | None,
    **reading: Any,
) -> None:
    """Predict the factors of a dataset's tracks, or of recordings, by the model of RUN, a finished run folder.

    FILE gets the arrays track_ids, factors, in the space of the factors that the model was trained on, and
    scaled_factors, the model's own output. A recording's id is its path without the suffix, relative to the folder
    named. What cannot be used is left out and told. The same command goes on where it was stopped.

    With --runner, workers of Apache Beam predict, to the same bytes: each must see RUN, DATASET and --out, which
    may be URLs, or AUDIO at the same paths.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.data.schema import DATASET_FILE
    from cs_keras.errors import ConfigError
    from cs_keras.storage.location import is_file, locate

    places = [locate(source) for source in sources]
    datasets = [place for place in places if is_file(place / DATASET_FILE)]
    if datasets and len(places) > 1:
        raise ConfigError(
            f"Give one dataset, or audio files and folders. Received: {len(places)} names, among them the dataset "
            f"{datasets[0]}."
        )
    if split and not datasets:
        raise ConfigError(f"--split is for a dataset, and {sources[0]} is none.")
    files = [] if datasets else _local(places)
    flags = beam_flags(runner)
    quiet_tensorflow()
    from pipelines.blocks import DatasetTracks
    from pipelines.predict import predict_dataset, predict_recordings
    from pipelines.trained import read_run

    console, trained = Console(), read_run(run)
    if datasets:
        tracks = DatasetTracks(datasets[0], read_config(**reading))
        result = predict_dataset(trained, tracks, split or "all", out, console, flags)
    else:
        result = predict_recordings(trained, files, decoder, out, console, flags)
    n_left_out = len(result.left_out)
    click.echo(
        f"{out}: factors of {result.n_tracks} track{'' if result.n_tracks == 1 else 's'} in {result.n_factors} "
        f"dimensions, {n_left_out} recording{'' if n_left_out == 1 else 's'} left out."
    )


def _local(places: "list[Location]") -> list[Path]:
    """Return paths on this machine; what is behind a URL can only have been meant as a dataset."""
    from cs_keras.errors import StorageError

    for place in places:
        if not isinstance(place, Path):
            raise StorageError(
                f"{place} is not a cs-keras dataset, and recordings are read from this machine's paths only."
            )
    return [place for place in places if isinstance(place, Path)]
