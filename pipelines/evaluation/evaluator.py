"""Evaluation of predictors of the test tracks' factors, all on the same queries."""

import dataclasses
import functools
from typing import Any

import numpy as np

from cs_keras.evaluation.beyond_accuracy import artist_repetition, measure_exposure, popularity_ratio
from cs_keras.evaluation.groups import measure_group_ndcg, measure_group_overlap
from cs_keras.evaluation.hubness import SCORES, top_k_reduced
from cs_keras.evaluation.labels.cohesion import measure_cohesion, same_artist_share
from cs_keras.evaluation.overlap import ListOverlap, compare_lists, list_length, not_available
from cs_keras.evaluation.rank_fusion import mean_scores, rank_held_out_by_score
from cs_keras.evaluation.ranking import (
    RANKED_GAINS,
    RankMetrics,
    auc_above,
    measure_ranks,
    rank_metrics,
    sum_gains,
)
from cs_keras.evaluation.reference_predictors import score_by_mean_playlist
from cs_keras.evaluation.search.topk import TopK, filter_artists
from cs_keras.evaluation.statistics.jackknife import QuerySums, estimate
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.evaluation import (
    HALF_DATA_CEILING,
    INFORMATION,
    REFERENCE,
    REFIT_CEILING,
    AmongAllAtK,
    GroupMeans,
    HubnessRecord,
    HubnessReduction,
    Kind,
    MeanRecord,
    Overlaps,
)
from cs_keras.run_files.settings import EvaluationConfig
from pipelines.evaluation.all_candidates import AllCandidates
from pipelines.evaluation.lists import Lists, ReferenceLists
from pipelines.evaluation.reference import Predictor, Reference, make_reference_predictors

MAX_REDUCED = 20_000  # tracks; the time of scores that reduce hubness grows with the square
MAP_LENGTH = 500  # of mAP@500, the measure of the Million Song Dataset Challenge

