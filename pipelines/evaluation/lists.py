"""Lists of the reference and of predictors, of every kind, for the same queries."""

import functools
from collections.abc import Mapping

import numpy as np

from cs_keras.evaluation.overlap import list_length, longest_available, rank_predicted, rank_reference
from cs_keras.evaluation.rank_fusion import top_k_scored
from cs_keras.evaluation.reference_predictors import centre_playlists
from cs_keras.evaluation.search.artist_draws import assign_queries, draw_tracks, stack_draws
from cs_keras.evaluation.search.topk import TopK, top_k_dot
from cs_keras.progress import Progress
from cs_keras.run_files.evaluation import KINDS, Kind
from cs_keras.run_files.settings import EvaluationConfig
from pipelines.evaluation.reference import Predictor, Reference, Rows

# Seed of queries and drawn tracks: runs of any seed share them, so that they can be compared pair by pair.
SAMPLE_SEED = 0

Lists = Mapping[Kind, TopK]  # those by similarity are long enough to be filtered by artist


class ReferenceLists:
    """The reference's lists, and those of predictors for the same queries.

    `by_kind` has no ``filtered`` lists, which are those by ``similarity`` without the query's own artist, and of
    ``dot_per_artist`` those of all draws, whose items are artists.
    """

    def __init__(self, reference: Reference, settings: EvaluationConfig, progress: Progress) -> None:
        own, ks, self.by_kind = reference.own, settings.ks, dict[Kind, TopK]()
        self._tracks: tuple[Rows, ...] = ()  # of each draw
        self._draws: tuple[TopK, ...] = ()
        rank = functools.partial(
            rank_reference,
            own.items,
            ks=ks,
            metric=settings.metric,  # type: ignore[arg-type]
            max_queries=settings.max_queries,
            seed=SAMPLE_SEED,
        )
        with progress.task("rank by the reference", 4) as advance:
            if len(own.items) > 1:
                self.by_kind["similarity"] = rank(artists=reference.artists)
            advance(1)
            if len(own.playlists):
                self.by_kind["dot"] = rank(playlist_factors=own.playlists, artists=reference.artists)
            advance(1)
            if len(own.playlists) and reference.has_known_artists:
                tracks = draw_tracks(reference.artists, seed=SAMPLE_SEED)
                queries = assign_queries(
                    self.by_kind["dot"].queries, max_queries=settings.max_queries, seed=SAMPLE_SEED
                )
                n_artists = tracks.shape[1]
                k = list_length(longest_available(ks, n_artists), n_artists, np.arange(n_artists))
                self._tracks = tuple(tracks)
                self._draws = tuple(
                    top_k_dot(own.playlists, own.items[drawn], k, queries=rows)
                    for drawn, rows in zip(tracks, queries, strict=True)
                )
                self.by_kind["dot_per_artist"] = stack_draws(self._draws)
            advance(1)
            centred = centre_playlists(own.playlists) if len(own.playlists) else own.playlists
            if centred.any():
                self.by_kind["dot_centred"] = rank(playlist_factors=centred, artists=reference.artists)
            advance(1)
        self.kinds = tuple(
            kind
            for kind in KINDS
            if kind in self.by_kind
            or (kind == "filtered" and "similarity" in self.by_kind and reference.has_known_artists)
        )

    def rank(self, kind: Kind, predictor: Predictor) -> TopK:
        """Return a predictor's lists of a kind of `by_kind`."""
        if kind == "dot_per_artist":
            draws = zip(self._draws, self._tracks, strict=True)
            return stack_draws([_rank(kind, lists, predictor, tracks) for lists, tracks in draws])
        return _rank(kind, self.by_kind[kind], predictor)


def _rank(kind: Kind, lists: TopK, predictor: Predictor, tracks: Rows | None = None) -> TopK:
    """Return a predictor's lists, of some tracks only if they are given, for the queries of the reference's."""
    chosen = slice(None) if tracks is None else tracks
    if predictor.scores is not None:
        score = functools.partial(predictor.scores, "dot" if kind == "dot_per_artist" else kind)
        return top_k_scored(lambda rows: score(rows)[:, chosen], lists)
    if kind == "similarity":
        if predictor.positions is not None:
            return rank_predicted(lists, predictor.positions, metric="euclidean")
        return rank_predicted(lists, predictor.items)
    playlists = centre_playlists(predictor.playlists) if kind == "dot_centred" else predictor.playlists
    return rank_predicted(lists, predictor.items[chosen], playlists)
