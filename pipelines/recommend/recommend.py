"""Lists of tracks for a few seeds or for a playlist, out of all that a run's space holds."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.errors import DataError
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.index import KINDS, MANY, Index, Kind, build_index, measure_recall, open_index
from cs_keras.playlists.rerank import Rules, filter_candidates, rerank_mmr, unit_rows
from pipelines.recommend.catalogue import Catalogue, TrackFactors, require_dataset
from pipelines.recommend.query import Query

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

CANDIDATES = ("all", "test")
SCORES = ("similarity", "dot")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """What is searched, and how.

    Attributes
    ----------
    by
        ``similarity``, the cosine, or ``dot``, the dot product.
    candidates
        ``all`` tracks that have a place, or those of the ``test`` split.
    index
        ``exact``, ``hnsw`` or ``ivf``; None for ``exact`` but where an index of more than a million tracks is kept:
        ``ivf``.
    index_file
        Where an index of the candidates by sound is kept; None for nowhere.
    """

    by: str = "similarity"
    candidates: str = "all"
    index: Kind | None = None
    index_file: Path | None = None

    def __post_init__(self) -> None:
        check_choice("by", self.by, SCORES)
        check_choice("candidates", self.candidates, CANDIDATES)
        check_choice("index", self.index, (None, *KINDS))


@dataclasses.dataclass(frozen=True)
class RecommendedTrack:
    """A track of a list, its score, and whether ``predicted`` or ``reference`` factors place it."""

    entry: Entry
    score: float
    factors: str


@dataclasses.dataclass(frozen=True)
class Recommendations:
    """A list, best first.

    Attributes
    ----------
    tracks
        Its tracks.
    recall
        Share of the k nearest that an approximate index finds, over a sample of its tracks; None for an exact one.
    """

    tracks: tuple[RecommendedTrack, ...]
    recall: float | None


def recommend(
    catalogue: Catalogue, question: Query, search: SearchConfig, rules: Rules, by_interactions: bool = False
) -> Recommendations:
    """Return the best tracks for a question, at most ``rules.k`` of them.

    Parameters
    ----------
    catalogue
        Whose tracks to choose from.
    question
        Of `pipelines.recommend.query`.
    search, rules
        What is searched, and what the list is to be like.
    by_interactions
        By the reference factors of all tracks, instead of by sound for new ones: the list to compare with.

    Raises
    ------
    DataError
        When there is nothing to choose from, or reference factors are asked for and a seed has none.
    """
    places = catalogue.by_interactions if by_interactions else catalogue.by_audio
    query = question.by_interactions if by_interactions else question.by_audio
    if query is None:
        raise DataError(
            "A list under reference factors needs seeds with listening: tracks of the dataset, and no recordings."
        )
    rows = _candidates(catalogue, places, search)
    held = set(question.held.tolist())
    vectors = places.factors[rows] if search.by == "dot" else unit_rows(places.factors[rows])
    query = query if search.by == "dot" else unit_rows(query[np.newaxis])[0]
    index = build_index(vectors, "exact") if by_interactions else _index(vectors, search)
    lacking = (i for i in index.ranked(query) if rows[i] not in held)
    ranked = filter_candidates(lacking, lambda i: catalogue.entry(int(rows[i])), question.seeds, rules)
    pool = np.array(list(itertools.islice(ranked, rules.pool)), np.int64)
    scores = vectors[pool] @ query
    # Dot products have no scale of their own: the largest is weighed as a cosine of 1.
    scale = np.abs(scores).max(initial=0) if search.by == "dot" else 1
    chosen = rerank_mmr(scores / (scale or 1), vectors[pool], rules.k, rules.diversity)
    is_predicted = catalogue.predicted.known[rows[pool]] & (not by_interactions)
    tracks = tuple(
        RecommendedTrack(
            catalogue.entry(int(rows[pool[i]])),
            float(str(scores[i])),  # as few digits as tell this float32 from others
            "predicted" if is_predicted[i] else "reference",
        )
        for i in chosen.tolist()
    )
    return Recommendations(tracks, None if index.kind == "exact" else measure_recall(index, rules.k))


def _candidates(catalogue: Catalogue, places: TrackFactors, search: SearchConfig) -> Rows:
    """Return the rows of tracks that are searched; raise DataError when there are none."""
    is_candidate = places.known.copy()
    if search.candidates == "test":
        is_candidate &= require_dataset(catalogue.tracks, "splits").in_split("test")
    rows = np.flatnonzero(is_candidate)
    if not len(rows):
        raise DataError(
            f"There are no tracks to recommend from: none of the {search.candidates} candidates has a place."
        )
    return rows


def _index(vectors: Matrix, search: SearchConfig) -> Index:
    if search.index_file is None:
        return build_index(vectors, search.index or "exact")
    is_many = len(vectors) > MANY
    return open_index(vectors, search.index or ("ivf" if is_many else "exact"), search.index_file)
