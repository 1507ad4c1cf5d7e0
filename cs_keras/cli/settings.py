"""``cs-keras settings``: the settings that all models share."""

import difflib
import re

import click

from cs_keras.cli.console import conclude, print_rows, print_settings
from cs_keras.cli.options import Command
from cs_keras.errors import ConfigError
from cs_keras.messages import count


@click.command("settings", cls=Command)
@click.argument("name", required=False, metavar="[NAME]")
def command(name: str | None) -> None:
    """List the settings that models share, with their defaults.

    NAME is a setting, such as training.loss, or a group of them, such as training, whose meanings are then shown
    in full. Defaults are those of most models; `cs-keras models KEY` lists the settings of one with its own.
    """
    from cs_keras.config import format_value, list_settings
    from pipelines.training.run_config import RunConfig

    settings = list(list_settings(RunConfig))
    if name is None:
        rows = [
            ((path, format_value(value), re.split(r"[.:;] ", f"{meaning} ")[0]), path.rpartition(".")[0])
            for path, value, meaning in settings
        ]
        print_rows(("setting", "default", "meaning"), rows)
        conclude(f"{count(len(settings), 'setting')} of --set and --config.", "settings", "training.loss")
        return
    found = [one for one in settings if one[0] == name or one[0].startswith(f"{name}.")]
    if not found:
        close = difflib.get_close_matches(name, [path for path, *_ in settings], n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"There is no setting {name!r} that models share.{hint}")
    print_settings(found)
    path, value, _ = found[0]
    conclude(
        f"{count(len(found), 'setting')}.",
        "run-baselines",
        "DATASET",
        "--set",
        f"{path}={format_value(value)}",
    )
