"""Tracks as arguments: one dataset, or recordings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cs_keras.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from cs_keras.storage.location import Location

split_option = click.option(
    "--split",
    type=click.Choice(["all", "train", "validation", "test"]),
    help="Which of a dataset's tracks.  [default: all]",
)
decoder_option = click.option(
    "--decoder",
    type=click.Choice(["auto", "soundfile", "tfio", "librosa"]),
    default="auto",
    show_default=True,
    help="Of AUDIO; auto: whichever reads the file, the fastest first.",
)


def find_sources(sources: Sequence[str], split: str | None) -> "tuple[Location | None, list[Path]]":
    """Return the dataset that is meant, or None, and the audio files and folders where there is none.

    Raises
    ------
    ConfigError
        When there is more than one dataset, or a split of what is none.
    StorageError
        When recordings are behind a URL.
    """
    from cs_keras.data.schema import DATASET_FILE
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
    return (datasets[0], []) if datasets else (None, _local(places))


def _local(places: "Sequence[Location]") -> list[Path]:
    """Return paths on this machine; what is behind a URL can only have been meant as a dataset."""
    for place in places:
        if not isinstance(place, Path):
            raise StorageError(
                f"{place} is not a cs-keras dataset, and recordings are read from this machine's paths only."
            )
    return [place for place in places if isinstance(place, Path)]
