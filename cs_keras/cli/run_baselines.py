"""``cs-keras run-baselines``: the main job."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.options import attribute_file, attribute_options, read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH

DEMO_FOLDER = Path("demo")


@click.command("run-baselines")
@click.argument("dataset", required=False, type=DATASET)
@click.option(
    "--models",
    help="Model keys separated by commas, or all that can run on what there is.  [default: bot,cnn-bn,lstm, and "
    "attributes with --features; without sound all that can run]",
)
@attribute_options
@click.option(
    "--out",
    "runs",
    default="runs",
    show_default=True,
    type=LOCAL_PATH,
    help="Folder for run folders and tables.",
)
@click.option("--factors", "factors_name", help="Which of the dataset's factors to predict.  [default: wmf]")
@click.option("--config", "config_file", type=LOCAL_PATH, help="TOML file of settings.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="One setting, such as training.epochs=10 or models.bot.seed=1.",
)
@click.option("--train-fraction", type=float, help="Share of the train tracks to use.  [default: 1.0]")
@click.option("--epochs", type=int, help="For every model.  [default: each model's own]")
@click.option("--seed", type=int, help="[default: 0]")
@click.option("--mixed-precision", is_flag=True, help="Compute in float16 on float32 variables.")
@click.option("--jit", is_flag=True, help="Compile training and prediction with XLA; on one device.")
@click.option("--devices", type=int, help="GPUs that share each batch.  [default: all]")
@reading_options
def command(
    dataset: Any,
    models: str | None,
    features: Path | None,
    id_column: str | None,
    kinds: tuple[str, ...],
    runs: Path,
    factors_name: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    train_fraction: float | None,
    epochs: int | None,
    seed: int | None,
    mixed_precision: bool,
    jit: bool,
    devices: int | None,
    **reading: Any,
) -> None:
    """Train baselines on a dataset and print how far their lists overlap the true ones.

    Without DATASET the built-in demo data are made and used. What is finished is not done again: the same command
    goes on where it was stopped. Tables go to OUT/report as Markdown, CSV and LaTeX.
    """
    from cs_keras import config
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.cli.report import show_report
    from cs_keras.errors import CsKerasError

    keys = _named(models)
    attributes = attribute_file(features, id_column, kinds)
    changes = config.merge(
        config.load_toml(config_file) if config_file else {}, config.parse_overrides(assignments)
    )
    given: dict[str, Any] = {"train_fraction": train_fraction, "seed": seed}
    given["training"] = None if epochs is None else {"epochs": epochs}
    policy = "mixed_float16" if mixed_precision else None
    execution = {"dtype_policy": policy, "jit": jit or None, "devices": devices}
    given["execution"] = {name: value for name, value in execution.items() if value is not None} or None
    given = {name: value for name, value in given.items() if value is not None}
    quiet_tensorflow()
    from pipelines.demo import make_demo
    from pipelines.run_baselines import run_baselines

    console = Console()
    table = attributes.read() if attributes else None
    if dataset is None:
        dataset = DEMO_FOLDER
        make_demo(dataset, progress=console)
    reading_settings = read_config(**reading)  # before anything is read from a bucket
    keys = keys or _choose(models, dataset, table is not None, console)
    changes = config.merge(changes, {"models": dict.fromkeys(keys, given)} if given else {})
    outcome = run_baselines(dataset, keys, runs, changes, factors_name, console, reading_settings, table)
    if outcome.runs:
        show_report(runs)
    if outcome.failed:
        raise CsKerasError(
            f"{len(outcome.failed)} of {len(keys)} models failed: {', '.join(outcome.failed)}."
        )


def _named(models: str | None) -> list[str]:
    """Return the models that are named one by one; none where the dataset decides."""
    from cs_keras.models import check_key

    if models is None or models == "all":
        return []
    keys = [key.strip() for key in models.split(",") if key.strip()]
    for key in keys:
        check_key(key)
    if not keys:
        raise click.UsageError("--models names no model.")
    return keys


def _choose(models: str | None, dataset: Any, has_attributes: bool, console: Any) -> list[str]:
    """Return the models that can run on a dataset, telling how many cannot."""
    from cs_keras.data.schema import read_info, read_tracks
    from pipelines.training.requirements import choose_models

    audio = read_info(dataset).audio
    keys, unable = choose_models(models, read_tracks(dataset), has_attributes, audio)
    if unable:
        console.log(
            f"models that can run on {dataset}: {', '.join(keys)}; {len(unable)} others need what it lacks"
        )
    return keys
