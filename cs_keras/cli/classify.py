"""``cs-keras classify``: how well features tell labelled tracks apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.paths import DATASET, LOCAL_PATH

if TYPE_CHECKING:
    from rich.table import Table

HEADS = ("linear", "rbf")
PAGE_WIDTH = 110  # characters, where no terminal says how many fit
MOST_FOLDS = 20  # shown one by one; a file by --out holds all


@click.command("classify")
@click.argument("features", type=DATASET, metavar="FEATURES.npz")
@click.argument("labels", type=LOCAL_PATH, required=False, metavar="[LABELS.csv]")
@click.option("--dataset", type=DATASET, help="Take its tracks' first genres, and artists, for LABELS.")
@click.option(
    "--head", type=click.Choice(HEADS), help="Kernel of the support vector machine.  [default: both]"
)
@click.option(
    "--folds",
    metavar="FILE|N",
    help="A table track_id,fold; or how many to make.  [default: the column fold of LABELS; else 10]",
)
@click.option("--repeats", type=int, default=1, show_default=True, help="Times that folds are made anew.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of folds and intervals.")
@click.option("--out", type=DATASET, metavar="FILE.json", help="Write all numbers there; may be a URL.")
def command(
    features: Any,
    labels: Path | None,
    dataset: Any,
    head: str | None,
    folds: str | None,
    repeats: int,
    seed: int,
    out: Any,
) -> None:
    """Tell labelled tracks apart by FEATURES, as `cs-keras features` writes them, with support vector machines.

    LABELS is a table track_id,label and, where known, fold and artist. Each fold is held out in turn: scaling, C
    and gamma (by a cross-validation inside) and the machine come from the others. Folds that are made have like
    shares of each label, and never part an artist. Beside it: the commonest label of the other folds.

    Accuracy is the share of tracks told right. Intervals, 95 %: over tracks, by bootstrap; with --repeats also over
    folds, corrected for their common training tracks (Nadeau & Bengio 2003).
    """
    from cs_keras.errors import ConfigError

    if (labels is None) == (dataset is None):
        raise click.UsageError("Name either a table of LABELS or a dataset by --dataset.")
    if out is not None and out.suffix.lower() != ".json":
        raise ConfigError(f"--out must end in .json. Received: {out}.")
    from cs_keras.cli.console import Console
    from cs_keras.runs import write_json
    from pipelines.evaluation.classify import FoldsConfig, classify_features, read_features
    from pipelines.evaluation.labels import genres_of, read_labels

    settings = FoldsConfig(_folds(folds), repeats, seed)
    labelled = read_labels(labels) if labels is not None else genres_of(dataset)
    heads = HEADS if head is None else (head,)
    result = classify_features(read_features(features), labelled, heads, settings, Console())
    if out is not None:
        write_json(out, result)
    _show(result)
    if out is not None:
        click.echo(f"Written: {out}", err=True)


def _folds(text: str | None) -> int | Path | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return Path(text)


def _show(result: dict[str, Any]) -> None:
    """Print accuracies, and for each head what was taken for what."""
    from rich.console import Console
    from rich.text import Text

    from cs_keras.playlists.entries import printable

    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = max(console.width, PAGE_WIDTH)
    folds, heads = result["folds"], result["heads"]
    repeats = f", {folds['repeats']} times" if folds["repeats"] > 1 else ""
    about = f"{result['n_tracks']} tracks, {len(result['classes'])} labels, {result['n_features']} features"
    console.print(Text(f"Accuracy in %: {about}; {folds['n_folds']} folds, {folds['kind']}{repeats}"))
    console.print(_table(["", *heads], _accuracies(result)))
    names = [f"{number} {printable(name)}" for number, name in enumerate(result["classes"], 1)]
    header = ["", *(str(number) for number in range(1, len(names) + 1))]
    for head in [name for name in heads if name in HEADS]:
        console.print(
            Text(f"\n{head}: tracks of each label (row) by what they were taken for (column){repeats}")
        )
        rows = zip(names, heads[head]["confusion"], strict=True)
        console.print(_table(header, [[name, *map(str, counts)] for name, counts in rows]))


def _accuracies(result: dict[str, Any]) -> list[list[str]]:
    """Return the lines of the table: folds, where they are few, their mean, and intervals."""
    heads = list(result["heads"].values())
    folds = [[repeat for one in head["fold_accuracy"] for repeat in one] for head in heads]
    rows = []
    if len(folds[0]) <= MOST_FOLDS:
        rows = [
            [f"fold {number}", *(f"{100 * value:.1f}" for value in values)]
            for number, values in enumerate(zip(*folds, strict=True), 1)
        ]
    rows.append(["all tracks", *(f"{100 * head['accuracy']:.1f}" for head in heads)])
    for key, name in (("interval_tracks", "over tracks"), ("interval_repeats", "over folds")):
        if key in heads[0]:
            rows.append(
                [f"95 % {name}", *("{:.1f} to {:.1f}".format(*_percent(head[key])) for head in heads)]
            )
    return rows


def _percent(interval: Sequence[float]) -> list[float]:
    return [100 * bound for bound in interval]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
