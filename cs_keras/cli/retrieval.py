"""``cs-keras retrieval``: how well features retrieve tracks of the same label."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import conclude, print_table, print_written
from cs_keras.cli.options import DATASET, LOCAL_PATH, Command
from cs_keras.errors import ConfigError


@click.command("retrieval", cls=Command)
@click.argument("features", nargs=-1, required=True, type=DATASET, metavar="FEATURES.npz|RUN...")
@click.option("--labels", type=LOCAL_PATH, metavar="LABELS.csv", help="Table track_id,label.")
@click.option("--dataset", type=DATASET, help="Take labels from its tracks in place of a table.")
@click.option(
    "--label",
    type=click.Choice(["genre", "artist"]),
    default="genre",
    help="With --dataset: first genres, without tracks of the query's artist; or artists, without its album.",
)
@click.option("-k", "ks", type=int, multiple=True, default=(1, 10), help="Lists of precision@k.")
@click.option("--out", type=DATASET, metavar="FILE.json", help="JSON file for all values; may be a URL.")
def command(
    features: tuple[Any, ...],
    labels: Path | None,
    dataset: Any,
    label: str,
    ks: tuple[int, ...],
    out: Any,
) -> None:
    """Evaluate how features retrieve tracks of the same label.

    FEATURES are written by `cs-keras features` or `cs-keras embed`; of a RUN the factors that it predicted. LABELS
    is a table track_id,label with an optional column artist or album: a query's own artist (or album) is removed
    from its candidates. Similarity is the cosine: of features in standard deviations from their mean, of factors as
    they are.

    mAP is the mean over queries of the precision at the rank of each track of the query's label; precision@k is the
    share of such tracks among the k nearest. 95 % intervals are for other labels (Student's t over the labels of
    the queries). Chance: random orders of the same candidates.
    """
    if (labels is None) == (dataset is None):
        raise click.UsageError("Name either a table by --labels or a dataset by --dataset.")
    if out is not None and out.suffix.lower() != ".json":
        raise ConfigError(f"--out must end in .json. Received: {out}.")
    from cs_keras.runs import write_json
    from pipelines.evaluation.labels import artists_of, genres_of, read_labels
    from pipelines.evaluation.retrieval import retrieve_labels

    if labels is not None:
        labelled = read_labels(labels)
    else:
        labelled = artists_of(dataset) if label == "artist" else genres_of(dataset).first_only()
    results = [retrieve_labels(one, labelled, ks) for one in features]
    if out is not None:
        write_json(out, results)
    for result in results:
        n_queries, own = sum(result["queries"].values()), result["grouped_by"]
        click.echo(
            f"{result['features']}: queries are the {n_queries} of {result['n_tracks']} tracks, of "
            f"{len(result['queries'])} labels, that have relevant candidates{f' of other {own}s' if own else ''}."
        )
    lengths = dict.fromkeys(k for result in results for k in result["precision"])
    header = ["", "mAP", "chance", *(f"precision@{k}" for k in lengths), "chance"]
    rows = [
        [
            str(result["features"]),
            _show(result["mean_average_precision"]),
            f"{100 * result['chance']:.1f}",
            *(_show(result["precision"].get(k)) for k in lengths),
            f"{100 * result['chance_precision']:.1f}",
        ]
        for result in results
    ]
    print_table("Retrieval in %, with 95 % intervals", header, rows, right=header[1:])
    if out is not None:
        print_written([out])
    best = max(results, key=lambda result: float(result["mean_average_precision"]["mean"]))
    source = ("--dataset", dataset) if labels is None else (labels,)
    among = f"the best of {len(results)}, " if len(results) > 1 else ""
    conclude(
        f"{best['features']}: {among}mAP {best['mean_average_precision']['mean']:.1%}, by chance "
        f"{best['chance']:.1%}.",
        *("classify", best["features"], *source),
    )


def _show(mean: dict[str, Any] | None) -> str:
    if mean is None:
        return "n/a"
    interval = ""
    if mean["low"] is not None and mean["high"] is not None:
        interval = f" ({100 * mean['low']:.1f} to {100 * mean['high']:.1f})"
    return f"{100 * mean['mean']:.1f}{interval}"
