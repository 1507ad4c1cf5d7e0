"""Predictions from audio, fold-in of few interactions, and hybrids of both."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_range
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.hybrid import (
    BOOSTED,
    CASCADE,
    DOT,
    FILTERED,
    HALF_TRUSTS,
    LISTENING,
    SIMILARITY,
    SOUND,
    SWITCHING,
    TIER_SIZES,
    WEIGHTING,
    HybridResults,
    SplitInteractions,
    blend_factors,
    cascade_scores,
    mean_cosine,
    split_interactions,
    switch_factors,
)
from cs_keras.evaluation.overlap import compare_lists, rank_predicted, rank_reference
from cs_keras.evaluation.rank_fusion import Score, dot_scores, similarity_scores, top_k_scored
from cs_keras.evaluation.search.topk import TopK
from cs_keras.factors.store import Factors
from cs_keras.factors.wmf import WmfConfig, fold_in_boosted, fold_in_items, read_wmf_config
from cs_keras.run_files.evaluation import OverlapAtK
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.storage.location import Location
from pipelines.factors.open import open_interactions
from pipelines.recommend.catalogue import Catalogue, open_catalogue, require_dataset

MAX_CHOICE_QUERIES = 1_000  # validation tracks whose lists choose the tiers of cascades

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class HybridConfig:
    """Settings of a comparison of hybrids.

    Attributes
    ----------
    n_interactions
        Numbers of playlists to fold each track in from.
    k
        List length.
    seed
        Seed of the choice of playlists, and of permutations.
    evaluation
        Permutations and queries; its list lengths and metric are not used.
    """

    n_interactions: tuple[int, ...] = (0, 1, 2, 5, 10)
    k: int = 10
    seed: int = 0
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        for n in self.n_interactions:
            check_range("n_interactions", n, 0)
        if not any(self.n_interactions):
            raise ConfigError("n_interactions must have at least one number above 0. Received: none.")
        check_range("k", self.k, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class _Split:
    """Factors of the tracks of one split: folded in from held-out playlists, predicted, and folded in from few."""

    reference: Matrix
    predicted: Matrix
    folded: Mapping[int, Matrix]
    artists: npt.NDArray[np.int64]  # a number for each track's, -1 if unknown
    parts: SplitInteractions
    playlist_factors: Matrix
    wmf: WmfConfig

    @property
    def has_artists(self) -> bool:
        return bool((self.artists >= 0).any())

    def fill(self, n: int, half_fill: float) -> Matrix:
        """Return fold-ins of n playlists whose missing interactions are filled with predicted ones."""
        first = self.parts.select_first(n)
        return fold_in_boosted(first, self.playlist_factors, self.wmf, self.predicted, half_fill)

    def rank_reference(self, k: int, max_queries: int, by_dot: bool = False) -> TopK:
        return rank_reference(
            self.reference,
            ks=(k,),
            playlist_factors=self.playlist_factors if by_dot else None,
            artists=self.artists,
            max_queries=max_queries,
        )

    def cascade(self, lists: TopK, n: int, tier_size: int) -> TopK:
        """Return lists of audio, ordered by fold-ins of n playlists within tiers."""

        def scores(items: Matrix) -> Score:
            if lists.metric == "dot":
                return dot_scores(self.playlist_factors, items)
            return similarity_scores(items, lists.metric)

        finer = self.folded[n] if n else self.predicted
        return top_k_scored(cascade_scores(scores(self.predicted), scores(finer), tier_size), lists)


def compare_hybrids(
    run: Location, dataset: Location, config: HybridConfig, reading: ReadConfig | None = None
) -> HybridResults:
    """Evaluate predicted factors, fold-ins of few interactions, and hybrids of both.

    The reference is the fold-in of the interactions that are held out.

    Parameters
    ----------
    run
        Finished run folder.
    dataset
        Dataset that it was trained on, with interactions and factors of the strict protocol: under the thesis
        protocol, playlist factors were fitted on the held-out interactions.
    config
        Settings of the comparison.
    reading
        Settings for a dataset behind a URL.

    Raises
    ------
    StorageError
        When something cannot be read.
    DataError
        When the run was not trained on the dataset, interactions are missing, the protocol is not strict, or too
        few tracks have enough interactions.
    """
    catalogue = open_catalogue(run, dataset, reading)
    factors = require_dataset(catalogue.reference, "reference factors")
    interactions = open_interactions(dataset, factors)
    if interactions is None or factors.config is None or factors.protocol != "strict":
        raise DataError(
            "Hybrids need the interactions that factors were fitted on, and the strict protocol. Received: "
            f"factors {factors.name!r}, protocol {factors.protocol}, "
            f"{'no' if interactions is None else 'with'} interactions."
        )
    splits = {
        name: _split_tracks(catalogue, factors, interactions.user_items, name, config)
        for name in ("validation", "test")
    }
    threshold, half_trust, half_fill = _choose(splits["validation"], config)
    tier_sizes = _choose_tiers(splits["validation"], config)
    own = splits["test"]
    by_similarity = (FILTERED, SIMILARITY) if own.has_artists else (SIMILARITY,)
    kinds = {SIMILARITY: by_similarity, DOT: (DOT,)}  # of the same lists
    playlists = {SIMILARITY: None, DOT: factors.playlist_factors}
    lists = {
        base: own.rank_reference(config.k, config.evaluation.max_queries, by_dot=base == DOT)
        for base in kinds
    }
    overlap: dict[str, dict[str, dict[int, OverlapAtK]]] = {}
    for n in config.n_interactions:
        folded = own.folded[n]
        predictors = {
            SOUND: own.predicted,
            LISTENING: folded if n else None,
            SWITCHING: switch_factors(own.predicted, folded, n, threshold),
            WEIGHTING: blend_factors(own.predicted, folded, n, half_trust),
            BOOSTED: own.fill(n, half_fill),
        }
        for base in kinds:
            ranked = {
                name: rank_predicted(lists[base], items, playlists[base])
                for name, items in predictors.items()
                if items is not None
            }
            ranked[CASCADE] = own.cascade(lists[base], n, tier_sizes.get(n, 1))
            for kind, (name, predicted) in itertools.product(kinds[base], ranked.items()):
                (compared,) = compare_lists(
                    lists[base],
                    predicted,
                    (config.k,),
                    artists=own.artists,
                    filtered=kind == FILTERED,
                    n_permutations=config.evaluation.n_permutations,
                    seed=config.seed,
                )
                overlap.setdefault(kind, {}).setdefault(name, {})[n] = compared.at_k
    n_test = int((require_dataset(catalogue.tracks, "splits").in_split("test") & factors.has_factors).sum())
    n_tracks = {name: len(one.reference) for name, one in splits.items()}
    return HybridResults(
        config.k,
        overlap,
        half_trust,
        threshold,
        half_fill,
        tier_sizes,
        n_tracks["validation"],
        n_tracks["test"],
        n_test,
    )


def _split_tracks(
    catalogue: Catalogue, factors: Factors, interactions: Any, split: str, config: HybridConfig
) -> _Split:
    """Return the tracks of a split with enough interactions to fold in from some and evaluate with the rest."""
    tracks = require_dataset(catalogue.tracks, "splits")
    rows = np.flatnonzero(tracks.in_split(split) & factors.has_factors & catalogue.predicted.known)
    # Playlists without factors, none of whose tracks was fitted, do not change a fold-in.
    usable = interactions[:, rows].multiply(factors.playlist_factors.any(axis=1)[:, np.newaxis]).tocsr()
    usable.eliminate_zeros()
    parts: SplitInteractions = split_interactions(usable, max(config.n_interactions), config.seed)
    if len(parts.tracks) < 2:
        raise DataError(
            f"Only one {split} track is in {2 * max(config.n_interactions)} playlists; use fewer interactions."
        )
    wmf = read_wmf_config(factors.config or {})

    def fold_in(user_items: Any) -> Matrix:
        return fold_in_items(user_items, factors.playlist_factors, wmf)

    folded = {n: fold_in(parts.select_first(n)) for n in config.n_interactions}
    chosen = rows[parts.tracks]
    return _Split(
        fold_in(parts.rest),
        catalogue.predicted.factors[chosen],
        folded,
        tracks.artist_numbers[chosen],
        parts,
        factors.playlist_factors,
        wmf,
    )


def _choose(validation: _Split, config: HybridConfig) -> tuple[int | None, float, float]:
    """Return the number of interactions from which on to switch, half trust and half fill, by mean cosine."""
    reference, predicted = validation.reference, validation.predicted
    numbers = sorted({n for n in config.n_interactions if n})
    by_audio = mean_cosine(reference, predicted)
    worse = [n for n in numbers if mean_cosine(reference, validation.folded[n]) <= by_audio]
    threshold = next((n for n in numbers if not worse or n > worse[-1]), None)

    def best(combine: Callable[[int, float], Matrix]) -> float:
        def mean_of(half: float) -> float:
            return float(np.mean([mean_cosine(reference, combine(n, half)) for n in numbers]))

        return max(HALF_TRUSTS, key=mean_of)

    half_trust = best(lambda n, half: blend_factors(predicted, validation.folded[n], n, half))
    return threshold, half_trust, best(validation.fill)


def _choose_tiers(validation: _Split, config: HybridConfig) -> dict[int, int]:
    """Return the tier size of a cascade for each number of interactions, by overlap; of equal ones the smallest."""
    lists = validation.rank_reference(config.k, MAX_CHOICE_QUERIES)

    def overlap(n: int, tier_size: int) -> float:
        (compared,) = compare_lists(
            lists,
            validation.cascade(lists, n, tier_size),
            (config.k,),
            artists=validation.artists,
            filtered=validation.has_artists,
            n_permutations=0,
            seed=config.seed,
        )
        return compared.at_k.overlap or 0.0

    return {n: max(TIER_SIZES, key=lambda size: overlap(n, size)) for n in config.n_interactions if n}
