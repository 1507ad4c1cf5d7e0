"""Evaluation of predictors of the test tracks' factors, all on the same queries."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.beyond_accuracy import artist_repetition, measure_exposure, popularity_ratio
from cs_keras.evaluation.groups import measure_group_means, measure_group_ndcg
from cs_keras.evaluation.labels.cohesion import measure_cohesion
from cs_keras.evaluation.overlap import compare_lists, not_available, rank_predicted, rank_reference
from cs_keras.evaluation.rank_fusion import rank_held_out_by_score, top_k_scored
from cs_keras.evaluation.ranking import RankMetrics, measure_ranks, rank_metrics
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.topk import TopK
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.evaluation import REFERENCE, GroupMeans, OverlapAtK, Overlaps
from cs_keras.run_files.settings import EvaluationConfig
from pipelines.evaluation.reference import Kind, Predictor, Reference, make_reference_predictors

SAMPLE_SEED = 0  # of the queries, so that runs of any seed share them and can be compared pair by pair
MAP_LENGTH = 500  # of mAP@500, the measure of the Million Song Dataset Challenge

Lists = Mapping[Kind, TopK]
Beyond = dict[str, float | None]
Shared = dict[Kind, dict[int, npt.NDArray[np.int64]]]


@dataclasses.dataclass(frozen=True, eq=False)
class PredictorEvaluation:
    """The evaluation of one predictor; overlaps are empty for the reference itself.

    `shared` has the number of tracks that each query's list shares with the reference's, shape (n_queries,), int64.
    """

    overlap: Overlaps
    shared: Shared
    ranking: RankMetrics | None  # None without held-out interactions
    beyond: Beyond
    groups: dict[str, GroupMeans]  # ``overlap`` (similarity) and ``ndcg`` of groups of tracks


class Evaluator:
    """Evaluates predictors against one reference; what they share is computed once.

    Groups and metrics beyond accuracy use the first list length of the settings. The seed is that of permutations,
    bootstrap and the random predictor.
    """

    def __init__(
        self,
        reference: Reference,
        settings: EvaluationConfig,
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        self.reference, self.settings, self.seed = reference, settings, seed
        self._progress = progress or SilentProgress()

    @functools.cached_property
    def lists(self) -> dict[Kind, TopK]:
        """The reference's lists, by kind."""
        own = self.reference.own
        queries: dict[Kind, Any] = {"similarity": None} if len(own.items) > 1 else {}
        if len(own.playlists):
            queries["dot"] = own.playlists
        lists: dict[Kind, TopK] = {}
        with self._progress.task("rank by the reference", len(queries)) as advance:
            for kind, playlists in queries.items():
                lists[kind] = rank_reference(
                    own.items,
                    ks=self.settings.ks,
                    metric=self.settings.metric,  # type: ignore[arg-type]
                    playlist_factors=playlists,
                    max_queries=self.settings.max_queries,
                    seed=SAMPLE_SEED,
                )
                advance(1)
        return lists

    @functools.cached_property
    def reference_predictors(self) -> dict[str, PredictorEvaluation]:
        """Evaluations of the predictors that every model is compared with, by name; the reference is last."""
        evaluations = {
            name: self.evaluate(predictor, name)
            for name, predictor in make_reference_predictors(self.reference, self.seed)
        }
        with self._progress.task(f"evaluate the {REFERENCE}", 2) as advance:
            ranking = self._ranking(self.reference.own)
            advance(1)
            beyond, groups = self._beyond(self.lists), self._groups(self.lists, {})
            advance(1)
        evaluations[REFERENCE] = PredictorEvaluation({}, {}, ranking, beyond, groups)
        return evaluations

    def evaluate(self, predictor: Predictor, name: str = "predictions") -> PredictorEvaluation:
        """Evaluate a predictor, named in progress messages.

        DataError is raised when it is of other tracks or not finite.
        """
        kinds = [kind for kind in self.lists if kind == "dot" or not predictor.is_ranking]
        lists: dict[Kind, TopK] = {}
        overlap: Overlaps = {}
        with self._progress.task(f"evaluate {name}", 2 * len(kinds) + 2) as advance:
            for kind in kinds:
                lists[kind] = _rank(kind, self.lists[kind], predictor)
                advance(1)
                overlap[kind] = self._overlap(kind, lists[kind])
                advance(1)
            ranking = self._ranking(predictor)
            advance(1)
            shared = {kind: self._shared(kind, own) for kind, own in lists.items()}
            beyond, groups = self._beyond(lists), self._groups(lists, shared)
            advance(1)
        if "similarity" not in self.lists and not predictor.is_ranking:
            # A single track is similar to no other.
            overlap["similarity"] = tuple(not_available(k, 1, 0) for k in self.settings.ks)
        return PredictorEvaluation(overlap, shared, ranking, beyond, groups)

    def first_k(self, kind: Kind) -> int | None:
        """Return the first list length of the settings, or None if there are too few candidates for it."""
        k = self.settings.ks[0]
        return k if kind in self.lists and k <= self.lists[kind].n_candidates else None

    @functools.cached_property
    def held_out(self) -> Any:
        """Test tracks in each query playlist: csr_matrix, shape (n_queries, n_test); None if unknown."""
        if self.reference.interactions is None or "dot" not in self.lists:
            return None
        held_out = self.reference.interactions[self.lists["dot"].queries]
        return held_out if held_out.nnz else None

    def _overlap(self, kind: Kind, predicted: TopK) -> tuple[OverlapAtK, ...]:
        rows = compare_lists(
            self.lists[kind],
            predicted,
            self.settings.ks,
            n_permutations=self.settings.n_permutations,
            n_bootstrap=self.settings.n_bootstrap,
            seed=self.seed,
        )
        return tuple(rows)

    def _shared(self, kind: Kind, predicted: TopK) -> dict[int, npt.NDArray[np.int64]]:
        own = self.lists[kind]
        ks = tuple(k for k in dict.fromkeys(self.settings.ks) if k <= own.n_candidates)
        return dict(zip(ks, count_shared(own.indices, predicted.indices, ks, own.n_items), strict=True))

    def _ranking(self, predictor: Predictor) -> RankMetrics | None:
        if self.held_out is None:
            return None
        queries, ks = self.lists["dot"].queries, tuple(dict.fromkeys((*self.settings.ks, MAP_LENGTH)))
        score = predictor.scores
        if score is not None:
            ranks = rank_held_out_by_score(lambda rows: score("dot", queries[rows]), self.held_out)
            return measure_ranks(ranks, ks)
        playlists, items = predictor.playlists[queries], predictor.items
        if predictor.is_ranking:
            playlists, items = np.ones((len(playlists), 1), np.float32), items[:, np.newaxis]
        return rank_metrics(playlists, items, self.held_out, ks=ks)

    def _beyond(self, lists: Lists) -> Beyond:
        first = {kind: own.prefix(k) for kind, own in lists.items() if (k := self.first_k(kind))}
        return measure_beyond(first, self.reference)

    def _groups(self, lists: Lists, shared: Shared) -> dict[str, GroupMeans]:
        """Return mean overlap, and mean nDCG over the playlists with any of a group's tracks, of each group."""
        means: dict[str, GroupMeans] = {}
        groups = self.reference.groups
        if "similarity" in shared and (k := self.first_k("similarity")):
            overlaps, queries = shared["similarity"][k] / k, lists["similarity"].queries
            means["overlap"] = {
                name: tuple(measure_group_means(overlaps, labels[queries], self.seed))
                for name, labels in groups.items()
            }
        if self.held_out is not None and (k := self.first_k("dot")):
            first = lists["dot"].prefix(k)
            means["ndcg"] = {}
            for name, labels in groups.items():
                ndcg = measure_group_ndcg(first, self.held_out, labels)
                values, of = np.concatenate(list(ndcg.values())), np.repeat(list(ndcg), len(first.queries))
                defined = ~np.isnan(values)
                means["ndcg"][name] = tuple(measure_group_means(values[defined], of[defined], self.seed))
        return means


