"""``--runner`` for the commands that Apache Beam can distribute over processes or machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.options import Command, shared_option
from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from cs_keras.storage.location import Location

RUNNERS = ("DirectRunner", "DaskRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner")


class BeamCommand(Command):
    """A command with ``--runner``, which passes the options after ``--`` to Beam unchanged."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set Beam's options aside before click takes them for files."""
        beam_options: list[str] = []
        if "--" in args:
            end = args.index("--")
            if any(arg == "--runner" or arg.startswith("--runner=") for arg in args[:end]):
                args, beam_options = args[:end], args[end + 1 :]
        ctx.meta[__name__] = beam_options
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Name Beam's options in the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- BEAM OPTIONS]"]


runner_option = shared_option(
    "--runner",
    type=click.Choice(RUNNERS),
    help="Run on Apache Beam; its own options follow --, as in: -- --direct_num_workers=4 "
    "--direct_running_mode=multi_processing",
)


def beam_flags(runner: str | None) -> tuple[str, ...]:
    """Return the options for Beam, ``--runner=`` first; none when the work stays in this process.

    Raises
    ------
    ConfigError
        When Beam's options name another runner.
    """
    if runner is None:
        return ()
    options: list[Any] = click.get_current_context().meta[__name__]
    if any(option.partition("=")[0] == "--runner" for option in options):
        raise ConfigError("Name the runner once: --runner goes before --, and Beam's other options after it.")
    return (f"--runner={runner}", *options)


def locate_for_workers(location: "Location", flags: tuple[str, ...]) -> "Location":
    """Return a local path as an absolute one where workers take it, whose folder is another than this process's."""
    return location.absolute() if flags and isinstance(location, Path) else location
