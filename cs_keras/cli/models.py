"""``cs-keras models``: the baselines, and the settings of one."""

import inspect
from collections.abc import Sequence

import click

from cs_keras.cli.console import conclude, open_page, print_next, print_rows, print_settings
from cs_keras.cli.options import Command, factors_renamed

DEFAULT_N_FACTORS = 200  # of the reference thesis's parameter counts
_WIDTH = 22  # of the longest key
_TABLE_WIDTH = 120  # characters; two lines for each model where there are fewer
_PIPE_WIDTH = 160  # characters of a table whose descriptions do not wrap


@click.command("models", cls=Command)
@click.argument("key", required=False, metavar="[KEY]")
@click.option(
    "--params",
    is_flag=True,
    help="Build each model and count its trainable parameters, next to the reference thesis's counts.",
)
@click.option(
    "--n-factors",
    type=click.IntRange(1),
    default=DEFAULT_N_FACTORS,
    help="Number of outputs for --params.",
)
@factors_renamed
def command(key: str | None, params: bool, n_factors: int) -> None:
    """List the models, or the settings and source of one.

    KEY is a model; its settings are listed with their defaults and meanings. `best` is the choice of a model by
    validation tracks.
    """
    if params:
        if key:
            raise click.UsageError("--params counts the parameters of all models; give it or KEY.")
        _count_parameters(n_factors)
    elif key == "best":
        _show_best()
    elif key:
        _show_model(key)
    else:
        _list_models()


def _list_models() -> None:
    """Print a table of all models by family; on a narrow terminal, two lines for each."""
    from cs_keras.models import REGISTRY
    from cs_keras.models.registry import read_seconds

    seconds = read_seconds()
    rows = []
    for key, entry in REGISTRY.items():
        time = seconds.get(key, "n/a")
        time += "" if time.endswith("*") else " "
        row = key, entry.needs, entry.summary, f"{entry.parameters:,}", time, entry.source
        rows.append((row, entry.family))
    if open_page(_PIPE_WIDTH).width >= _TABLE_WIDTH:
        header = ("model", "needs", "what it is", "parameters", "seconds", "source")
        print_rows(header, rows, right=("parameters", "seconds"), width=_PIPE_WIDTH)
    else:
        _print_narrow(rows)
    click.echo(
        f"{len(REGISTRY)} models. Parameters: trainable ones, for {DEFAULT_N_FACTORS} factors. Seconds on two CPU\n"
        "cores, for 1,000 tracks: an epoch over one sequence of each; *: all of training.\n"
        "run-baselines --models best trains a few and chooses one: cs-keras models best."
    )
    print_next("models KEY")


def _print_narrow(rows: Sequence[tuple[Sequence[str], str]]) -> None:
    """Print two lines for each model, in 80 columns."""
    click.echo(
        f"{'model':<26}{'parameters':>13}{'seconds':>9}   source\n    what it is; what it needs\n{80 * '─'}"
    )
    last = ""
    for (key, needs, summary, parameters, seconds, source), family in rows:
        if family != last:
            click.echo(click.style(family, italic=True))
            last = family
        click.echo(f"{key:<26}{parameters:>13}{seconds:>10}  {source}")
        click.echo(click.wrap_text(f"{summary}; needs {needs}", 80, "    ", "    "))


def _show_model(key: str) -> None:
    """Print description, source and settings of a model."""
    from cs_keras.models import REGISTRY, check_key, model_module
    from cs_keras.models.registry import split_key

    check_key(key)
    from cs_keras.config import list_settings
    from cs_keras.models.spec import IDENTITY
    from pipelines.training.run_config import resolve

    entry = REGISTRY[split_key(key)[0]]
    summary = (
        f"{key} ({entry.family}): {entry.summary}. Needs {entry.needs}. Source: {entry.source or 'n/a'}."
    )
    source = inspect.cleandoc(str(model_module(key).__doc__))
    text = f"{summary}\n\n{source}"
    click.echo(f"{click.wrap_text(text, open_page().width, preserve_paragraphs=True)}\n")
    print_settings(one for one in list_settings(resolve(key, {})) if one[0] not in IDENTITY)
    conclude(
        f"{entry.parameters:,} trainable parameters for {DEFAULT_N_FACTORS} factors.",
        *("run-baselines", "DATASET", "--models", key, "--set", f"models.{key}.training.epochs=10"),
    )


def _show_best() -> None:
    """Print what `run-baselines --models best` does."""
    from pipelines.training.requirements import CANDIDATES

    text = (
        "best is no model: run-baselines --models best trains the strongest model for each kind of input that the "
        f"dataset has ({', '.join(CANDIDATES)}), and chooses the one with the highest mean cosine of predicted and "
        "reference factors of validation tracks, the run ensemble-best. The choice uses no test track, and is "
        "uncertain where validation tracks are few. To predict and recommend, name the run that it chose."
    )
    click.echo(click.wrap_text(text, min(open_page().width, 80)))
    print_next("run-baselines DATASET --models best")


def _count_parameters(n_factors: int) -> None:
    """Build each model, and print its number of parameters and the thesis's."""
    import keras

    from cs_keras.models import REGISTRY, get_baseline
    from cs_keras.models.distribution import build_network
    from cs_keras.models.spec import architecture, required_audio, trainable_parameters

    click.echo(
        f"{'model':<{_WIDTH}}{'trainable':>12}{'thesis':>13}{'difference':>13}  interpretation of the thesis"
    )
    for key in REGISTRY:
        keras.backend.clear_session()
        baseline = architecture(get_baseline(key))
        model = build_network(baseline, n_factors, required_audio(baseline))
        click.echo(_row(key, trainable_parameters(model), n_factors))


def _row(key: str, n_trainable: int, n_factors: int) -> str:
    """Return a line of the table; the thesis's counts are for its own number of factors only."""
    from cs_keras.models import get_baseline
    from cs_keras.models.thesis import N_FACTORS, THESIS

    start = f"{key:<{_WIDTH}}{n_trainable:>12,}"
    if not get_baseline(key).procedure.takes_audio:
        return f"{start}{'-':>13}{'-':>13}  for a usual number of inputs, which depends on the dataset"
    reported = THESIS.get(key)
    if reported is None or n_factors != N_FACTORS:
        return f"{start}{'-':>13}{'-':>13}"
    difference = n_trainable - reported.parameters
    return f"{start}{reported.parameters:>13,}{difference:>+13,}  {reported.reading}"