def measure_beyond(lists: Lists, reference: Reference) -> Beyond:
    """Return exposure and cohesion of lists of test tracks, all of one length.

    From lists of playlists: coverage, gini, popularity (ratio, None without interactions) and artist_repetition.
    From lists of tracks: hubness, never_reached and the fields of `cs_keras.evaluation.labels.cohesion.Cohesion`.
    """
    metrics: Beyond = {}
    if "dot" in lists:
        rows, popularity = lists["dot"].indices, reference.popularity
        exposure = measure_exposure(rows, lists["dot"].n_items)
        metrics |= {
            "coverage": exposure.coverage,
            "gini": exposure.gini,
            "popularity": None if popularity is None else popularity_ratio(rows, popularity),
            "artist_repetition": float(artist_repetition(rows, reference.artist_numbers).mean()),
        }
    if "similarity" in lists:
        similar = lists["similarity"]
        exposure = measure_exposure(similar.indices, similar.n_items)
        metrics |= {"hubness": exposure.hubness, "never_reached": exposure.never_reached}
        artists, genres = reference.artist_numbers, reference.genre_matrix
        cohesion = measure_cohesion(similar.indices, similar.queries, artists, genres, reference.own.items)
        metrics |= dataclasses.asdict(cohesion)
    return metrics


def _rank(kind: Kind, own: TopK, predictor: Predictor) -> TopK:
    """Return a predictor's lists for the queries of the reference's."""
    if predictor.scores is not None:
        return top_k_scored(functools.partial(predictor.scores, kind), own)
    if kind == "dot":
        return rank_predicted(own, predictor.items, predictor.playlists)
    if predictor.positions is not None:
        return rank_predicted(own, predictor.positions, metric="euclidean")
    return rank_predicted(own, predictor.items)
