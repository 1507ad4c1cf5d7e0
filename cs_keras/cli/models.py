"""``cs-keras models``: the baselines and their numbers of parameters."""

import click

from cs_keras.cli.console import quiet_tensorflow
from cs_keras.cli.options import factors_renamed

DEFAULT_N_FACTORS = 200  # of the reference thesis's parameter counts
_WIDTH = 22  # of the longest key


@click.command("models")
@click.option(
    "--params",
    is_flag=True,
    help="Build each model and count its trainable parameters, next to the reference thesis's counts.",
)
@click.option(
    "--n-factors",
    type=click.IntRange(1),
    default=DEFAULT_N_FACTORS,
    show_default=True,
    help="Number of outputs for --params.",
)
@factors_renamed
def command(params: bool, n_factors: int) -> None:
    """List the models with their family and description."""
    from cs_keras.models import REGISTRY, get_baseline, model_module

    if not params:
        keys, families = max(map(len, REGISTRY)), max(len(entry.family) for entry in REGISTRY.values())
        for key, entry in REGISTRY.items():
            click.echo(f"{key:<{keys}}  {entry.family:<{families}}  {entry.summary}")
        return
    quiet_tensorflow()
    import keras

    from cs_keras.models.spec import architecture, required_audio, trainable_parameters

    click.echo(
        f"{'model':<{_WIDTH}}{'trainable':>12}{'thesis':>13}{'difference':>13}  interpretation of the thesis"
    )
    for key in REGISTRY:
        keras.backend.clear_session()
        baseline = architecture(get_baseline(key))
        model = model_module(key).build(baseline, n_factors, required_audio(baseline))
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
