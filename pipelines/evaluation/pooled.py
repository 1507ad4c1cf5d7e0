"""Pooled results of the rotations of a cross-validation: means over the queries of all, from their files.

Under the strict protocol each rotation has a space of its own, so lists hold only tracks that were tested together.
Queries are pooled: a track is one in its own rotation, a playlist in each.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from cs_keras.errors import DataError
from cs_keras.evaluation.overlap import FLAGGED_TIED_SHARE, ListOverlap
from cs_keras.evaluation.statistics.jackknife import QuerySums, estimate, pool_folds
from cs_keras.evaluation.statistics.permutation_test import MAX_ARRANGEMENTS
from cs_keras.run_files.evaluation import (
    KINDS,
    MODEL,
    BeyondRecord,
    Evaluation,
    GroupMean,
    GroupMeans,
    GroupSize,
    GroupsRecord,
    HubnessRecord,
    HubnessReduction,
    Kind,
    MeanRecord,
    OverlapAtK,
    RankingRecord,
    RegressionLosses,
    SplitLosses,
    TrackCounts,
)
from cs_keras.run_files.queries import Queries
from pipelines.evaluation.evaluation_record import build_ladders
from pipelines.evaluation.evaluator import Compared


@dataclasses.dataclass(frozen=True, eq=False)
class Rotation:
    """The contents of ``evaluation.json`` and ``queries.npz`` of a rotation's run."""

    evaluation: Evaluation
    queries: Queries


def pool_rotations(rotations: Sequence[Rotation], n_permutations: int) -> tuple[Evaluation, Queries]:
    """Return the evaluation of a model over the queries of all rotations, and the results of each query.

    Overlaps, chance and nulls are means over queries. Intervals respect artists, see
    `cs_keras.evaluation.statistics.jackknife.pool_folds`. Permutations are within rotations, which makes their
    p-values independent under the null hypothesis: they are combined by Stouffer's method, each weighted by the
    root of its number of queries. A list length is available if it is in all rotations. Bounds of other metrics are
    means of the rotations' bounds, since these share playlists: they are at least as wide as those of the mean.

    Parameters
    ----------
    rotations
        Of one model, with the same settings.
    n_permutations
        Of each rotation's tests.

    Raises
    ------
    DataError
        When a rotation was evaluated by an earlier release.
    """
    evaluations = [one.evaluation for one in rotations]
    names = [MODEL, *(name for name in evaluations[0].references if _in_all(name, evaluations))]
    compared = {name: _pool_predictor(name, rotations) for name in names}
    kinds = [kind for kind in KINDS if kind in compared[MODEL]]
    least_p = combine_p_values([1 / (1 + n_permutations)] * len(rotations), [1] * len(rotations))
    first = evaluations[0]
    pooled = dataclasses.replace(
        first,
        n_tracks=count_tracks(evaluations, sum(one.n_tracks.test for one in evaluations)),
        losses=mean_losses([(one.losses, one.n_tracks) for one in evaluations]),
        mean_predictor=mean_losses([(one.mean_predictor, one.n_tracks) for one in evaluations]),
        n_known_artists=sum(one.n_known_artists or 0 for one in evaluations),
        n_unknown_artists=sum(one.n_unknown_artists or 0 for one in evaluations),
        n_test_artists=sum(one.n_test_artists or 0 for one in evaluations),
        n_rotations=len(rotations),
        overlap=_overlaps(compared[MODEL]),
        references={name: _overlaps(compared[name]) for name in names if name != MODEL},
        ladder=build_ladders(compared, kinds, least_p),
        ranking=_pool_ranking(evaluations),
        beyond_accuracy=_pool_beyond(evaluations),
        groups=_pool_groups(evaluations),
        hubness=_pool_hubness(evaluations),
        confidence=None,  # each rotation has its own
    )
    return pooled, _pool_queries(rotations, compared)


def combine_p_values(p_values: Sequence[float], n_queries: Sequence[int]) -> float:
    """Return one p-value of independent one-sided tests, by Stouffer's method with weights √n_queries."""
    z = scipy.stats.norm.isf(p_values)
    weights = np.sqrt(n_queries)
    return float(scipy.stats.norm.sf(weights @ z / np.sqrt(weights @ weights)))


