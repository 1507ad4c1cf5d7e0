"""``cs-keras runs``: what was trained, on what, and how well."""

import sys
from pathlib import Path

import click

from cs_keras.cli.console import (
    CONCLUSION_WIDTH,
    conclude,
    print_next,
    print_sections,
)
from cs_keras.cli.options import LOCAL_PATH, Command
from cs_keras.messages import count

yes_option = click.option("--yes", is_flag=True, help="Remove without asking.")


@click.group("runs")
def command() -> None:
    """List, compare, show and remove runs.

    A run is a folder that run-baselines or ensemble made.
    """


@command.command("list", cls=Command)
@click.argument("folder", metavar="[RUNS]", type=LOCAL_PATH, default="runs")
def list_command(folder: Path) -> None:
    """List the runs in a folder: data, training, overlap."""
    from reports.commands.runs import list_runs

    section, errors = list_runs(folder)
    print_sections([section], CONCLUSION_WIDTH)
    for error in errors:
        click.echo(f"Left out: {error}", err=True)
    print_next("runs compare RUN RUN")


@command.command("show", cls=Command)
@click.argument("run", type=LOCAL_PATH)
def show_command(run: Path) -> None:
    """Show the settings of a run, and what came out."""
    from reports.commands.runs import show_run

    print_sections(show_run(run), CONCLUSION_WIDTH)
    print_next(f"recommend {run} TRACK")


@command.command("compare", cls=Command)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, type=LOCAL_PATH)
def compare_command(runs: tuple[Path, ...]) -> None:
    """Show the settings in which runs differ, and which is better."""
    if len(runs) < 2:
        raise click.UsageError("Name two or more runs.")
    from reports.commands.runs import compare_runs

    print_sections(compare_runs(runs), CONCLUSION_WIDTH)
    print_next(f"report {runs[0].parent} --format html --dataset DATASET")


@command.command("rm", cls=Command)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=LOCAL_PATH)
@yes_option
def rm_command(runs: tuple[Path, ...], yes: bool) -> None:
    """Remove runs, and cached results that only they used."""
    from pipelines.removal import remove_runs, require_runs

    require_runs(runs)
    if _is_confirmed(f"Remove {', '.join(map(str, runs))}?", yes):
        caches = remove_runs(runs)
        sentence = f"Removed: {count(len(runs), 'run')} and {count(len(caches), 'cached result')}."
        conclude(sentence, "runs", "list", runs[0].parent)


@command.command("prune", cls=Command)
@click.argument("folder", metavar="[RUNS|STUDY]", type=LOCAL_PATH, default="runs")
@click.option("--all", "is_all", is_flag=True, help="Remove also what existing runs used.")
@yes_option
def prune_command(folder: Path, is_all: bool, yes: bool) -> None:
    """Remove cached results that no run uses any more.

    Codebooks, features and branches that several runs or trials use are in the folder .shared. Finished runs do not
    need them; a new run computes them again.
    """
    from pipelines.training.shared_cache import remove_caches

    if _is_confirmed(f"Remove {'all' if is_all else 'unused'} cached results of {folder}?", yes):
        caches, n_bytes = remove_caches(folder, "all" if is_all else "unrecorded")
        conclude(
            f"Removed: {count(len(caches), 'cached result')}, {n_bytes / 1e6:,.1f} MB.",
            "runs",
            "list",
            folder,
        )


def _is_confirmed(question: str, yes: bool) -> bool:
    """Return the answer to a question, True with --yes; raise UsageError where nobody can answer."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal, --yes is needed.")
    return click.confirm(question)
