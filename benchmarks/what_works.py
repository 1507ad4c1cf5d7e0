"""The effect of settings on the demo data's test tracks, over several seeds.

    python -m benchmarks.what_works DATASET OUT [--weights FILE] [--seeds 3]

trains the runs that are missing in OUT and prints the tables of docs/what-works.md. Overlap is by similarity at 10.
Intervals come from a bootstrap over test tracks and seeds; `closed` is the share of the gap from chance to the
reference.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.cli.console import Console
from cs_keras.evaluation.ladder import gap_closed
from cs_keras.evaluation.overlap import rank_reference
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.evaluation.statistics.comparison import compare_with
from cs_keras.runs import read_npz
from cs_keras.storage.location import locate

K = 10
SHORT = ("sequence.frames=128",)
POOLED = (*SHORT, "model.time_pooling=mean_max")
SCHEDULE = ("training.schedule=cosine", "training.learning_rate=3e-4")
MASKS = ("augment.n_time_masks=2", "augment.n_mel_masks=2")
HALVES = ("sequence.frames=640",)  # of a demo track
# Settings of each step by model: those of the thesis or paper first, those of the best variant last.
STEPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cnn-bn": {
        "as the thesis": (),
        "windows of 3 s, pooled over time, cosine schedule": (*POOLED, *SCHEDULE),
    },
    "lstm": {
        "as the thesis": (),
        "windows of 3 s": SHORT,
        "windows of 3 s, pooled over time, 10 epochs": (*POOLED, "training.epochs=10"),
    },
    "choi-features": {
        "dense layers on the paper's features": (),
        "windows of 15 s": HALVES,
        "windows of 15 s, SVM": (*HALVES, "model.regressor=svm"),
        "windows of 15 s, ridge": (*HALVES, "model.regressor=ridge"),
        "windows of 15 s, ridge with a larger penalty": (
            *HALVES,
            "model.regressor=ridge",
            "model.penalty=300",
        ),
    },
    "triplet": {"as the thesis": (), "masks in time and frequency": MASKS},
}
BOT = "bot"
COMPARED = {"dieleman": ("cnn-bn", "dieleman", "dieleman-3s")}  # models compared with the first of them


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
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    score = Score(arguments.dataset)
    print(f"chance: {100 * score.chance:.1f} % of the top {K}\n")
    bot = score.of_seeds(BOT, (), arguments)
    for key, steps in STEPS.items():
        if key == "choi-features" and arguments.weights is None:
            continue
        values = {name: score.of_seeds(key, sets, arguments) for name, sets in steps.items()}
        _print(key, values, bot, score.chance)
    for name, keys in COMPARED.items():
        values = {key: score.of_seeds(key, (), arguments) for key in keys}
        _print(name, values, bot, score.chance)


class Score:
    """The overlap of runs' predictions for each test track of a dataset."""

    def __init__(self, folder: Any) -> None:
        from cs_keras.data.dataset import Dataset
        from pipelines.factors.fit import open_factors

        self._folder, tracks = folder, Dataset(folder).tracks
        factors = open_factors(folder, tracks, None)
        rows = np.flatnonzero(tracks.in_split("test") & factors.has_factors)
        self._ids = tracks.ids[rows]
        self._lists = rank_reference(factors.item_factors[rows], ks=(K,))
        self.chance = K / self._lists.n_candidates

    def of_seeds(self, key: str, sets: tuple[str, ...], arguments: argparse.Namespace) -> Any:
        """Return the overlap of each test track, shape (n_seeds, n_tracks); train missing runs."""
        from pipelines.run_baselines import run_baselines

        changes = config.parse_overrides(sets)
        if key == "choi-features":
            changes = config.merge(changes, {"model": {"weights": str(arguments.weights)}})
        rows = []
        for seed in range(arguments.seeds):
            outcome = run_baselines(
                self._folder, [key], arguments.out, {**changes, "seed": seed}, progress=Console()
            )
            rows.append(self._of(outcome.runs[0]))
        return np.stack(rows)

    def _of(self, run: Path) -> Any:
        predictions = read_npz(run / "predictions.npz", "track_ids", "factors")
        row = {track: n for n, track in enumerate(predictions["track_ids"].tolist())}
        predicted = predictions["factors"][[row[track] for track in self._ids.tolist()]]
        found = top_k_similar(predicted, K, queries=self._lists.queries)
        return list_overlap(self._lists.indices, found.indices)


def _print(key: str, values: Mapping[str, Any], bot: Any, chance: float) -> None:
    first = next(iter(values))
    against_first = {row.model: row for row in compare_with(values, first)} if len(values) > 1 else {}
    against_bot = {row.model: row for row in compare_with({BOT: bot, **values}, BOT)}
    print(f"### {key}\n")
    print(
        f"| step | overlap@{K}, each seed | mean | effect | less `bot` | closed |\n|---|---|---|---|---|---|"
    )
    for name, model in ({BOT: bot} | dict(values)).items():
        seeds = ", ".join(f"{100 * value:.1f}" for value in model.mean(axis=1))
        gap = gap_closed(model, chance, 1.0)
        effect, beyond = (_interval(rows.get(name)) for rows in (against_first, against_bot))
        closed = f"{100 * gap.share:.1f} % ({100 * gap.low:.1f} to {100 * gap.high:.1f})" if gap else ""
        print(f"| {name} | {seeds} | {100 * model.mean():.1f} | {effect} | {beyond} | {closed} |")
    print()


def _interval(row: Any) -> str:
    if row is None:
        return ""
    return f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


if __name__ == "__main__":
    main()
