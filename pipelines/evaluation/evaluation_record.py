"""Evaluations of predictors as the records of ``evaluation.json`` and ``queries.npz``."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.ladder import Verdict, build_ladder, decide_verdict
from cs_keras.evaluation.ranking import RankMetrics
from cs_keras.evaluation.statistics.jackknife import estimate
from cs_keras.run_files.evaluation import (
    BEST_FROM_SOUND,
    LIKED_ABOVE_DISLIKED,
    MODEL,
    REFERENCE,
    REFIT_CEILING,
    AmongAllAtK,
    AmongAllRecord,
    BeyondRecord,
    GapShare,
    GroupSize,
    GroupsRecord,
    Kind,
    Ladder,
    MeanRecord,
    OverlapAtK,
    RankingRecord,
    Rung,
)
from cs_keras.run_files.queries import NDCG, Queries
from pipelines.evaluation.evaluator import Compared, Evaluator, PredictorEvaluation

Evaluations = Mapping[str, PredictorEvaluation]  # by predictor, `MODEL` among them


def make_ranking(evaluator: Evaluator, evaluations: Evaluations) -> RankingRecord | None:
    """Return ranking metrics on held-out interactions, by predictor; None without interactions."""
    metrics = {name: one.ranking for name, one in evaluations.items() if one.ranking is not None}
    if not metrics:
        return None
    first = metrics[REFERENCE]
    return RankingRecord(
        n_playlists=len(first.playlists),
        n_left_out=first.n_left_out,
        n_candidates=int(first.n_candidates[0]),
        predictors={name: _mean_metrics(own, evaluations[name]) for name, own in metrics.items()},
    )


def _mean_metrics(metrics: RankMetrics, evaluation: PredictorEvaluation) -> dict[str, MeanRecord | None]:
    """Return means, with intervals of those whose lists are known without each artist."""
    means: dict[str, MeanRecord | None] = {}
    gains, liked = evaluation.gains, evaluation.liked_above_disliked
    if liked is not None:
        means[LIKED_ABOVE_DISLIKED] = MeanRecord(liked, None, None)
    for name, mean in metrics.means().items():
        if name.startswith("precision@"):  # recall times a constant of the playlist
            continue
        low, high = (
            np.clip(estimate(gains[name]).interval(), 0, 1).tolist() if name in gains else (None, None)
        )
        means[name] = None if mean is None else MeanRecord(mean, low, high)
    return means


def make_beyond(evaluator: Evaluator, evaluations: Evaluations) -> BeyondRecord:
    """Return metrics beyond accuracy by predictor."""
    predictors = {name: one.beyond for name, one in evaluations.items() if one.beyond}
    return BeyondRecord(evaluator.settings.ks[0], predictors, evaluator.leading)


def make_among_all(evaluator: Evaluator, evaluations: Evaluations) -> AmongAllRecord | None:
    """Return overlaps among new and known tracks by predictor; None if the settings do not request them."""
    if evaluator.all_candidates is None:
        return None
    predictors: dict[str, dict[str, tuple[AmongAllAtK, ...]]] = {
        name: dict(one.among_all.items()) for name, one in evaluations.items() if one.among_all
    }
    return AmongAllRecord(evaluator.all_candidates.n_known, predictors)


def make_groups(evaluator: Evaluator, evaluations: Evaluations) -> GroupsRecord:
    """Return overlap and nDCG of groups of test tracks by predictor, and the sizes of groups."""
    sizes = {}
    for name, labels in evaluator.reference.groups.items():
        groups, counts = np.unique(labels, return_counts=True)
        sizes[name] = tuple(map(GroupSize, groups.tolist(), counts.tolist()))
    predictors = {name: one.groups for name, one in evaluations.items() if one.groups}
    return GroupsRecord(evaluator.settings.ks[0], sizes, predictors, evaluator.leading)


def make_ladders(evaluator: Evaluator, evaluations: Evaluations) -> dict[str, tuple[Ladder, ...]]:
    """Return each predictor's position between chance, ceiling and reference, by kind of list and list length."""
    compared = {name: one.compared for name, one in evaluations.items()}
    return build_ladders(compared, evaluator.lists.kinds, 1 / (1 + evaluator.settings.n_permutations))


def build_ladders(
    compared: Mapping[str, Compared], kinds: Sequence[Kind], least_p: float
) -> dict[str, tuple[Ladder, ...]]:
    """Do the same for overlaps by predictor, whose p-values cannot be below `least_p`."""
    return {kind: tuple(_ladders(compared, kind, least_p)) for kind in kinds}


def _ladders(compared: Mapping[str, Compared], kind: Kind, least_p: float) -> Iterator[Ladder]:
    rows = {name: own[kind] for name, own in compared.items() if kind in own}
    for i, first in enumerate(one.at_k for one in rows[MODEL]):
        if first.chance is None or first.chance == 1:  # too few candidates, or all of them listed
            continue
        sums = {name: found for name, own in rows.items() if (found := own[i].sums) is not None}
        rungs: list[Rung] = []
        for rung in build_ladder(
            sums, first.chance, sums.get(REFIT_CEILING), best_from_sound=sums.get(BEST_FROM_SOUND)
        ):
            row = rows[rung.name][i].at_k
            unfiltered = compared[rung.name]["similarity"][i].at_k if kind == "filtered" else row
            if unfiltered.p_value is not None:
                verdict = _decide(row, unfiltered.p_value, rung.to_ceiling, least_p)
                rung = dataclasses.replace(rung, verdict=verdict.value)
            rungs.append(rung)
        yield Ladder(first.k, first.chance, tuple(rungs))


def _decide(row: OverlapAtK, p_value: float, to_ceiling: GapShare | None, least_p: float) -> Verdict:
    """Return the verdict on one overlap; the p-value for any information is that of unfiltered lists."""
    least_beyond = max(least_p, 1 / row.n_arrangements) if row.n_arrangements else least_p
    return decide_verdict(
        p_value,
        to_ceiling,
        p_beyond_artist=row.p_beyond_artist,
        least_p_values=(least_p, least_beyond),
        flagged=bool(row.flagged),
    )


def make_queries(evaluator: Evaluator, evaluations: Evaluations) -> Queries:
    """Return overlaps of each query by predictor, and the model's nDCG of playlists that hold any test track."""
    rows: dict[str, npt.NDArray[np.int64]] = {}
    values: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    sums: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    clusters: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
    for name, one in evaluations.items():
        for kind, by_k in one.compared.items():
            for own in by_k:
                if own.sums is not None:
                    measure = f"{kind}@{own.at_k.k}"
                    rows[measure] = own.queries
                    values.setdefault(measure, {})[name] = own.shares
                    sums.setdefault(measure, {})[name] = own.sums.sums[0]
                    clusters[measure] = own.sums.n_queries, own.sums.n_tracks
    ranking = evaluations[MODEL].ranking
    if ranking is not None:
        for row in ranking.at_k:
            if row.ndcg is not None:
                rows[f"{NDCG}@{row.k}"] = evaluator.lists.by_kind["dot"].queries[ranking.playlists]
                values[f"{NDCG}@{row.k}"] = {MODEL: row.ndcg}
    for measure, gained in evaluations[MODEL].gains.items():
        if measure in rows:
            sums[measure] = {MODEL: gained.sums[0]}
            clusters[measure] = gained.n_queries, gained.n_tracks
    artists = evaluator.reference.artists
    of_tracks = [measure for measure in rows if measure.startswith(("similarity@", "filtered@"))]
    by_artist = {measure: artists[rows[measure]] for measure in of_tracks}
    return Queries(rows, values, by_artist, sums, clusters)
