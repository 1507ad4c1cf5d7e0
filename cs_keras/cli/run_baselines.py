"""``cs-keras run-baselines``: train and evaluate baselines."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import Console
from cs_keras.cli.options import (
    CANDIDATES,
    COMBINE,
    DATASET,
    LOCAL_PATH,
    Command,
    attribute_files,
    attribute_options,
    factors_option,
    mlflow_option,
    read_config,
    read_settings,
    reading_options,
    settings_options,
    split_name_option,
)
from cs_keras.cli.report import Printing, print_options, show_report
from cs_keras.errors import CsKerasError
from cs_keras.messages import count

DEMO_FOLDER = Path("demo")


@click.command("run-baselines", cls=Command)
@click.argument("dataset", required=False, type=DATASET)
@click.option(
    "--models",
    help="Model keys separated by commas; all that can run on the data; or best, of a few, by validation tracks.  "
    "[default: bot,cnn-bn,lstm, and attributes on each table of --features; without audio all that can run]",
)
@click.option(
    "--combine",
    type=COMBINE,
    help="Evaluate the models as an ensemble too, as `cs-keras ensemble` does.  [default: best for --models best]",
)
@attribute_options
@click.option(
    "--labels",
    type=LOCAL_PATH,
    help="Labels to predict instead of factors: a table of track_id and tag. With --factors, by factors of labels.",
)
@click.option("--n-labels", type=int, help="Number of labels, those of the most train tracks.  [default: 50]")
@click.option(
    "--out",
    "runs",
    default="runs",
    type=LOCAL_PATH,
    help="Folder for run folders and tables.",
)
@factors_option
@split_name_option
@click.option(
    "--cross-validate",
    is_flag=True,
    help="Rotate the folds, so that every track is a test track once, and pool the results.",
)
@click.option("--rotations", type=int, help="Rotations of --cross-validate: 2, 5 or 10.  [default: 5]")
@click.option(
    "--candidates",
    type=CANDIDATES,
    help="Candidates of lists. new: test tracks; all: additionally, lists of all tracks.  [default: new]",
)
@print_options
@settings_options
@click.option("--train-fraction", type=float, help="Share of the train tracks to use.  [default: 1.0]")
@click.option("--epochs", type=int, help="Epochs of every model.  [default: each model's own]")
@click.option("--seed", type=int, help="Seed of weights, crops, order and tests.  [default: 0]")
@click.option("--mixed-precision", is_flag=True, help="Compute in float16 on float32 variables.")
@click.option("--jit", is_flag=True, help="Compile training and prediction with XLA; on one device.")
@click.option("--devices", type=int, help="GPUs that share each batch.  [default: all]")
@mlflow_option
@reading_options
def command(
    dataset: Any,
    models: str | None,
    combine: str | None,
    labels: Path | None,
    n_labels: int | None,
    runs: Path,
    factors_name: str | None,
    split_name: str | None,
    cross_validate: bool,
    rotations: int | None,
    candidates: str | None,
    train_fraction: float | None,
    epochs: int | None,
    seed: int | None,
    mixed_precision: bool,
    jit: bool,
    devices: int | None,
    mlflow: str | None,
    **options: Any,
) -> None:
    """Train baselines on a dataset and print their metrics.

    The metric is the overlap between top-k lists of predicted and of reference factors. Without DATASET the
    command makes and uses demo data. Finished runs are reused: after an interruption, the same command resumes.
    Tables are written to OUT/report as Markdown, CSV and LaTeX. With --labels the metrics are ROC AUC and average
    precision of labels.
    """
    from cs_keras import config

    if rotations and not cross_validate:
        raise click.UsageError("--rotations needs --cross-validate.")
    combine = combine or ("best" if models == "best" else None)
    if combine and cross_validate:
        raise click.UsageError("--cross-validate has no ensembles: give it or --combine, or --models best.")
    if split_name and cross_validate:
        raise click.UsageError("--cross-validate rotates the folds: give it or --split-name.")
    if labels and (cross_validate or combine or candidates):
        raise click.UsageError(
            "--labels is for single models: give no --cross-validate, --combine or --candidates."
        )
    if n_labels is not None and not labels:
        raise click.UsageError("--n-labels needs --labels.")
    printing = Printing(*(options.pop(field.name) for field in dataclasses.fields(Printing)))
    keys = _split_keys(models)
    attributes = attribute_files(options)
    changes = read_settings(options)
    policy = "mixed_float16" if mixed_precision else None
    given = _without_none(
        {
            "train_fraction": train_fraction,
            "seed": seed,
            "evaluation": _without_none({"candidates": candidates}),
            "training": _without_none({"epochs": epochs}),
            "execution": _without_none({"dtype_policy": policy, "jit": jit or None, "devices": devices}),
        }
    )
    tracker = None
    if mlflow is not None:
        from reports.tracking import MlflowTracker

        tracker = MlflowTracker(mlflow)  # before any training: it may be unreachable
    from pipelines.cross_validation import cross_validate as validate
    from pipelines.demo import make_demo
    from pipelines.evaluation.ensemble import combine_runs
    from pipelines.factors.labels import LabelsConfig
    from pipelines.run_baselines import run_baselines

    console = Console()
    tables = attributes.read()
    if dataset is None:
        dataset = DEMO_FOLDER
        make_demo(dataset, progress=console)
    reading_settings = read_config(**options)  # before anything is read from a bucket
    keys = keys or _choose(models, dataset, list(tables), console)
    changes = config.merge(changes, {"models": dict.fromkeys(keys, given)} if given else {})
    data = (dataset, keys, runs, changes, factors_name, console, reading_settings, tables)
    target = LabelsConfig(labels, **_without_none({"n_labels": n_labels}) or {}) if labels else None
    outcome = validate(*data, rotations or 5) if cross_validate else run_baselines(*data, split_name, target)
    finished = [*outcome.runs]
    if combine and len(finished) > 1:
        finished.append(combine_runs(finished, dataset, runs, combine, console, reading_settings))
    if outcome.runs:
        show_report(runs, printing, dataset=None if cross_validate else dataset)
    if tracker:  # after the report: the server may be gone by now
        for folder in finished:
            tracker.log_run(folder)
        console.log(f"{count(len(finished), 'run')} logged to {mlflow}")
    if outcome.failed:
        raise CsKerasError(
            f"{len(outcome.failed)} of {len(keys)} models failed: {', '.join(outcome.failed)}."
        )


def _without_none(values: dict[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in values.items() if value is not None} or None


def _split_keys(models: str | None) -> list[str]:
    """Return the models named one by one; none where the dataset decides."""
    from cs_keras.models import check_key

    if models in (None, "all", "best"):
        return []
    keys = [key.strip() for key in models.split(",") if key.strip()]
    for key in keys:
        check_key(key)
    if not keys:
        raise click.UsageError("--models names no model.")
    return keys


def _choose(models: str | None, dataset: Any, tables: list[str], console: Console) -> list[str]:
    """Return the models that can run on a dataset, and report the number of others."""
    from cs_keras.data.schema import read_info, read_tracks
    from pipelines.training.requirements import choose_models

    audio = read_info(dataset).audio
    keys, unable = choose_models(models, read_tracks(dataset), tables, audio)
    if unable:
        console.log(
            f"models that can run on {dataset}: {', '.join(keys)}; {len(unable)} others need data that it lacks"
        )
    return keys
