"""The command line: a click group that imports a command's module on use, since TensorFlow loads slowly."""

import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import click

from cs_keras import __version__
from cs_keras.errors import CsKerasError

UPPER_PACKAGES = ("pipelines", "tuning", "reports")  # common names, which another distribution may use too
GROUPS = {
    "Data": ("ingest", "import-patches", "demo-data", "split", "factors", "check"),
    "Train and search": ("run-baselines", "tune", "size-study", "ensemble", "models", "settings"),
    "Evaluate and report": ("report", "runs", "classify", "retrieval", "hybrid", "genres"),
    "Use a model": ("predict", "recommend", "outliers", "features", "embed", "tags", "export", "card"),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)


class LazyGroup(click.Group):
    """A group that imports a command's module on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cs_keras.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, each with the first sentence of its help."""
        width = max(map(len, COMMANDS))
        for heading, names in GROUPS.items():
            with formatter.section(heading):
                commands = {name: self.get_command(ctx, name) for name in names}
                formatter.write_dl(
                    [
                        (f"{name:<{width}}", command.get_short_help_str(formatter.width))
                        for name, command in commands.items()
                        if command
                    ]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return a command by the first argument; the error for an unknown one suggests the most similar."""
        if args and args[0] not in COMMANDS and (close := difflib.get_close_matches(args[0], COMMANDS, n=1)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="cs-keras")
def group() -> None:
    """Predict collaborative-filtering factors of new tracks from audio, and evaluate the predictions."""
    _check_packages()


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit with status 0 on success, 1 on failure, 2 for wrong usage."""
    _leave_descriptor_2()
    try:
        group.main(arguments, prog_name="cs-keras", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Finished work is saved: the same command resumes.", err=True)
        sys.exit(1)
    except CsKerasError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # that no step expected
        click.echo(f"Error: {error.filename or 'a file'}: {error.strerror or error}.", err=True)
        sys.exit(1)
    except MemoryError:
        click.echo("Error: out of memory.", err=True)
        sys.exit(1)
    sys.exit(0)


def _leave_descriptor_2() -> None:
    """Print messages by another descriptor, since `cs_keras.audio.decode` silences libraries that write to 2."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is no file
        if sys.stderr.fileno() == 2:
            sys.stderr = open(os.dup(2), "w", 1, sys.stderr.encoding, sys.stderr.errors)


def _check_packages() -> None:
    home = Path(__file__).parents[2]
    for name in UPPER_PACKAGES:
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).parents[1] if spec and spec.origin else None
        if found != home:
            raise CsKerasError(
                f"The package {name!r} of cs-keras is shadowed by another of that name: expected it in {home}. "
                f"Received: {found}. Install cs-keras into an environment of its own."
            )
