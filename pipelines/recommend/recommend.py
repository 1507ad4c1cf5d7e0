"""Recommendations for seed tracks or a playlist, from all tracks of a run's catalogue."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation import hubness
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.index import KINDS, MANY, Index, Kind, build_index, measure_recall, open_index
from cs_keras.playlists.rerank import Rules, filter_candidates, rerank_mmr, unit_rows
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.settings import CANDIDATES
from cs_keras.storage.location import Location
from pipelines.recommend.catalogue import Catalogue, open_catalogue, require_dataset
from pipelines.recommend.query import Query, query_playlist, query_tracks

if TYPE_CHECKING:
    from pipelines.recommend.explanation import Explanation

Matrix = npt.NDArray[np.float32]

SCORES = ("similarity", "dot")
HUBNESS_REDUCTIONS = ("none", *hubness.SCORES)
MANY_NEIGHBOURHOODS = 200_000  # tracks; the time of CSLS grows with the square, here to minutes


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Settings of the search.

    Attributes
    ----------
    by
        ``similarity``, the cosine, or ``dot``, the dot product.
    candidates
        ``all`` tracks with factors, or ``new`` ones, of the test split.
    index
        ``exact``, ``hnsw`` or ``ivf``; None for ``exact``, or for ``ivf`` where an index of more than a million
        tracks is stored.
    index_file
        File to store an index of the candidates by audio in; None not to store one.
    hubness_reduction
        ``none``; or one of `cs_keras.evaluation.hubness.SCORES`, to rank by in place of the similarity, without an
        index.
    """

    by: str = "similarity"
    candidates: str = "all"
    index: Kind | None = None
    index_file: Path | None = None
    hubness_reduction: str = "none"

    def __post_init__(self) -> None:
        check_choice("by", self.by, SCORES)
        check_choice("candidates", self.candidates, CANDIDATES)
        check_choice("index", self.index, (None, *KINDS))
        check_choice("hubness_reduction", self.hubness_reduction, HUBNESS_REDUCTIONS)
        if self.hubness_reduction == "none":
            return
        if self.by != "similarity":
            raise ConfigError(
                f"--hubness-reduction {self.hubness_reduction} is a score of tracks by similarity: expected --by "
                f"similarity. Received: {self.by}."
            )
        if self.index not in (None, "exact") or self.index_file is not None:
            raise ConfigError(
                f"--hubness-reduction {self.hubness_reduction} compares a track with all others: expected no index "
                f"but the exact one, and no index file. Received: {self.index_file or self.index}."
            )


@dataclasses.dataclass(frozen=True)
class RecommendedTrack:
    """A recommended track, its score, and whether its factors are ``predicted`` or ``reference``."""

    entry: Entry
    score: float
    factors: str
    explanation: "Explanation | None" = None


@dataclasses.dataclass(frozen=True)
class Confidence:
    """Expected error of a prediction, and the share of `n_tracks` predictions of the run that have a higher one."""

    expected_error: float
    share_higher: float
    n_tracks: int


@dataclasses.dataclass(frozen=True)
class Recommendations:
    """The list for a query, and for comparison the list by reference factors, if requested.

    `recall` is the share of the k nearest that an approximate index finds; None for an exact one. `seeds` are
    names, each with ``predicted`` or ``reference``. `confidence` is that of the seed's prediction, the least
    of several; None where the model predicts none.
    """

    title: str
    seeds: tuple[tuple[str, str], ...]
    tracks: tuple[RecommendedTrack, ...]
    by_interactions: tuple[RecommendedTrack, ...] | None
    recall: float | None
    confidence: Confidence | None = None


def recommend_from_run(
    run: Location,
    dataset: Location | None,
    seeds: Sequence[str],
    playlist: str | None,
    search: SearchConfig,
    rules: Rules,
    *,
    compare: bool = False,
    decoder: str = "auto",
    weights: Mapping[str, Path] | None = None,
    artist: str | None = None,
    predicted: bool = False,
    explain: bool = False,
    reading: ReadConfig | None = None,
    progress: Progress | None = None,
) -> Recommendations:
    """Recommend tracks for seeds, or else for a playlist, by the model of a finished run.

    `compare` adds the list by reference factors; `explain` adds explanations; `predicted` is that of
    `query_tracks`; `weights` are those of encoders, see
    `pipelines.inference.predict_items.TableFiles`; `artist` is that of recordings. See `open_catalogue`,
    `query_tracks`, `query_playlist` and `recommend` for the other parameters, and for errors.
    """
    if explain and search.hubness_reduction != "none":
        raise ConfigError(
            "--explain splits a cosine or a dot product, and --hubness-reduction "
            f"{search.hubness_reduction} is neither: leave one of them out."
        )
    if predicted and playlist is not None:
        raise ConfigError("predicted is for tracks as seeds: a playlist has the factors of its interactions.")
    catalogue = open_catalogue(run, dataset, reading)
    if playlist is None:
        query = query_tracks(
            catalogue, seeds, decoder, progress or SilentProgress(), weights, artist, predicted
        )
    else:
        query = query_playlist(catalogue, playlist)
    tracks, recall = recommend(catalogue, query, search, rules)
    reference = recommend(catalogue, query, search, rules, by_interactions=True)[0] if compare else None
    if explain:
        # Imported here, with implicit, which lists do not need.
        from pipelines.recommend.explanation import explain_tracks

        explanations = explain_tracks(catalogue, query, search.by, [one.entry.track_id for one in tracks])
        tracks = tuple(
            dataclasses.replace(one, explanation=why) for one, why in zip(tracks, explanations, strict=True)
        )
    labels = (seed.label for seed in query.seeds)
    return Recommendations(
        query.title,
        tuple(zip(labels, query.origins, strict=True)),
        tracks,
        reference,
        recall,
        _measure_confidence(catalogue, query),
    )


