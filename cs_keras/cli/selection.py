"""``cs-keras factors --select``: its options, and what it prints."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from cs_keras.factors.interactions import RowCounts
    from cs_keras.factors.store import Factors
    from cs_keras.storage.location import Location
    from pipelines.factors.fit import FactorsConfig

PAGE_WIDTH = 110  # characters, where no terminal says how many fit
SEARCH_OPTIONS = {
    "ranks": "--ranks",
    "alphas": "--alphas",
    "regularizations": "--regularizations",
    "max_settings": "--max-settings",
    "n_seeds": "--seeds",
    "n_averaged": "--average",
}
FIT_OPTIONS = {"n_factors": "--ranks", "alpha": "--alphas", "regularization": "--regularizations"}


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers with commas between."""

    name = "numbers"

    def __init__(self, kind: Callable[[str], float]) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return `value` as a tuple."""
        try:
            return tuple(map(self._kind, str(value).split(",")))
        except ValueError:
            whole = "whole numbers" if self._kind is int else "numbers"
            self.fail(f"Expected {whole} with commas between. Received: {value!r}.", param, ctx)


INTEGERS, FLOATS = Numbers(int), Numbers(float)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which settings are searched."""
    options = (
        click.option(
            "--select",
            is_flag=True,
            help="Search settings first, and take those on which seeds agree most of the ones that find held-out "
            "listening best. What is measured is kept: the same command goes on from there.",
        ),
        click.option("--ranks", type=INTEGERS, help="Dimensions to try.  [default: 16,32,64]"),
        click.option("--alphas", type=FLOATS, help="[default: 1,10,40]"),
        click.option("--regularizations", type=FLOATS, help="[default: 0.01,1,10,100]"),
        click.option(
            "--max-settings", type=int, help="Try a random part of them, this many.  [default: all]"
        ),
        click.option("--seeds", "n_seeds", type=int, help="Fits of each setting.  [default: 2]"),
        click.option(
            "--average",
            "n_averaged",
            type=int,
            help="Average so many seeds of the selected setting, if that measurably raises agreement.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_usage(select: bool, given: Path | None) -> None:
    """Raise UsageError where the command was given options that would do nothing."""
    context = click.get_current_context()
    if given and select:
        raise click.UsageError("--select fits factors; ready-made ones (--from-npz) cannot be searched.")
    if select:
        for name, instead in FIT_OPTIONS.items():
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"With --select give the values to try by {instead}.")
        return
    for name, option in SEARCH_OPTIONS.items():
        if context.params[name] is not None:
            raise click.UsageError(f"{option} is of a search: give --select too.")
    if len(context.params["iterations"] or ()) > 1:
        raise click.UsageError("Several --iterations are of a search: give --select too.")


def make_by_selection(
    listening: Path,
    dataset: "Location",
    settings: "FactorsConfig",
    name: str,
    search: dict[str, Any],
    reading: dict[str, Any],
) -> "tuple[Factors, RowCounts]":
    """Search settings, print the table, and make factors as recommended.

    `search` holds what `selection_options` took and ``iterations``, None where nothing was given; of `settings` the
    seed, the protocol and the scaling hold.
    """
    from cs_keras.cli.console import Console
    from cs_keras.factors.grid import Grid
    from pipelines.factors.select import (
        SelectionConfig,
        make_selected_factors,
        select_factors,
        selection_path,
    )

    given = {name: value for name, value in search.items() if value is not None}
    values = {
        field.name: given.pop(option)
        for field, option in zip(
            dataclasses.fields(Grid), ("ranks", "alphas", "regularizations", "iterations"), strict=True
        )
        if option in given
    }
    config = SelectionConfig(Grid(**values), seed=settings.wmf.seed, **given)
    console = Console()
    selection = select_factors(listening, dataset, config, name, console, **reading)
    _show(selection, selection_path(dataset, name).with_suffix(".md"))
    console.log("fitting the recommended setting to all listening")
    return make_selected_factors(listening, dataset, selection, settings, name, **reading)


def _show(selection: Any, path: "Location") -> None:
    from rich.console import Console

    from reports.formats.files import write_selection
    from reports.formats.terminal import to_rich
    from reports.tables.factor_selection import make_selection_section

    write_selection(path, selection)
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = max(console.width, PAGE_WIDTH)
    console.print(to_rich([make_selection_section(selection)]))
    click.echo(f"Written: {path}", err=True)