def count_tracks(rotations: Sequence[Evaluation], n_test: int) -> TrackCounts:
    """Return the mean numbers of train and validation tracks over rotations, and `n_test`."""
    train, validation = (
        round(float(np.mean([getattr(one.n_tracks, split) for one in rotations])))
        for split in ("train", "validation")
    )
    return TrackCounts(train, validation, n_test)


def mean_losses(rotations: Sequence[tuple[SplitLosses, TrackCounts]]) -> SplitLosses:
    """Return the mean of losses over the tracks of all rotations; of R² the mean weighted by tracks."""

    def mean(split: str) -> RegressionLosses:
        losses = [getattr(losses, split) for losses, _ in rotations]
        weights = [getattr(n_tracks, split) for _, n_tracks in rotations]
        fields = [field.name for field in dataclasses.fields(RegressionLosses)]
        values: dict[str, Any] = {
            name: _mean([getattr(one, name) for one in losses], weights) for name in fields
        }
        return RegressionLosses(**values)

    return SplitLosses(mean("validation"), mean("test"))


def _in_all(name: str, evaluations: Sequence[Evaluation]) -> bool:
    return all(name in one.references for one in evaluations)


def _overlaps(compared: Compared) -> dict[str, tuple[OverlapAtK, ...]]:
    return {kind: tuple(one.at_k for one in rows) for kind, rows in compared.items()}


def _pool_predictor(name: str, rotations: Sequence[Rotation]) -> Compared:
    """Return the pooled overlaps of one predictor of all rotations, by kind of list."""
    stored = [
        one.evaluation.overlap if name == MODEL else one.evaluation.references[name] for one in rotations
    ]
    kinds: list[Kind] = [kind for kind in KINDS if all(kind in overlaps for overlaps in stored)]
    return {
        kind: tuple(
            _pool_overlap(name, kind, rows, rotations)
            for rows in zip(*(overlaps[kind] for overlaps in stored), strict=True)
        )
        for kind in kinds
    }


def _pool_overlap(
    name: str, kind: Kind, rows: Sequence[OverlapAtK], rotations: Sequence[Rotation]
) -> ListOverlap:
    k = rows[0].k
    n_left_out = sum(row.n_left_out for row in rows)
    if not all(row.available for row in rows):
        shortest = min(rows, key=lambda row: row.n_candidates)
        n_left_out += sum(row.n_queries for row in rows)
        unavailable = next(row for row in rows if not row.available)
        at_k = dataclasses.replace(unavailable, n_candidates=shortest.n_candidates, n_left_out=n_left_out)
        return ListOverlap(at_k, np.empty(0, np.int64), np.empty(0), None)
    measure, n_queries = f"{kind}@{k}", [row.n_queries for row in rows]
    sums = pool_folds([_stored_sums(one, measure, name) for one in rotations])
    low, high = np.clip(estimate(sums).interval(), 0, 1).tolist()
    tied_share = _mean([row.tied_share for row in rows], n_queries)
    informative = [row for row in rows if row.chance != 1]  # else lists hold all candidates
    tests = [row for row in informative if row.n_arrangements is not None and row.n_arrangements > 1]
    is_tested = len(tests) > 0 and all(row.n_arrangements is not None for row in rows)
    at_k = OverlapAtK(
        k=k,
        available=True,
        overlap=_mean([row.overlap for row in rows], n_queries),
        chance=_mean([row.chance for row in rows], n_queries),
        chance_sd=_root_mean_square([row.chance_sd for row in rows], n_queries),
        low=low,
        high=high,
        p_value=_combine([row.p_value for row in informative], [row.n_queries for row in informative]),
        null_mean=_mean([row.null_mean for row in rows], n_queries),
        n_queries=sum(n_queries),
        n_candidates=max(row.n_candidates for row in rows),
        tied_share=tied_share,
        flagged=tied_share is not None and tied_share > FLAGGED_TIED_SHARE,
        # A rotation with a single arrangement, whose p-value is always 1, says nothing.
        p_beyond_artist=_combine([row.p_beyond_artist for row in tests], [row.n_queries for row in tests])
        if is_tested
        else None,
        null_mean_beyond_artist=_mean([row.null_mean_beyond_artist for row in rows], n_queries),
        n_arrangements=min(math.prod(row.n_arrangements or 1.0 for row in rows), MAX_ARRANGEMENTS)
        if is_tested
        else None,
        n_left_out=n_left_out,
        same_artist_share=_mean([row.same_artist_share for row in rows], n_queries),
    )
    shares = np.concatenate([one.queries.values[measure][name] for one in rotations])
    return ListOverlap(at_k, _pool_rows(measure, rotations), shares, sums)


