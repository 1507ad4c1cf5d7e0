"""``cs-keras run-baselines``: the main job."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH

DEMO_FOLDER = Path("demo")


@click.command("run-baselines")
@click.argument("dataset", required=False, type=DATASET)
@click.option(
    "--models", default="bot,cnn-bn,lstm", show_default=True, help="Model keys separated by commas, or all."
)
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
    models: str,
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
    from cs_keras.models import MODEL_FILES, check_key

    keys = list(MODEL_FILES) if models == "all" else [key.strip() for key in models.split(",") if key.strip()]
    for key in keys:
        check_key(key)
    if not keys:
        raise click.UsageError("--models names no model.")
    changes = config.merge(
        config.load_toml(config_file) if config_file else {}, config.parse_overrides(assignments)
    )
    given: dict[str, Any] = {"train_fraction": train_fraction, "seed": seed}
    given["training"] = None if epochs is None else {"epochs": epochs}
    policy = "mixed_float16" if mixed_precision else None
    execution = {"dtype_policy": policy, "jit": jit or None, "devices": devices}
    given["execution"] = {name: value for name, value in execution.items() if value is not None} or None
    given = {name: value for name, value in given.items() if value is not None}
    changes = config.merge(changes, {"models": dict.fromkeys(keys, given)} if given else {})
    quiet_tensorflow()
    from pipelines.demo import make_demo
    from pipelines.run_baselines import run_baselines

    console = Console()
    if dataset is None:
        dataset = DEMO_FOLDER
        make_demo(dataset, progress=console)
    outcome = run_baselines(dataset, keys, runs, changes, factors_name, console, read_config(**reading))
    if outcome.runs:
        show_report(runs, runs / "report")
    if outcome.failed:
        raise CsKerasError(
            f"{len(outcome.failed)} of {len(keys)} models failed: {', '.join(outcome.failed)}."
        )
