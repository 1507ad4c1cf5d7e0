"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def dataset_options(command: Command) -> Command:
    """Add what says how a dataset's magnitudes are made and stored."""
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
            help="Of the magnitudes on disk.",
        ),
        click.option("--shard-mb", type=int, default=128, show_default=True, help="Megabytes in a shard."),
        click.option("--encoding", help="Of tracks.csv.  [default: UTF-8, or UTF-16 by its byte-order mark]"),
    )
    for option in reversed(options):
        command = option(command)
    return command
