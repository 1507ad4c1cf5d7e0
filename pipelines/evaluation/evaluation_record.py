"""Evaluations of predictors as the records of ``evaluation.json`` and ``queries.npz``."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.ladder import build_ladder, decide_verdict
from cs_keras.evaluation.ranking import RankMetrics
from cs_keras.evaluation.statistics.resampling import Resampling, resample_means
from cs_keras.run_files.evaluation import (
    MODEL,
    REFERENCE,
    REFIT_CEILING,
    BeyondRecord,
    GroupSize,
    GroupsRecord,
    Ladder,
    MeanRecord,
    RankingRecord,
    Rung,
)
from cs_keras.run_files.queries import Queries
from pipelines.evaluation.evaluator import Evaluator, PredictorEvaluation
from pipelines.evaluation.reference import Kind

Evaluations = Mapping[str, PredictorEvaluation]  # by predictor, `MODEL` among them


def make_ranking(evaluator: Evaluator, evaluations: Evaluations) -> RankingRecord | None:
    """Return ranking metrics on held-out interactions, by predictor; None without interactions."""
    metrics = {name: one.ranking for name, one in evaluations.items() if one.ranking is not None}
    if not metrics:
        return None
    first = metrics[REFERENCE]
    settings = Resampling(evaluator.settings.n_bootstrap, seed=evaluator.seed)
    return RankingRecord(
        n_playlists=len(first.playlists),
        n_left_out=first.n_left_out,
        n_candidates=int(first.n_candidates[0]),
        predictors={name: _mean_metrics(own, settings) for name, own in metrics.items()},
    )


def _mean_metrics(metrics: RankMetrics, settings: Resampling) -> dict[str, MeanRecord | None]:
    per_playlist = {
        f"{name}@{row.k}": values
        for row in metrics.at_k
        for name, values in (("recall", row.recall), ("ndcg", row.ndcg), ("map", row.average_precision))
    }
    per_playlist["auc"] = metrics.auc[~np.isnan(metrics.auc)]
    means: dict[str, MeanRecord | None] = dict.fromkeys(per_playlist)
    for name, values in per_playlist.items():
        if values is not None and len(values):
            resampled = resample_means(values[np.newaxis], settings.n_bootstrap, settings.seed)[0]
            means[name] = MeanRecord(float(values.mean()), *settings.interval(resampled))
    return means


def make_beyond(evaluator: Evaluator, evaluations: Evaluations) -> BeyondRecord:
    """Return metrics beyond accuracy by predictor."""
    return BeyondRecord(evaluator.settings.ks[0], {name: one.beyond for name, one in evaluations.items()})


def make_groups(evaluator: Evaluator, evaluations: Evaluations) -> GroupsRecord:
    """Return overlap and nDCG of groups of test tracks by predictor, and the sizes of groups."""
    sizes = {}
    for name, labels in evaluator.reference.groups.items():
        groups, counts = np.unique(labels, return_counts=True)
        sizes[name] = tuple(map(GroupSize, groups.tolist(), counts.tolist()))
    predictors = {name: one.groups for name, one in evaluations.items()}
    return GroupsRecord(evaluator.settings.ks[0], sizes, predictors)


def make_ladders(evaluator: Evaluator, evaluations: Evaluations) -> dict[str, tuple[Ladder, ...]]:
    """Return each predictor's position between chance, ceiling and reference, by kind of list and list length."""
    return {kind: tuple(_ladders(evaluator, evaluations, kind)) for kind in evaluator.lists}


def _ladders(evaluator: Evaluator, evaluations: Evaluations, kind: Kind) -> Iterator[Ladder]:
    rows = {name: one.overlap[kind] for name, one in evaluations.items() if kind in one.overlap}
    for i, first in enumerate(rows[MODEL]):
        if first.chance is None or first.chance == 1:  # too few candidates, or all of them listed
            continue
        shares = {name: evaluations[name].shared[kind][first.k] / first.k for name in rows}
        rungs: list[Rung] = []
        for rung in build_ladder(shares, first.chance, shares.get(REFIT_CEILING)):
            row = rows[rung.name][i]
            p_value = 1.0 if row.p_value is None else row.p_value
            verdict = decide_verdict(p_value, rung.to_ceiling, flagged=bool(row.flagged))
            rungs.append(dataclasses.replace(rung, verdict=verdict.value))
        yield Ladder(first.k, first.chance, tuple(rungs))


def make_queries(evaluator: Evaluator, evaluations: Evaluations) -> Queries:
    """Return overlaps of each query by predictor, and the model's nDCG of playlists that hold any test track."""
    rows: dict[str, npt.NDArray[np.int64]] = {kind: lists.queries for kind, lists in evaluator.lists.items()}
    values: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name, one in evaluations.items():
        for kind, by_k in one.shared.items():
            for k, shared in by_k.items():
                values.setdefault(f"{kind}@{k}", {})[name] = shared / k
    ranking = evaluations[MODEL].ranking
    if ranking is not None:
        rows["ndcg"] = evaluator.lists["dot"].queries[ranking.playlists]
        for row in ranking.at_k:
            if row.ndcg is not None:
                values[f"ndcg@{row.k}"] = {MODEL: row.ndcg}
    return Queries(rows, values)
