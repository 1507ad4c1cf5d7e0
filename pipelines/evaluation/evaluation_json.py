"""What a judge found as JSON values, for ``evaluation.json``, and query by query, for ``queries.npz``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.ladder import build_ladder, decide_verdict
from cs_keras.evaluation.ranking import RankingAtK, RankMetrics
from cs_keras.evaluation.statistics.resampling import Resampling, resample_means
from pipelines.evaluation.evaluator import Evaluator, PredictorEvaluation
from pipelines.evaluation.reference import Kind
from pipelines.evaluation.reference_predictors import REFERENCE, SECOND_FIT

MODEL = "model"  # what the run's own predictor is called among the others
Evaluations = Mapping[str, PredictorEvaluation]


def overlap_values(judgement: PredictorEvaluation) -> dict[str, list[dict[str, Any]]]:
    """Return both overlaps, a row for each list length."""
    return {kind: [dataclasses.asdict(row) for row in rows] for kind, rows in judgement.overlap.items()}


def ranking_values(judge: Evaluator, found: Evaluations) -> dict[str, Any] | None:
    """Return how well playlists find the test tracks they hold, by predictor; None without listening.

    Every metric has its ``mean`` over playlists and the ``low`` and ``high`` of its bootstrap interval.
    """
    metrics = {name: one.ranking for name, one in found.items() if one.ranking is not None}
    if not metrics:
        return None
    first = metrics[REFERENCE]
    return {
        "n_playlists": len(first.playlists),
        "n_left_out": first.n_left_out,
        "n_candidates": int(first.n_candidates[0]),
        "predictors": {name: _metric_values(own, judge) for name, own in metrics.items()},
    }


def _metric_values(metrics: RankMetrics, judge: Evaluator) -> dict[str, Any]:
    per_playlist = {f"{name}@{row.k}": values for row in metrics.at_k for name, values in _named(row).items()}
    per_playlist["auc"] = metrics.auc[~np.isnan(metrics.auc)]
    return {name: _mean(values, judge) for name, values in per_playlist.items()}


def _named(row: RankingAtK) -> dict[str, Any]:
    return {"recall": row.recall, "ndcg": row.ndcg, "map": row.average_precision}


def _mean(values: npt.NDArray[np.float64] | None, judge: Evaluator) -> dict[str, float] | None:
    if values is None or not len(values):
        return None
    settings = Resampling(judge.settings.n_bootstrap, seed=judge.seed)
    low, high = settings.interval(resample_means(values[np.newaxis], settings.n_bootstrap, settings.seed)[0])
    return {"mean": float(values.mean()), "low": low, "high": high}


def beyond_values(judge: Evaluator, found: Evaluations) -> dict[str, Any]:
    """Return numbers beyond accuracy by predictor, and the length of their lists."""
    return {"k": judge.settings.ks[0], "predictors": {name: one.beyond for name, one in found.items()}}


def group_values(judge: Evaluator, found: Evaluations) -> dict[str, Any]:
    """Return overlap and nDCG of groups of test tracks by predictor, the length of their lists, and group sizes."""
    sizes = {
        name: [
            {"group": label, "n": int(n)}
            for label, n in zip(*map(np.ndarray.tolist, np.unique(labels, return_counts=True)), strict=True)
        ]
        for name, labels in judge.reference.groups.items()
    }
    predictors = {
        name: {
            measure: {of: [dataclasses.asdict(mean) for mean in means] for of, means in own.items()}
            for measure, own in one.groups.items()
        }
        for name, one in found.items()
    }
    return {"k": judge.settings.ks[0], "sizes": sizes, "predictors": predictors}


def ladder_values(judge: Evaluator, found: Evaluations) -> dict[str, list[dict[str, Any]]]:
    """Return each predictor's place between chance, ceiling and reference, by kind of list and list length."""
    return {kind: _ladders(judge, found, kind) for kind in judge.lists}


def _ladders(judge: Evaluator, found: Evaluations, kind: Kind) -> list[dict[str, Any]]:
    rows = {name: one.overlap[kind] for name, one in found.items() if kind in one.overlap}
    settings = Resampling(judge.settings.n_bootstrap, seed=judge.seed)
    ladders = []
    for i, first in enumerate(rows[MODEL]):
        if first.chance is None or first.chance == 1:  # too few candidates, or all of them listed
            continue
        shares = {name: found[name].shared[kind][first.k] / first.k for name in rows}
        rungs = []
        for rung in build_ladder(shares, first.chance, shares.get(SECOND_FIT), settings):
            row = rows[rung.name][i]
            p_value = 1.0 if row.p_value is None else row.p_value
            verdict = decide_verdict(p_value, rung.to_ceiling, flagged=bool(row.flagged))
            rungs.append({**dataclasses.asdict(rung), "verdict": verdict.value})
        ladders.append({"k": first.k, "chance": first.chance, "rungs": rungs})
    return ladders


def query_values(judge: Evaluator, found: Evaluations) -> dict[str, npt.NDArray[Any]]:
    """Return what was found query by query, by predictor, so that others can be paired with it later.

    ``KIND/queries`` holds the rows that asked: of test tracks (``similarity``) or of playlists (``dot``, ``ndcg``).
    ``similarity@K/NAME`` and ``dot@K/NAME`` count the tracks of each list that are the reference's too, in the
    smallest type that holds K; ``ndcg@K/model`` is the nDCG of playlists that hold any test track.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{kind}/queries": lists.queries for kind, lists in judge.lists.items()
    }
    for name, one in found.items():
        for kind, by_k in one.shared.items():
            for k, shared in by_k.items():
                arrays[f"{kind}@{k}/{name}"] = shared.astype(np.min_scalar_type(k))
    ranking = found[MODEL].ranking
    if ranking is not None:
        arrays["ndcg/queries"] = judge.lists["dot"].queries[ranking.playlists]
        arrays |= {f"ndcg@{row.k}/{MODEL}": row.ndcg for row in ranking.at_k if row.ndcg is not None}
    return arrays
