"""``cs-keras models``: the baselines there are."""

import click

DEFAULT_N_FACTORS = 200  # the reference thesis's, which its parameter counts are for


@click.command("models")
@click.option("--params", is_flag=True, help="Build each model and count its trainable parameters.")
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

    from cs_keras.audio.settings import AudioConfig
    from cs_keras.models.spec import trainable_parameters

    for key in MODEL_FILES:
        keras.backend.clear_session()
        model = model_module(key).build(get_baseline(key), n_factors, AudioConfig())
        click.echo(f"{key:<16}{trainable_parameters(model):>14,}")
