"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.paths import LOCAL_PATH
from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from cs_keras.data.reader import ReadConfig
    from pipelines.training.attribute_files import AttributeFile

Command = Callable[..., Any]


def dataset_options(command: Command) -> Command:
    """Add what says how a dataset's frames are made and stored."""
    options = (
        click.option("--append", is_flag=True, help="Add new tracks to a dataset that is already whole."),
        click.option("--sample-rate", type=int, default=22050, show_default=True, help="Hz."),
        click.option("--n-fft", type=int, default=1024, show_default=True, help="Samples in a window."),
        click.option(
            "--hop-length",
            type=int,
            default=512,
            show_default=True,
            help="Samples from one window to the next.",
        ),
        click.option("--window", type=click.Choice(["hann", "hamming"]), default="hann", show_default=True),
        click.option(
            "--mixdown",
            type=click.Choice(["mean", "sum"]),
            default="mean",
            show_default=True,
            help="How channels become one; the thesis's were summed.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float16", "float32"]),
            default="float16",
            show_default=True,
            help="Of the numbers on disk.",
        ),
        click.option("--shard-mb", type=int, default=128, show_default=True, help="Megabytes in a shard."),
        click.option("--encoding", help="Of tracks.csv.  [default: UTF-8, or UTF-16 by its byte-order mark]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def attribute_options(command: Command) -> Command:
    """Add what says where attributes of tracks are, and how they are read; see `attribute_file`."""
    options = (
        click.option(
            "--features",
            type=LOCAL_PATH,
            help="Attributes of tracks: CSV, TSV or Parquet, or an npz of track_ids and features.",
        ),
        click.option("--id-column", help="Of --features.  [default: track_id, or the first column]"),
        click.option(
            "--attribute",
            "kinds",
            multiple=True,
            metavar="NAME=KIND",
            help="Read a column of --features as numeric, categorical or labels (separated by |), or ignore it, "
            "where the values would be taken otherwise.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def attribute_file(
    features: Path | None, id_column: str | None, kinds: tuple[str, ...]
) -> "AttributeFile | None":
    """Return what `attribute_options` took, to be read; None without a file.

    Raises
    ------
    ConfigError
        When there is no such kind, or no file that the others could be of.
    """
    from pipelines.training.attribute_files import AttributeFile, parse_kinds

    if features is not None:
        return AttributeFile(features, parse_kinds(kinds), id_column)
    if id_column or kinds:
        raise ConfigError("--id-column and --attribute are of --features, and there is none.")
    return None


def reading_options(command: Command) -> Command:
    """Add what says how a dataset behind a URL is read; see `read_config`."""
    options = (
        click.option(
            "--reader",
            type=click.Choice(["ranges", "tfio"]),
            default="ranges",
            show_default=True,
            help="tfio: tensorflow-io, for local float32 shards.",
        ),
        click.option("--cache", type=LOCAL_PATH, help="Folder to keep what was read from a bucket."),
        click.option("--cache-size", default="200GB", show_default=True, help="Limit of --cache."),
        click.option("--in-flight", type=int, help="Requests to a bucket at a time.  [default: 32]"),
        click.option(
            "--timeout", type=float, help="Seconds until a request counts as stalled.  [default: 30]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_config(
    reader: str, cache: Path | None, cache_size: str, in_flight: int | None, timeout: float | None
) -> "ReadConfig":
    """Return the settings that `reading_options` took.

    Raises
    ------
    ConfigError
        When one of them is out of range.
    """
    from cs_keras.data.reader import ReadConfig
    from cs_keras.storage.cache import CacheConfig, parse_size
    from cs_keras.storage.remote import RemoteConfig, configure

    given = {"in_flight": in_flight, "timeout_s": timeout}
    remote = RemoteConfig(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    configure(remote)  # tables and headers are read before, and beside, what is given these settings
    max_bytes = parse_size(cache_size)
    return ReadConfig(remote, CacheConfig(cache, max_bytes) if cache else None, reader)