def _stored_sums(rotation: Rotation, measure: str, name: str) -> QuerySums:
    sums, clusters = (rotation.queries.sums or {}).get(measure, {}).get(name), rotation.queries.clusters
    if sums is None or clusters is None:
        raise DataError(
            f"A rotation of {rotation.evaluation.model} was evaluated by an earlier release, which stored no sums "
            "by artist; remove its run folder in rotations/ to train it again."
        )
    by_similarity = measure.startswith(("similarity@", "filtered@"))
    return QuerySums(sums[np.newaxis], *clusters[measure], by_similarity)


def _pool_rows(measure: str, rotations: Sequence[Rotation]) -> Any:
    """Return numbers of queries that differ between rotations, shape (n_queries,)."""
    of_tracks = measure.startswith(("similarity@", "filtered@"))
    sizes = [one.evaluation.n_tracks.test if of_tracks else one.evaluation.n_playlists for one in rotations]
    first = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([one.queries.rows[measure] + n for one, n in zip(rotations, first, strict=True)])


def _pool_queries(rotations: Sequence[Rotation], compared: Mapping[str, Compared]) -> Queries:
    rows, values, artists = dict[str, Any](), dict[str, dict[str, Any]](), dict[str, Any]()
    sums, clusters = dict[str, dict[str, Any]](), dict[str, Any]()
    for name, kinds in compared.items():
        for kind, lists in kinds.items():
            for one in lists:
                if one.sums is None:
                    continue
                measure = f"{kind}@{one.at_k.k}"
                rows[measure] = one.queries
                values.setdefault(measure, {})[name] = one.shares
                sums.setdefault(measure, {})[name] = one.sums.sums[0]
                clusters[measure] = one.sums.n_queries, one.sums.n_tracks
    stored = [one.queries for one in rotations]
    for measure in stored[0].values:
        if measure not in rows and all(MODEL in one.values.get(measure, {}) for one in stored):
            if "@" in measure and measure.partition("@")[0] not in KINDS:  # a ranking metric
                rows[measure] = _pool_rows(measure, rotations)
                values[measure] = {MODEL: np.concatenate([one.values[measure][MODEL] for one in stored])}
                if all(MODEL in (one.sums or {}).get(measure, {}) for one in stored):
                    pooled = pool_folds([_stored_sums(one, measure, MODEL) for one in rotations])
                    sums[measure] = {MODEL: pooled.sums[0]}
                    clusters[measure] = pooled.n_queries, pooled.n_tracks
        if measure in rows and all(measure in (one.artists or {}) for one in stored):
            artists[measure] = np.concatenate([(one.artists or {})[measure] for one in stored])
    return Queries(rows, values, artists, sums, clusters)


def _pool_ranking(evaluations: Sequence[Evaluation]) -> RankingRecord | None:
    """Return ranking metrics that all rotations have; candidates are those of the rotation with most."""
    records = [one.ranking for one in evaluations if one.ranking is not None]
    if len(records) < len(evaluations):
        return None
    n_playlists = [one.n_playlists for one in records]
    predictors: dict[str, dict[str, MeanRecord | None]] = {}
    for name, metrics in records[0].predictors.items():
        if all(name in one.predictors for one in records):
            predictors[name] = {
                metric: _pool_means([one.predictors[name].get(metric) for one in records], n_playlists)
                for metric in metrics
            }
    return RankingRecord(
        sum(n_playlists),
        sum(one.n_left_out for one in records),
        max(one.n_candidates for one in records),
        predictors,
    )