def _measure_confidence(catalogue: Catalogue, query: Query) -> Confidence | None:
    if catalogue.expected_errors is None or not query.expected_errors:
        return None
    error, others = max(query.expected_errors), catalogue.expected_errors[catalogue.predicted.known]
    return Confidence(error, float((others > np.float32(error)).mean()), len(others))


def recommend(
    catalogue: Catalogue, query: Query, search: SearchConfig, rules: Rules, by_interactions: bool = False
) -> tuple[tuple[RecommendedTrack, ...], float | None]:
    """Return the best tracks for a query, at most ``rules.k`` of them, and the recall of the index.

    Parameters
    ----------
    catalogue
        Tracks to choose from.
    query
        Result of `pipelines.recommend.query`.
    search, rules
        Settings of the search, and rules of the list.
    by_interactions
        Use the reference factors of all tracks, instead of predicted ones of new tracks, for comparison.

    Returns
    -------
    tracks
        Best first.
    recall
        Share of the k nearest that an approximate index finds, over a sample of its tracks; None for an exact one.

    Raises
    ------
    DataError
        There is nothing to choose from, or reference factors are requested and a seed has none.
    """
    factors = catalogue.by_interactions if by_interactions else catalogue.by_audio
    vector = query.by_interactions if by_interactions else query.by_audio
    if vector is None:
        raise DataError(
            "A list under reference factors needs seeds with interactions: dataset tracks, not recordings."
        )
    is_candidate = factors.known
    if search.candidates == "new":
        is_candidate = is_candidate & require_dataset(catalogue.tracks, "splits").in_split("test")
    rows = np.flatnonzero(is_candidate)
    if not len(rows):
        raise DataError(
            f"There are no tracks to recommend from: none of the {search.candidates} candidates has factors."
        )
    held = set() if query.held is None else set(query.held.indices.tolist())
    vectors = factors.factors[rows] if search.by == "dot" else unit_rows(factors.factors[rows])
    vector = vector if search.by == "dot" else unit_rows(vector[np.newaxis])[0]
    recall, reduced = None, None
    if by_interactions or search.hubness_reduction == "none":
        index = build_index(vectors, "exact") if by_interactions else _index(vectors, search)
        order = index.iterate_ranked(vector)
        recall = None if index.kind == "exact" else measure_recall(index, rules.k)
    else:
        is_seed = np.isin(catalogue.ids[rows], [seed.track_id for seed in query.seeds])
        reduced = _reduce_hubness(vectors, vector, is_seed, search.hubness_reduction)
        order = iter(np.argsort(-reduced, kind="stable").tolist())
    lacking = (i for i in order if rows[i] not in held)
    ranked = filter_candidates(lacking, lambda i: catalogue.entry(int(rows[i])), query.seeds, rules)
    pool = np.array(list(itertools.islice(ranked, rules.pool)), np.int64)
    if reduced is None:
        # In float64, so that the products that an `Explanation` shows add up to the score.
        products = vectors[pool].astype(np.float64) * vector.astype(np.float64)
        scores = products.sum(axis=1).astype(np.float32)
    else:
        scores = np.exp(reduced[pool]) if search.hubness_reduction == "mutual-proximity" else reduced[pool]
    # Other scores than cosines have no fixed scale: the largest is weighed as a cosine of 1.
    scale = 1 if search.by == "similarity" and reduced is None else np.abs(scores).max(initial=0)
    chosen = rerank_mmr(scores / (scale or 1), vectors[pool], rules.k, rules.diversity)
    is_predicted = catalogue.predicted.known[rows[pool]] & (not by_interactions)
    tracks = tuple(
        RecommendedTrack(
            catalogue.entry(int(rows[pool[i]])),
            float(str(scores[i])),  # the fewest digits that identify this float32
            "predicted" if is_predicted[i] else "reference",
        )
        for i in chosen.tolist()
    )
    return tracks, recall


def _reduce_hubness(
    vectors: Matrix, vector: Matrix, is_seed: npt.NDArray[np.bool_], score: str
) -> npt.NDArray[np.float64]:
    """Return the CSLS or log mutual proximity of a query with all candidates, unit rows: shape (n_candidates,).

    Candidates that are seeds, of which the query is the mean, are none of its neighbours.
    """
    cosines = vectors.astype(np.float64) @ vector.astype(np.float64)
    others = cosines if is_seed.all() else cosines[~is_seed]
    if score == "csls":
        if len(vectors) > MANY_NEIGHBOURHOODS:
            raise ConfigError(
                f"csls compares all candidates with each other: expected at most {MANY_NEIGHBOURHOODS:,} tracks, "
                f"or mutual-proximity. Received: {len(vectors):,}."
            )
        nearest = np.sort(others)[-hubness.N_NEIGHBOURS :]
        return np.asarray(2 * cosines - nearest.mean() - hubness.measure_neighbourhoods(vectors))
    of_query = others.mean(), others.std()
    return hubness.score_mutual_proximity(cosines, of_query, hubness.measure_cosines(vectors))


def _index(vectors: Matrix, search: SearchConfig) -> Index:
    if search.index_file is None:
        return build_index(vectors, search.index or "exact")
    kind = search.index or ("ivf" if len(vectors) > MANY else "exact")
    return open_index(vectors, kind, search.index_file)
