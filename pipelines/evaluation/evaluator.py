"""How good predictors of the test tracks' factors are, in every respect, and on the same queries for all."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.overlap import (
    OverlapAtK,
    compare_lists,
    not_available,
    rank_predicted,
    rank_reference,
)
from cs_keras.evaluation.rank_fusion import rank_held_out_by_score, top_k_scored
from cs_keras.evaluation.ranking import RankMetrics, measure_ranks, rank_metrics
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.topk import TopK
from cs_keras.progress import Progress, SilentProgress
from pipelines.evaluation.beyond_overlap import (
    Beyond,
    Catalogue,
    Lists,
    Means,
    measure_beyond,
    overlap_by_group,
    ranking_by_group,
)
from pipelines.evaluation.reference import Kind, Predictor, Reference
from pipelines.evaluation.reference_predictors import REFERENCE, make_reference_predictors

if TYPE_CHECKING:  # whose module takes TensorFlow in; judging needs none
    from pipelines.training.run_config import EvaluationConfig

SAMPLE_SEED = 0  # of the queries, so that runs of any seed share them and can be compared pair by pair
MAP_LENGTH = 500  # of mAP@500, the measure of the Million Song Dataset Challenge

Shared = dict[Kind, dict[int, npt.NDArray[np.int64]]]


@dataclasses.dataclass(frozen=True, eq=False)
class PredictorEvaluation:
    """What was found of one predictor.

    Attributes
    ----------
    overlap
        By kind of list, a row for each list length; empty for the reference itself.
    shared
        By kind of list and list length, how many tracks of its list each query has from the reference's too,
        shape (n_queries,), int64.
    ranking
        How well playlists find the test tracks they hold; None without listening.
    beyond
        Numbers beyond accuracy, by name.
    groups
        ``overlap`` (similarity) and ``ndcg`` of groups of tracks.
    """

    overlap: dict[Kind, list[OverlapAtK]]
    shared: Shared
    ranking: RankMetrics | None
    beyond: Beyond
    groups: dict[str, Means]


class Evaluator:
    """Judges predictors by one reference; what they have in common is computed once.

    Parameters
    ----------
    reference
        See `pipelines.evaluation.reference.make_reference`.
    settings
        List lengths, metric, permutations. Groups and numbers beyond accuracy are of the first list length.
    seed
        Of permutations, bootstrap and the random predictor.
    progress
        Where to report.
    """

    def __init__(
        self,
        reference: Reference,
        settings: "EvaluationConfig",
        seed: int,
        progress: Progress | None = None,
    ) -> None:
        self.reference, self.settings, self.seed = reference, settings, seed
        self._progress = progress or SilentProgress()

    @functools.cached_property
    def lists(self) -> dict[Kind, TopK]:
        """The reference's lists, of each kind that there are any of."""
        own = self.reference.own
        asking: dict[Kind, Any] = {"similarity": None} if len(own.items) > 1 else {}
        if len(own.playlists):
            asking["dot"] = own.playlists
        lists: dict[Kind, TopK] = {}
        with self._progress.task("rank by the reference", len(asking)) as advance:
            for kind, playlists in asking.items():
                lists[kind] = self._rank_reference(playlists)
                advance(1)
        return lists

    @functools.cached_property
    def reference_predictors(self) -> dict[str, PredictorEvaluation]:
        """What every model is held beside, by name; the reference itself comes last."""
        found = {
            name: self.judge(predictor, name)
            for name, predictor in make_reference_predictors(self.reference, self.seed)
        }
        with self._progress.task(f"judge the {REFERENCE}", 2) as advance:
            ranking = self._ranking(self.reference.own)
            advance(1)
            beyond, groups = self._beyond(self.lists), self._groups(self.lists, {})
            advance(1)
        found[REFERENCE] = PredictorEvaluation({}, {}, ranking, beyond, groups)
        return found

    def judge(self, predictor: Predictor, name: str = "predictions") -> PredictorEvaluation:
        """Return what is found of factors of the test tracks, or of one score each.

        Parameters
        ----------
        predictor
            What to judge.
        name
            What progress calls it.

        Raises
        ------
        DataError
            When they are not of these tracks or not finite.
        """
        kinds = [kind for kind in self.lists if kind == "dot" or not predictor.is_ranking]
        lists: dict[Kind, TopK] = {}
        overlap: dict[Kind, list[OverlapAtK]] = {}
        with self._progress.task(f"judge {name}", 2 * len(kinds) + 2) as advance:
            for kind in kinds:
                lists[kind] = _rank(kind, self.lists[kind], predictor)
                advance(1)
                overlap[kind] = self._overlap(kind, lists[kind])
                advance(1)
            ranking = self._ranking(predictor)
            advance(1)
            shared = {kind: self._shared(kind, found) for kind, found in lists.items()}
            beyond, groups = self._beyond(lists), self._groups(lists, shared)
            advance(1)
        if "similarity" not in self.lists and not predictor.is_ranking:
            # A single track is similar to no other.
            overlap["similarity"] = [not_available(k, 1, 0) for k in self.settings.ks]
        return PredictorEvaluation(overlap, shared, ranking, beyond, groups)

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The test tracks as groups, artists and popularity tell them apart."""
        return Catalogue.of(self.reference)

    def first_k(self, kind: Kind) -> int | None:
        """Return the first list length of the settings, or None if there are too few candidates for it."""
        k = self.settings.ks[0]
        return k if kind in self.lists and k <= self.lists[kind].n_candidates else None

    @functools.cached_property
    def held_out(self) -> Any:
        """Which test tracks the playlists that ask hold: csr_matrix, shape (n_queries, n_test); None if unknown."""
        if self.reference.listening is None or "dot" not in self.lists:
            return None
        held_out = self.reference.listening[self.lists["dot"].queries]
        return held_out if held_out.nnz else None

    def _rank_reference(self, playlists: Any) -> TopK:
        return rank_reference(
            self.reference.own.items,
            ks=self.settings.ks,
            metric=self.settings.metric,  # type: ignore[arg-type]
            playlist_factors=playlists,
            max_queries=self.settings.max_queries,
            seed=SAMPLE_SEED,
        )

    def _overlap(self, kind: Kind, found: TopK) -> list[OverlapAtK]:
        return compare_lists(
            self.lists[kind],
            found,
            self.settings.ks,
            n_permutations=self.settings.n_permutations,
            n_bootstrap=self.settings.n_bootstrap,
            seed=self.seed,
        )

    def _shared(self, kind: Kind, found: TopK) -> dict[int, npt.NDArray[np.int64]]:
        own = self.lists[kind]
        ks = tuple(k for k in dict.fromkeys(self.settings.ks) if k <= own.n_candidates)
        return dict(zip(ks, count_shared(own.indices, found.indices, ks, own.n_items), strict=True))

    def _ranking(self, predictor: Predictor) -> RankMetrics | None:
        if self.held_out is None:
            return None
        queries, ks = self.lists["dot"].queries, tuple(dict.fromkeys((*self.settings.ks, MAP_LENGTH)))
        score = predictor.scores
        if score is not None:
            found = rank_held_out_by_score(lambda rows: score("dot", queries[rows]), self.held_out)
            return measure_ranks(found, ks)
        playlists, items = predictor.playlists[queries], predictor.items
        if predictor.is_ranking:
            playlists, items = np.ones((len(playlists), 1), np.float32), items[:, np.newaxis]
        return rank_metrics(playlists, items, self.held_out, ks=ks)

    def _beyond(self, lists: Lists) -> Beyond:
        first = {kind: found.prefix(k) for kind, found in lists.items() if (k := self.first_k(kind))}
        return measure_beyond(first, self.catalogue)

    def _groups(self, lists: Lists, shared: Shared) -> dict[str, Means]:
        means = {}
        if "similarity" in shared and (k := self.first_k("similarity")):
            overlaps = shared["similarity"][k] / k
            means["overlap"] = overlap_by_group(overlaps, lists["similarity"], self.catalogue, self.seed)
        if self.held_out is not None and (k := self.first_k("dot")):
            first = lists["dot"].prefix(k)
            means["ndcg"] = ranking_by_group(first, self.held_out, self.catalogue, self.seed)
        return means


def _rank(kind: Kind, own: TopK, predictor: Predictor) -> TopK:
    """Return a predictor's lists for the queries of the reference's."""
    if predictor.scores is not None:
        return top_k_scored(functools.partial(predictor.scores, kind), own)
    if kind == "dot":
        return rank_predicted(own, predictor.items, predictor.playlists)
    if predictor.places is not None:
        return rank_predicted(own, predictor.places, metric="euclidean")
    return rank_predicted(own, predictor.items)