Beyond = dict[str, float | None]
Compared = dict[Kind, tuple[ListOverlap, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class PredictorEvaluation:
    """The evaluation of one predictor; nothing is compared for the reference itself."""

    compared: Compared  # by kind of list, for each list length
    ranking: RankMetrics | None  # None without held-out interactions
    gains: dict[str, QuerySums]  # nDCG and recall by name and length, such as ``ndcg@10``
    beyond: Beyond
    groups: dict[str, GroupMeans]  # ``overlap`` (of tracks' lists) and ``ndcg`` of groups of tracks
    among_all: dict[Kind, tuple[AmongAllAtK, ...]] = dataclasses.field(default_factory=dict)
    liked_above_disliked: float | None = (
        None  # mean AUC over listeners; None where nothing is known of dislikes
    )

    @property
    def overlap(self) -> Overlaps:
        """Overlaps by kind of list."""
        return {kind: tuple(one.at_k for one in own) for kind, own in self.compared.items()}


class Evaluator:
    """Evaluates predictors against one reference; what they share is computed once.

    Groups and metrics beyond accuracy use the first list length of the settings. The seed is that of permutations
    and of the random predictor.
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
    def lists(self) -> ReferenceLists:
        """The reference's lists."""
        return ReferenceLists(self.reference, self.settings, self._progress)

    @property
    def leading(self) -> Kind:
        """The kind of tracks' lists that is reported first: artist-filtered where artists are known."""
        return "filtered" if "filtered" in self.lists.kinds else "similarity"

    @functools.cached_property
    def all_candidates(self) -> AllCandidates | None:
        """The reference's lists among new and known tracks; None if the settings do not request them."""
        if self.settings.candidates != "all":
            return None
        return AllCandidates(self.reference, self.settings, self.seed)

    @functools.cached_property
    def reference_predictors(self) -> dict[str, PredictorEvaluation]:
        """Evaluations of the predictors that every model is compared with, by name; the reference is last."""
        evaluations = {
            name: self.evaluate(predictor, name)
            for name, predictor in make_reference_predictors(self.reference, self.seed)
        }
        if self.reference.halves is not None:
            evaluations[HALF_DATA_CEILING] = self._compare_halves(*self.reference.halves)
        with self._progress.task(f"evaluate the {REFERENCE}", 2) as advance:
            ranking, liked = self._ranking(self.reference.own), self._compare_dislikes(self.reference.own)
            advance(1)
            lists = self.lists.by_kind
            beyond, groups = self._beyond(lists), self._groups(lists, {})
            advance(1)
        evaluations[REFERENCE] = PredictorEvaluation(
            {}, ranking, self._gains(lists), beyond, groups, liked_above_disliked=liked
        )
        return {name: evaluations[name] for name in INFORMATION if name in evaluations}

    def evaluate(
        self, predictor: Predictor, name: str = "predictions", *, tested: bool = True
    ) -> PredictorEvaluation:
        """Evaluate a predictor, named in progress messages, with permutation tests if it is to be `tested`.

        DataError is raised when it is of other tracks or not finite.
        """
        n_permutations = self.settings.n_permutations if tested else 0
        own, found = self.lists.by_kind, dict[Kind, TopK]()
        compared: Compared = {}
        with self._progress.task(f"evaluate {name}", 2 * len(own) + 2) as advance:
            for kind in own:
                if kind != "similarity" or not predictor.is_ranking:
                    found[kind] = self.lists.rank(kind, predictor)
                    compared |= self._compare(kind, found[kind], n_permutations)
                advance(2)
            ranking, liked = self._ranking(predictor), self._compare_dislikes(predictor)
            advance(1)
            beyond, groups = self._beyond(found), self._groups(found, compared)
            advance(1)
        if "similarity" not in own and not predictor.is_ranking:
            # A single track is similar to no other.
            compared["similarity"] = tuple(not_available(k, np.zeros(1, np.int64)) for k in self.settings.ks)
        # A refit has a space of its own, in which known tracks are fitted in-sample.
        candidates = self.all_candidates if name != REFIT_CEILING else None
        among_all = candidates.compare(predictor) if candidates else {}
        return PredictorEvaluation(compared, ranking, self._gains(found), beyond, groups, among_all, liked)

    def _compare_halves(self, one: Predictor, other: Predictor) -> PredictorEvaluation:
        """Compare the lists of two fits with each other, as those of a predictor with those of the reference."""
        compared: Compared = {}
        with self._progress.task(f"evaluate {HALF_DATA_CEILING}", len(self.lists.by_kind)) as advance:
            for kind in self.lists.by_kind:
                lists, others = self.lists.rank(kind, one), self.lists.rank(kind, other)
                compared |= self._compare(kind, others, self.settings.n_permutations, lists)
                advance(1)
        return PredictorEvaluation(compared, None, {}, {}, {})

    def evaluate_single_ranking(self, predictor: Predictor) -> PredictorEvaluation | None:
        """Evaluate a predictor's scores averaged over playlists, one ranking for all; None without playlists.

        It is not tested: it shows what of the predictor's own overlap is not specific to a playlist.
        """
        if "dot" not in self.lists.by_kind:
            return None
        if predictor.scores is None:
            scores = score_by_mean_playlist(predictor.items, predictor.playlists)
        else:
            scores = mean_scores(functools.partial(predictor.scores, "dot"), self.lists.by_kind["dot"])
        return self.evaluate(Predictor(scores, predictor.playlists), "its single ranking", tested=False)

    def reduce_hubness(self, predictor: Predictor, evaluation: PredictorEvaluation) -> HubnessRecord | None:
        """Evaluate a predictor's lists by CSLS and mutual proximity, of the first length, against those by cosine.

        `evaluation` is that of the same predictor. None where its similarity is not the cosine of factors, where
        there are no lists of that length, and in catalogues of more than `MAX_REDUCED` tracks.
        """
        k, artists, by_cosine = self.settings.ks[0], self.reference.artists, predictor.items
        compared = evaluation.compared.get(self.leading)
        if (
            self.settings.metric != "cosine"
            or predictor.positions is not None
            or predictor.scores is not None
            or compared is None
            or compared[0].sums is None
            or len(by_cosine) > MAX_REDUCED
        ):
            return None
        length = list_length(k, len(by_cosine), artists, by_similarity=True)
        own = self.lists.by_kind["similarity"].prefix(length)
        scores = dict[str, HubnessReduction]()
        with self._progress.task("reduce hubness", len(SCORES)) as advance:
            for name in SCORES:
                found = top_k_reduced(by_cosine, length, name, queries=own.queries)
                (row,) = compare_lists(
                    own,
                    found,
                    (k,),
                    artists=artists,
                    filtered=self.leading == "filtered",
                    n_permutations=0,
                    seed=self.seed,
                )
                scores[name] = self._reduction(row, compared[0], found)
                advance(1)
        return HubnessRecord(k, self.leading, scores)

    def _reduction(self, row: ListOverlap, by_cosine: ListOverlap, lists: TopK) -> HubnessReduction:
        assert row.sums is not None and by_cosine.sums is not None  # of the same queries
        assert row.at_k.overlap is not None
        leading = self._leading_lists(lists)
        exposure = measure_exposure(leading.indices, leading.n_items)
        gain = estimate(row.sums, by_cosine.sums)
        low, high = np.clip(gain.interval(), -1, 1).tolist()
        return HubnessReduction(
            MeanRecord(row.at_k.overlap, row.at_k.low, row.at_k.high),
            MeanRecord(gain.mean, low, high),
            exposure.hubness,
            exposure.never_reached,
        )

    def _leading_lists(self, lists: TopK) -> TopK:
        """Return the first of lists of tracks by similarity, without the query's own artist where that leads."""
        k = self.settings.ks[0]
        is_filtered = self.leading == "filtered"
        return filter_artists(lists, self.reference.artists, k) if is_filtered else lists.prefix(k)

    @functools.cached_property
    def held_out(self) -> Any:
        """Test tracks in each query playlist: csr_matrix, shape (n_queries, n_test); None if unknown."""
        if self.reference.interactions is None or "dot" not in self.lists.by_kind:
            return None
        held_out = self.reference.interactions[self.lists.by_kind["dot"].queries]
        return held_out if held_out.nnz else None

    def _compare(self, kind: Kind, predicted: TopK, n_permutations: int, own: TopK | None = None) -> Compared:
        """Return the overlaps of a predictor's lists with the reference's, or `own`.

        Of lists by similarity also the artist-filtered overlaps, where artists are known.
        """
        artists = self.reference.artists
        if kind == "dot_per_artist":  # whose items are artists
            artists = np.arange(self.lists.by_kind[kind].n_items)
        kinds: tuple[Kind, ...] = (kind,)
        if kind == "similarity" and self.leading == "filtered":
            kinds = ("similarity", "filtered")
        return {
            one: tuple(
                compare_lists(
                    own or self.lists.by_kind[kind],
                    predicted,
                    self.settings.ks,
                    artists=artists,
                    filtered=one == "filtered",
                    n_permutations=n_permutations,
                    seed=self.seed,
                )
            )
            for one in kinds
        }

    def _ranking(self, predictor: Predictor) -> RankMetrics | None:
        if self.held_out is None:
            return None
        queries, ks = self.lists.by_kind["dot"].queries, tuple(dict.fromkeys((*self.settings.ks, MAP_LENGTH)))
        score = predictor.scores
        if score is not None:
            ranks = rank_held_out_by_score(lambda rows: score("dot", queries[rows]), self.held_out)
            return measure_ranks(ranks, ks)
        playlists, items = predictor.playlists[queries], predictor.items
        if predictor.is_ranking:
            playlists, items = np.ones((len(playlists), 1), np.float32), items[:, np.newaxis]
        return rank_metrics(playlists, items, self.held_out, ks=ks)

    def _compare_dislikes(self, predictor: Predictor) -> float | None:
        """Return how well test tracks of query playlists are ranked above those that their listeners dislike."""
        if self.held_out is None or self.reference.dislikes is None:
            return None
        queries = self.lists.by_kind["dot"].queries
        found = auc_above(predictor.score_all, queries, self.held_out, self.reference.dislikes[queries])
        return None if np.isnan(found).all() else float(np.nanmean(found))

    def _gains(self, lists: Lists) -> dict[str, QuerySums]:
        """Return nDCG and recall of playlists' lists with what artists contribute, by name such as ``ndcg@10``."""
        if self.held_out is None:
            return {}
        own, artists = lists["dot"], self.reference.artists
        found = {
            f"{metric}@{k}": sum_gains(own, self.held_out, k, artists, metric)
            for k in dict.fromkeys(self.settings.ks)
            if k <= own.n_candidates
            for metric in RANKED_GAINS
        }
        return {name: sums for name, sums in found.items() if sums is not None}

    def _beyond(self, lists: Lists) -> Beyond:
        """Return exposure and cohesion of lists of the first length; empty for those that have too few candidates.

        From lists of playlists: coverage, gini, popularity (ratio, None without interactions) and
        artist_repetition.
        From the leading lists of tracks: hubness, never_reached and the fields of
        `cs_keras.evaluation.labels.cohesion.Cohesion`, of which same_artist is from all candidates.
        """
        metrics: Beyond = {}
        k, artists, popularity = self.settings.ks[0], self.reference.artists, self.reference.popularity
        playlists, tracks = lists.get("dot"), lists.get("similarity")
        if playlists is not None and k <= playlists.n_candidates:
            rows = playlists.prefix(k).indices
            exposure = measure_exposure(rows, playlists.n_items)
            metrics |= {
                "coverage": exposure.coverage,
                "gini": exposure.gini,
                "popularity": None if popularity is None else popularity_ratio(rows, popularity),
                "artist_repetition": float(artist_repetition(rows, artists).mean()),
            }
        if tracks is None or k > tracks.n_candidates:
            return metrics
        similar, leading = tracks.prefix(k), self._leading_lists(tracks)
        if len(leading.queries):
            rows, queries = leading.indices, leading.queries
            exposure = measure_exposure(rows, leading.n_items)
            cohesion = measure_cohesion(
                rows, queries, artists, self.reference.genre_matrix, self.reference.own.items
            )
            metrics |= {"hubness": exposure.hubness, "never_reached": exposure.never_reached}
            metrics |= dataclasses.asdict(cohesion)
            metrics["same_artist"] = same_artist_share(similar.indices, similar.queries, artists)
        return metrics

    def _groups(self, lists: Lists, compared: Compared) -> dict[str, GroupMeans]:
        """Return mean overlap, and mean nDCG over the playlists with any of a group's tracks, of each group."""
        means: dict[str, GroupMeans] = {}
        groups, k, artists = self.reference.groups, self.settings.ks[0], self.reference.artists
        if self.leading in compared and compared[self.leading][0].at_k.available:
            own, found = self.lists.by_kind["similarity"], lists["similarity"]
            is_filtered = self.leading == "filtered"
            means["overlap"] = {
                name: tuple(measure_group_overlap(own, found, k, labels, artists, is_filtered))
                for name, labels in groups.items()
            }
        if self.held_out is not None and k <= lists["dot"].n_candidates:
            means["ndcg"] = {
                name: tuple(measure_group_ndcg(lists["dot"], self.held_out, k, labels, artists))
                for name, labels in groups.items()
            }
        return means
