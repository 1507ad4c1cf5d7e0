"""``cs-keras models``: the baselines there are."""

import click

DEFAULT_N_FACTORS = 200  # the reference thesis's, which its parameter counts are for


@click.command("models")
@click.option(
    "--params",
    is_flag=True,
    help="Build each model and count its trainable parameters, beside the reference thesis's where there are any.",
)
@click.option(
    "--factors",
    "n_factors",
    type=click.IntRange(1),
    default=DEFAULT_N_FACTORS,
    show_default=True,
    help="Outputs to count with.",
)
def command(params: bool, n_factors: int) -> None:
    """List the models that run-baselines and --models know."""
    from cs_keras.cli.console import quiet_tensorflow
    from cs_keras.models import MODEL_FILES, get_baseline, model_module

    if not params:
        for key in MODEL_FILES:
            click.echo(key)
        return
    quiet_tensorflow()
    import keras

    from cs_keras.models.spec import architecture, required_audio, trainable_parameters

    click.echo(_HEADER)
    for key in MODEL_FILES:
        keras.backend.clear_session()
        baseline = architecture(get_baseline(key))
        model = model_module(key).build(baseline, n_factors, required_audio(baseline))
        click.echo(_row(key, trainable_parameters(model), n_factors))


_WIDTH = 22  # of the longest key
_HEADER = (
    f"{'model':<{_WIDTH}}{'trainable':>12}{'thesis':>13}{'difference':>13}  how the thesis's model was read"
)


def _row(key: str, ours: int, n_factors: int) -> str:
    """Return a line of the table; the thesis's counts are for its own number of factors only."""
    from cs_keras.models import get_baseline
    from cs_keras.models.thesis import N_FACTORS, THESIS

    start = f"{key:<{_WIDTH}}{ours:>12,}"
    if get_baseline(key).needs != "sound":
        return f"{start}{'-':>13}{'-':>13}  of as many inputs as are usual; a dataset's may be others"
    reported = THESIS.get(key)
    if reported is None or n_factors != N_FACTORS:
        return f"{start}{'-':>13}{'-':>13}"
    difference = ours - reported.parameters
    return f"{start}{reported.parameters:>13,}{difference:>+13,}  {reported.reading}"