def _pool_means(means: Sequence[MeanRecord | None], weights: Sequence[int]) -> MeanRecord | None:
    found = [one for one in means if one is not None]
    if len(found) < len(means):
        return None
    mean = float(np.average([one.mean for one in found], weights=weights))
    return MeanRecord(
        mean, *(_mean([getattr(one, bound) for one in found], weights) for bound in ("low", "high"))
    )


def _pool_beyond(evaluations: Sequence[Evaluation]) -> BeyondRecord | None:
    """Return means over rotations, weighted by test tracks."""
    records = [one.beyond_accuracy for one in evaluations if one.beyond_accuracy is not None]
    if len(records) < len(evaluations) or len({(one.k, one.kind) for one in records}) > 1:
        return None
    weights = [one.n_tracks.test for one in evaluations]
    predictors = {
        name: {
            metric: _mean([one.predictors[name].get(metric) for one in records], weights)
            for metric in metrics
        }
        for name, metrics in records[0].predictors.items()
        if all(name in one.predictors for one in records)
    }
    return BeyondRecord(records[0].k, predictors, records[0].kind)


def _pool_hubness(evaluations: Sequence[Evaluation]) -> HubnessRecord | None:
    """Return means over rotations, weighted by test tracks."""
    records = [one.hubness for one in evaluations if one.hubness is not None]
    if len(records) < len(evaluations) or len({(one.k, one.kind) for one in records}) > 1:
        return None
    weights = [one.n_tracks.test for one in evaluations]
    scores = {}
    for score in records[0].scores:
        found = [one.scores[score] for one in records]
        overlap = _pool_means([one.overlap for one in found], weights)
        gain = _pool_means([one.gain for one in found], weights)
        assert overlap is not None and gain is not None  # as each rotation has them
        scores[score] = HubnessReduction(
            overlap,
            gain,
            _mean([one.hubness for one in found], weights),
            float(np.average([one.never_reached for one in found], weights=weights)),
        )
    return HubnessRecord(records[0].k, records[0].kind, scores)


def _pool_groups(evaluations: Sequence[Evaluation]) -> GroupsRecord | None:
    """Return means of groups over rotations; quarters of popularity are those of each rotation."""
    records = [one.groups for one in evaluations if one.groups is not None]
    if len(records) < len(evaluations) or len({(one.k, one.kind) for one in records}) > 1:
        return None
    sizes = {}
    for by in records[0].sizes:
        found = [size for one in records for size in one.sizes.get(by, ())]
        sizes[by] = tuple(
            GroupSize(label, sum(size.n for size in found if size.group == label))
            for label in sorted({size.group for size in found})
        )
    predictors: dict[str, dict[str, GroupMeans]] = {}
    for name, measures in records[0].predictors.items():
        for measure, groupings in measures.items():
            for by in groupings:
                means = [
                    mean
                    for one in records
                    for mean in one.predictors.get(name, {}).get(measure, {}).get(by, ())
                ]
                pooled = tuple(_pool_group(means, label) for label in sorted({one.group for one in means}))
                predictors.setdefault(name, {}).setdefault(measure, {})[by] = pooled
    return GroupsRecord(records[0].k, sizes, predictors, records[0].kind)


def _pool_group(means: Sequence[GroupMean], label: Any) -> GroupMean:
    found = [one for one in means if one.group == label]
    weights = [one.n for one in found]
    mean = float(np.average([one.mean for one in found], weights=weights))
    low, high = (_mean([getattr(one, bound) for one in found], weights) for bound in ("low", "high"))
    return GroupMean(label, sum(weights), mean, low, high)


def _combine(p_values: Sequence[float | None], n_queries: Sequence[int]) -> float | None:
    found = [one for one in p_values if one is not None]
    return combine_p_values(found, n_queries) if found and len(found) == len(p_values) else None


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    found = [one for one in values if one is not None]
    return float(np.average(found, weights=weights)) if len(found) == len(values) else None


def _root_mean_square(values: Sequence[float | None], n_queries: Sequence[int]) -> float | None:
    """Return the standard deviation of a mean over all queries from those of means over some."""
    found = [one for one in values if one is not None]
    if len(found) < len(values):
        return None
    return float(np.sqrt(np.square(np.multiply(found, n_queries)).sum()) / np.sum(n_queries))
