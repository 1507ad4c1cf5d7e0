"""The effect of settings on the demo data's test tracks, over several seeds.

    python -m benchmarks.what_works DATASET OUT [--weights FILE] [--seeds 3] [--only cnn-bn,lstm]

trains the runs that are missing in OUT and prints the tables of docs/what-works.md. Overlap is by similarity at 10,
without the query's own artist and among all candidates. Intervals are those of the reports, for other artists and
other trainings.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.cli.console import Console
from cs_keras.evaluation.search.topk import TopK, filter_artists, top_k_similar
from cs_keras.evaluation.statistics.comparison import compare_with
from cs_keras.evaluation.statistics.jackknife import (
    QuerySums,
    cluster_artists,
    delete_clusters,
    estimate,
    refilled_length,
    stack_seeds,
)
from cs_keras.runs import read_npz
from cs_keras.storage.location import locate

K = 10
WHOLE = ("sequence.frames=344",)  # 8 s: no padding in any track of the demo
BATCHES = (*WHOLE, "training.batch_size=256")  # for losses that compare the tracks of a batch
Step = tuple[str, tuple[str, ...]]  # model key, and settings that differ from its own
# Tables by name, and their rows: as in the thesis or paper first, the best variant last.
TABLES: Mapping[str, Mapping[str, Step]] = {
    "cnn-bn": {
        "as the thesis": ("cnn-bn", ()),
        "windows of 3 s, pooled over time, cosine schedule": ("cnn-best", ()),
    },
    "lstm": {
        "as the thesis": ("lstm", ()),
        "windows of 3 s": ("lstm", ("sequence.frames=128",)),
        "windows of 3 s, pooled over time, 10 epochs": ("lstm-best", ()),
    },
    "choi-features": {
        "dense layers on the paper's features": ("choi-features", ()),
        "windows of 8 s": ("choi-features", WHOLE),
        "windows of 8 s, SVM": ("choi-features", (*WHOLE, "model.regressor=svm")),
        "windows of 8 s, ridge": ("choi-features", (*WHOLE, "model.regressor=ridge")),
        "windows of 8 s, ridge with a larger penalty": ("choi-best", ()),
    },
    "objectives": {
        "squared error": ("choi-features", BATCHES),
        "cosine": ("choi-features", (*BATCHES, "training.loss=cosine")),
        "InfoNCE with factors": (
            "choi-features",
            (*BATCHES, "training.loss=infonce", "training.temperature=0.3"),
        ),
        "InfoNCE with factors, popularity": (
            "choi-features",
            (
                *BATCHES,
                "training.loss=infonce",
                "training.temperature=0.3",
                "training.popularity_correction=1.0",
            ),
        ),
        "InfoNCE with histories": (
            "choi-features",
            (*BATCHES, "training.loss=infonce_histories", "training.temperature=0.3"),
        ),
        "BPR": ("choi-features", (*BATCHES, "training.loss=bpr")),
        "sampled softmax, popularity": (
            "choi-features",
            (*BATCHES, "training.loss=sampled_softmax", "training.popularity_correction=1.0"),
        ),
        "DrLIM": ("choi-features", (*BATCHES, "training.loss=drlim")),
        "ridge": ("choi-features", (*WHOLE, "model.regressor=ridge")),
        "feature-aware iALS": ("choi-features", (*WHOLE, "model.regressor=ials")),
    },
    "triplet": {
        "as the thesis": ("triplet", ()),
        "masks in time and frequency": ("triplet-best", ()),
    },
    "dieleman": {key: (key, ()) for key in ("cnn-bn", "dieleman", "dieleman-3s")},
}
BOT = "bot"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=locate)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--weights", type=Path, help="weights of Choi's tagger; without them its rows are omitted"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(TABLES), help="tables to print")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    score = Score(arguments.dataset)
    filtered, everything = (100 * chance for chance in score.chances)
    print(
        f"chance: {filtered:.1f} % of the top {K} without the query's own artist, {everything:.1f} % of all\n"
    )
    bot = score.of_seeds((BOT, ()), arguments)
    for table, steps in TABLES.items():
        needs_weights = any(key.startswith("choi") for key, _ in steps.values())
        if table not in arguments.only.split(",") or (needs_weights and arguments.weights is None):
            continue
        _print(table, {name: score.of_seeds(step, arguments) for name, step in steps.items()}, bot)


class Score:
    """The overlap of runs' predictions on the test tracks of a dataset: filtered, and among all candidates."""

    def __init__(self, folder: Any) -> None:
        from cs_keras.data.dataset import Dataset
        from pipelines.factors.open import open_factors

        self._folder, tracks = folder, Dataset(folder).tracks
        factors = open_factors(folder, tracks, None)
        rows = np.flatnonzero(tracks.in_split("test") & factors.has_factors)
        self._ids = tracks.ids[rows]
        self._artists = np.unique(np.array(tracks.strings("artist"))[rows], return_inverse=True)[1]
        self._clusters = cluster_artists(self._artists)
        self._reference = self._lists(factors.item_factors[rows])
        self.chances = (
            filter_artists(self._reference, self._artists, K).chance,
            self._reference.prefix(K).chance,
        )

    def of_seeds(self, step: Step, arguments: argparse.Namespace) -> list[QuerySums]:
        """Return both overlaps over all seeds; train missing runs."""
        from pipelines.run_baselines import run_baselines

        key, sets = step
        changes = config.parse_overrides(sets)
        if key.startswith("choi"):
            changes = config.merge(changes, {"model": {"weights": str(arguments.weights)}})
        seeds = []
        for seed in range(arguments.seeds):
            outcome = run_baselines(
                self._folder, [key], arguments.out, {**changes, "seed": seed}, progress=Console()
            )
            seeds.append(self._of(outcome.runs[0]))
        return [stack_seeds(kind) for kind in zip(*seeds, strict=True)]

    def _lists(self, factors: Any) -> TopK:
        length = min(refilled_length(K, self._clusters, self._artists), len(factors) - 1)
        return top_k_similar(factors, length)

    def _of(self, run: Path) -> tuple[QuerySums, QuerySums]:
        predictions = read_npz(run / "predictions.npz", "track_ids", "factors")
        row = {track: n for n, track in enumerate(predictions["track_ids"].tolist())}
        found = self._lists(predictions["factors"][[row[track] for track in self._ids.tolist()]])
        filtered = delete_clusters(self._reference, found, K, self._clusters, self._artists)
        return filtered, delete_clusters(self._reference, found, K, self._clusters)


def _print(table: str, values: Mapping[str, list[QuerySums]], bot: list[QuerySums]) -> None:
    first = next(iter(values))
    filtered = {name: sums[0] for name, sums in values.items()}
    against_first = {row.model: row for row in compare_with(filtered, first)} if len(values) > 1 else {}
    against_bot = {row.model: row for row in compare_with({BOT: bot[0], **filtered}, BOT)}
    print(f"### {table}\n")
    print(f"| step | overlap@{K}, each seed | mean | effect | less `bot` | all candidates |")
    print("|---|---|---|---|---|---|")
    for name, (own, everything) in ({BOT: bot} | dict(values)).items():
        seeds = ", ".join(f"{100 * value:.1f}" for value in own.seed_means)
        mean = estimate(own)
        low, high = (100 * bound for bound in mean.interval())
        effect, beyond = (_interval(rows.get(name)) for rows in (against_first, against_bot))
        print(
            f"| {name} | {seeds} | {100 * mean.mean:.1f} ({low:.1f} to {high:.1f}) | {effect} | {beyond} "
            f"| {100 * estimate(everything).mean:.1f} |"
        )
    print()


def _interval(row: Any) -> str:
    if row is None:
        return ""
    return f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


if __name__ == "__main__":
    main()
