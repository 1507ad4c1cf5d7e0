"""``cs-keras classify``: support vector machines on features of labelled tracks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import Console, conclude, print_table, print_written
from cs_keras.cli.options import DATASET, LOCAL_PATH, Command, renamed
from cs_keras.errors import ConfigError
from cs_keras.messages import count

HEADS = ("linear", "rbf")
MAX_FOLD_ROWS = 20  # with more folds, the table has their mean only; the file of --out has all


@click.command("classify", cls=Command)
@click.argument("features", type=DATASET, metavar="FEATURES.npz|RUN")
@click.argument("labels", type=LOCAL_PATH, required=False, metavar="[LABELS.csv]")
@click.option(
    "--dataset",
    type=DATASET,
    help="Use its tracks' first genres and artists in place of LABELS; with LABELS its artists alone.",
)
@click.option(
    "--all-genres", is_flag=True, help="With --dataset: all genres of a track, not the first alone."
)
@click.option(
    "--n-labels",
    type=click.IntRange(2),
    help="Number of labels, those of the most tracks, where tracks have several.  [default: 50]",
)
@click.option(
    "--head", type=click.Choice(HEADS), help="Kernel of the support vector machine.  [default: both]"
)
@click.option(
    "--n-folds",
    type=int,
    metavar="N",
    help="Number of folds to generate.  [default: the column fold of LABELS; else 10]",
)
@click.option(
    "--fold-table", type=LOCAL_PATH, help="CSV with the fold of each track: columns track_id and fold."
)
@renamed(
    "--folds",
    "--n-folds",
    "--folds takes artist or track, what stays in one fold; for a number of folds use --n-folds, for a table of "
    "them --fold-table.",
)
@click.option(
    "--repeats",
    type=int,
    default=1,
    help="Number of cross-validations with different folds.",
)
@click.option("--seed", type=int, default=0, help="Seed of folds and intervals.")
@click.option("--out", type=DATASET, metavar="FILE.json", help="JSON file for all values; may be a URL.")
def command(
    features: Any,
    labels: Path | None,
    dataset: Any,
    all_genres: bool,
    n_labels: int | None,
    head: str | None,
    n_folds: int | None,
    fold_table: Path | None,
    repeats: int,
    seed: int,
    out: Any,
) -> None:
    """Cross-validate classifiers on features of labelled tracks.

    FEATURES is written by `cs-keras features` or `cs-keras embed`; of a RUN the factors that it predicted. LABELS
    is a table track_id,label (or tag) with optional columns fold, artist and album. Scaling, C, gamma (by an inner
    cross-validation) and the support vector machine are fitted on all folds but one. Generated folds are stratified
    by label, and all tracks of an artist, or of an album where LABELS has no artists, are in one fold; where a
    single artist (album) of a label is left for fitting, settings are chosen on single tracks. Baseline: the
    commonest label of the other folds.

    Accuracy is the share of correct tracks. 95 % intervals are over tracks, by bootstrap; with --repeats also
    over folds, corrected for overlapping training sets (Nadeau & Bengio 2003).

    Where LABELS has several rows for a track, each label has a classifier of its own, one against the rest, which
    ranks the tracks of each fold: means over labels and folds of ROC AUC (area under the curve) and average
    precision (mAP), with 95 % intervals by jackknife over artists (albums, or tracks, where folds have no
    artists). Labels that a fold cannot evaluate are left out.
    """
    if labels is None and dataset is None:
        raise click.UsageError("Name either a table of LABELS or a dataset by --dataset.")
    if all_genres and (dataset is None or labels is not None):
        raise click.UsageError("--all-genres needs --dataset, without LABELS.")
    if n_folds is not None and fold_table is not None:
        raise click.UsageError("Give --n-folds or --fold-table, not both.")
    if out is not None and out.suffix.lower() != ".json":
        raise ConfigError(f"--out must end in .json. Received: {out}.")
    from cs_keras.runs import write_json
    from pipelines.evaluation.classify import classify_features
    from pipelines.evaluation.classify_tags import DEFAULT_LABELS
    from pipelines.evaluation.label_folds import FoldsConfig
    from pipelines.evaluation.labels import add_artists, genres_of, read_labels

    settings = FoldsConfig(fold_table if n_folds is None else n_folds, repeats, seed)
    if labels is None:
        labelled = genres_of(dataset)
        if labelled.is_multi_label and not all_genres:
            n_several = sum(len(own) > 1 for own in labelled.labels.values())
            click.echo(
                f"{count(n_several, 'track')} of several genres: the first is used (--all-genres).", err=True
            )
            labelled = labelled.first_only()
    else:
        labelled = read_labels(labels)
        if dataset is not None:
            labelled = add_artists(labelled, dataset)
    heads = HEADS if head is None else (head,)
    result = classify_features(features, labelled, heads, settings, Console(), n_labels or DEFAULT_LABELS)
    if out is not None:
        write_json(out, result)
    if "left_out" in result:
        sentence = _show_tags(result)
        following = ("run-baselines", dataset or "DATASET", "--labels", labels) if labels else None
    else:
        sentence, following = _show(result), None
    if out is not None:
        print_written([out])
    source = ("--dataset", dataset) if labels is None else ("--labels", labels)
    conclude(f"{features}: {sentence}", *(following or ("retrieval", features, *source)))


def _show(result: dict[str, Any]) -> str:
    """Print accuracies, and a confusion matrix for each head; return the conclusion."""
    folds, heads = result["folds"], result["heads"]
    print_table(
        _title("Accuracy in %", result), ["", *heads], _accuracies(list(heads.values())), right=tuple(heads)
    )
    names = [f"{number} {name}" for number, name in enumerate(result["classes"], 1)]
    numbers = [str(number) for number in range(1, len(names) + 1)]
    repeats = f", {folds['repeats']} times" if folds["repeats"] > 1 else ""
    for head in (name for name in heads if name in HEADS):
        click.echo("")
        rows = [[name, *map(str, row)] for name, row in zip(names, heads[head]["confusion"], strict=True)]
        title = f"{head}: tracks of each label (row) by predicted label (column){repeats}"
        print_table(title, ["", *numbers], rows, right=numbers)
    accuracy = {name: head["accuracy"] for name, head in heads.items()}
    best = max((name for name in heads if name in HEADS), key=lambda name: accuracy[name])
    (baseline,) = (share for name, share in accuracy.items() if name not in HEADS)
    return (
        f"head {best} predicts the label of {accuracy[best]:.1%} of the tracks; the commonest label is "
        f"right for {baseline:.1%}."
    )


def _show_tags(result: dict[str, Any]) -> str:
    """Print AUC and mAP by fold and by label; return the conclusion."""
    heads, metrics = result["heads"], {"auc": "AUC", "average_precision": "mAP"}
    columns = [(head, metric) for head in heads for metric in metrics]
    header = [f"{head} {metrics[metric]}" for head, metric in columns]
    rows = []
    by_fold = [[one for row in heads[head][f"fold_{metric}"] for one in row] for head, metric in columns]
    if len(by_fold[0]) <= MAX_FOLD_ROWS:
        rows = [
            [f"fold {number}", *map(_number, values)]
            for number, values in enumerate(zip(*by_fold, strict=True), 1)
        ]
    rows.append(["mean", *(_number(heads[head][metric]["mean"]) for head, metric in columns)])
    intervals = [[heads[head][metric][end] for end in ("low", "high")] for head, metric in columns]
    rows.append(["95 % interval", *map(_interval, intervals)])
    if result["folds"]["repeats"] > 1:
        intervals = [heads[head].get(f"interval_repeats_{metric}", (None, None)) for head, metric in columns]
        rows.append(["95 % over folds", *map(_interval, intervals)])
    print_table(_title("Means over labels", result), ["", *header], rows, right=header)
    click.echo("")
    header = [name.replace("mAP", "AP") for name in header]
    rows = [
        [
            label,
            f"{n:,}",
            *(_number(heads[head]["by_label"][label][metric]["mean"]) for head, metric in columns),
        ]
        for label, n in result["classes"].items()
    ]
    print_table("Each label", ["label", "tracks", *header], rows, right=("tracks", *header))
    if result["left_out"]:
        names = ", ".join(result["left_out"])
        click.echo(f"Left out, since some fold leaves fewer than two tracks with it or without it: {names}.")
    best = max((name for name in heads if name in HEADS), key=lambda name: float(heads[name]["auc"]["mean"]))
    (chance,) = (head for name, head in heads.items() if name not in HEADS)
    return (
        f"head {best} ranks tracks by label with a macro AUC of {heads[best]['auc']['mean']:.3f} and mAP of "
        f"{heads[best]['average_precision']['mean']:.3f}; by chance {chance['auc']['mean']:.3f} and "
        f"{chance['average_precision']['mean']:.3f}."
    )


def _title(metric: str, result: dict[str, Any]) -> str:
    folds = result["folds"]
    repeats = f", {folds['repeats']} times" if folds["repeats"] > 1 else ""
    data = ", ".join(
        (
            count(result["n_tracks"], "track"),
            count(len(result["classes"]), "label"),
            count(result["n_features"], "feature"),
        )
    )
    return f"{metric}: {data}; {folds['n_folds']} folds, {folds['kind']}{repeats}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _interval(bounds: Sequence[float | None]) -> str:
    return "n/a" if None in bounds else " to ".join(map(_number, bounds))


def _accuracies(heads: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of accuracies: each fold, where they are few, the mean, and intervals."""
    folds = [[repeat for one in head["fold_accuracy"] for repeat in one] for head in heads]
    rows = []
    if len(folds[0]) <= MAX_FOLD_ROWS:
        rows = [
            [f"fold {number}", *(f"{100 * value:.1f}" for value in values)]
            for number, values in enumerate(zip(*folds, strict=True), 1)
        ]
    rows.append(["all tracks", *(f"{100 * head['accuracy']:.1f}" for head in heads)])
    for key, name in (("interval_tracks", "over tracks"), ("interval_repeats", "over folds")):
        if key in heads[0]:
            bounds = ([f"{100 * bound:.1f}" for bound in head[key]] for head in heads)
            rows.append([f"95 % {name}", *(" to ".join(pair) for pair in bounds)])
    return rows
