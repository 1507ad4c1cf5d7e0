"""Lists of new tracks and playlists among all tracks of a catalogue, new and known.

New tracks have predicted factors. Known ones, of the train and validation splits, have theirs in both lists:
cross-fitted or folded in, as the reference factors of new tracks are. Those of a fit in-sample have larger norms,
and would push new tracks out of lists by dot product.
"""

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError
from cs_keras.evaluation.list_parts import measure_part
from cs_keras.evaluation.overlap import compare_lists, rank_predicted, rank_reference
from cs_keras.evaluation.search.topk import TopK, filter_artists
from cs_keras.factors.store import Factors
from cs_keras.run_files.evaluation import AmongAllAtK, Kind
from cs_keras.run_files.settings import EvaluationConfig
from pipelines.evaluation.lists import SAMPLE_SEED
from pipelines.evaluation.reference import Predictor, Reference


def require_cross_fitted(factors: Factors) -> None:
    """Raise ConfigError unless train tracks have cross-fitted factors, so that they can compete with new tracks."""
    targets = (factors.config or {}).get("targets", "in-sample")
    if targets != "cross-fitted":
        raise ConfigError(
            "--candidates all needs cross-fitted factors, because known tracks fitted in-sample have larger norms "
            f"than new ones: expected `cs-keras factors --protocol strict`. Received: {factors.name!r}, protocol "
            f"{factors.protocol}, targets {targets}."
        )


class AllCandidates:
    """The reference's lists among all tracks, with which those of predictors are compared.

    They are those by similarity, artist-filtered where artists are known, and by dot product. There are no
    p-values: known tracks, which are the same in both lists, have nothing to exchange.
    """

    def __init__(self, reference: Reference, settings: EvaluationConfig, seed: int) -> None:
        assert reference.known is not None  # see `require_cross_fitted`
        self._known, artists = reference.known()
        self.n_known, self._ks, self._seed = len(self._known), settings.ks, seed
        self._artists = np.concatenate([reference.artists, artists])
        n_new = len(reference.artists)
        self._is_new = np.arange(n_new + self.n_known) < n_new
        items, own = self._append(reference.own.items), reference.own
        self._tracks: Kind = "filtered" if reference.has_known_artists else "similarity"
        self._lists: dict[Kind, TopK] = {
            self._tracks: rank_reference(
                items,
                ks=self._ks,
                metric=settings.metric,  # type: ignore[arg-type]
                artists=self._artists,
                max_queries=settings.max_queries,
                seed=SAMPLE_SEED,
                n_queries=n_new,
            )
        }
        if len(own.playlists):
            self._lists["dot"] = rank_reference(
                items,
                ks=self._ks,
                playlist_factors=own.playlists,
                artists=self._artists,
                max_queries=settings.max_queries,
                seed=SAMPLE_SEED,
            )

    def compare(self, predictor: Predictor) -> dict[Kind, tuple[AmongAllAtK, ...]]:
        """Return overlaps of a predictor in the reference's space, by kind of list, at each length available.

        A predictor that has one score for a track, or scores or positions instead of factors, has none for known
        tracks, so no lists of that kind.
        """
        if predictor.is_ranking or predictor.scores is not None:
            return {}
        items = self._append(predictor.items)
        return {
            kind: self._compare(
                kind, rank_predicted(lists, items, predictor.playlists if kind == "dot" else None)
            )
            for kind, lists in self._lists.items()
            if kind == "dot" or predictor.positions is None
        }

    def _append(self, items: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.concatenate([items, self._known])

    def _compare(self, kind: Kind, predicted: TopK) -> tuple[AmongAllAtK, ...]:
        reference = self._lists[kind]
        compared = compare_lists(
            reference,
            predicted,
            self._ks,
            artists=self._artists,
            filtered=kind == "filtered",
            n_permutations=0,
            seed=self._seed,
        )
        rows = []
        for row in (one.at_k for one in compared if one.at_k.available):
            own, other = (self._cut(kind, lists, row.k) for lists in (reference, predicted))
            new, known = (measure_part(own, other, part) for part in (self._is_new, ~self._is_new))
            assert row.overlap is not None and row.chance is not None  # as they are available
            assert row.low is not None and row.high is not None
            rows.append(
                AmongAllAtK(
                    row.k,
                    row.overlap,
                    row.low,
                    row.high,
                    row.chance,
                    row.n_queries,
                    new_in_reference=new.in_reference,
                    new_in_predicted=new.in_predicted,
                    overlap_new=new.overlap,
                    overlap_known=known.overlap,
                )
            )
        return tuple(rows)

    def _cut(self, kind: Kind, lists: TopK, k: int) -> TopK:
        return filter_artists(lists, self._artists, k) if kind == "filtered" else lists.prefix(k)
