"""``cs-keras classify``: support vector machines on features of labelled tracks."""

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
@click.option("--dataset", type=DATASET, help="Use its tracks' first genres and artists instead of LABELS.")
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
    head: str | None,
    n_folds: int | None,
    fold_table: Path | None,
    repeats: int,
    seed: int,
    out: Any,
) -> None:
    """Cross-validate classifiers on features of labelled tracks.

    FEATURES is written by `cs-keras features` or `cs-keras embed`; of a RUN the factors that it predicted. LABELS
    is a table track_id,label with optional columns fold, artist and album. Scaling, C, gamma (by an inner
    cross-validation) and the support vector machine are fitted on all folds but one. Generated folds are stratified
    by label, and all tracks of an artist, or of an album where LABELS has no artists, are in one fold; where a
    single artist (album) of a label is left for fitting, settings are chosen on single tracks. Baseline: the
    commonest label of the other folds.

    Accuracy is the share of correct tracks. 95 % intervals are over tracks, by bootstrap; with --repeats also
    over folds, corrected for overlapping training sets (Nadeau & Bengio 2003).
    """
    if (labels is None) == (dataset is None):
        raise click.UsageError("Name either a table of LABELS or a dataset by --dataset.")
    if n_folds is not None and fold_table is not None:
        raise click.UsageError("Give --n-folds or --fold-table, not both.")
    if out is not None and out.suffix.lower() != ".json":
        raise ConfigError(f"--out must end in .json. Received: {out}.")
    from cs_keras.runs import write_json
    from pipelines.evaluation.classify import FoldsConfig, classify_features
    from pipelines.evaluation.labels import genres_of, read_labels

    settings = FoldsConfig(fold_table if n_folds is None else n_folds, repeats, seed)
    labelled = read_labels(labels) if labels is not None else genres_of(dataset)
    heads = HEADS if head is None else (head,)
    result = classify_features(features, labelled, heads, settings, Console())
    if out is not None:
        write_json(out, result)
    _show(result)
    if out is not None:
        print_written([out])
    accuracy = {name: head["accuracy"] for name, head in result["heads"].items()}
    best = max(heads, key=lambda name: accuracy[name])
    (baseline,) = (share for name, share in accuracy.items() if name not in HEADS)
    source = ("--dataset", dataset) if labels is None else ("--labels", labels)
    conclude(
        f"{features}: head {best} predicts the label of {accuracy[best]:.1%} of the tracks; the commonest label is "
        f"right for {baseline:.1%}.",
        *("retrieval", features, *source),
    )


def _show(result: dict[str, Any]) -> None:
    """Print accuracies, and a confusion matrix for each head."""
    folds, heads = result["folds"], result["heads"]
    repeats = f", {folds['repeats']} times" if folds["repeats"] > 1 else ""
    data = ", ".join(
        (
            count(result["n_tracks"], "track"),
            count(len(result["classes"]), "label"),
            count(result["n_features"], "feature"),
        )
    )
    title = f"Accuracy in %: {data}; {folds['n_folds']} folds, {folds['kind']}{repeats}"
    print_table(title, ["", *heads], _accuracies(list(heads.values())), right=tuple(heads))
    names = [f"{number} {name}" for number, name in enumerate(result["classes"], 1)]
    numbers = [str(number) for number in range(1, len(names) + 1)]
    for head in (name for name in heads if name in HEADS):
        click.echo("")
        rows = [[name, *map(str, row)] for name, row in zip(names, heads[head]["confusion"], strict=True)]
        title = f"{head}: tracks of each label (row) by predicted label (column){repeats}"
        print_table(title, ["", *numbers], rows, right=numbers)


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
