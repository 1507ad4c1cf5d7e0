"""The command line: a lazy click group, so that help answers without importing TensorFlow."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import click

from cs_keras import __version__
from cs_keras.errors import CsKerasError

UPPER_PACKAGES = (
    "pipelines",
    "tuning",
    "reports",
)  # common names: another distribution may have brought one too
COMMANDS = (
    "run-baselines",
    "tune",
    "size-study",
    "predict",
    "features",
    "classify",
    "recommend",
    "outliers",
    "hybrid",
    "ensemble",
    "genres",
    "export",
    "ingest",
    "import-patches",
    "factors",
    "check",
    "report",
    "models",
    "tags",
    "demo-data",
)


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, the main job first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cs_keras.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="cs-keras")
def group() -> None:
    """Measure how well the sound of a brand-new track, alone, places it where listeners would."""
    _check_packages()


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; the exit status is 0 when done, 1 when it failed, 2 for wrong usage."""
    try:
        group.main(arguments, prog_name="cs-keras", standalone_mode=False)
    except click.exceptions.Exit as request:
        sys.exit(request.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was finished is kept: the same command goes on from there.", err=True)
        sys.exit(1)
    except CsKerasError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # what no step foresaw
        click.echo(f"Error: {error.filename or 'a file'}: {error.strerror or error}.", err=True)
        sys.exit(1)
    except MemoryError:
        click.echo("Error: the machine's memory is full.", err=True)
        sys.exit(1)
    sys.exit(0)


def _check_packages() -> None:
    home = Path(__file__).parents[2]
    for name in UPPER_PACKAGES:
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).parents[1] if spec and spec.origin else None
        if found != home:
            raise CsKerasError(
                f"The package {name!r} of cs-keras is hidden by another of that name: expected it in {home}, found "
                f"it in {found}; install cs-keras into an environment of its own."
            )
