"""``evaluation.json``: the results of a run's model and of the reference predictors on the same test tracks."""

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from cs_keras.run_files.names import EVALUATION_FILE
from cs_keras.run_files.records import StoredRecord, check_version, to_record
from cs_keras.run_files.training import Training
from cs_keras.runs import read_json
from cs_keras.storage.location import Location

SCHEMA_VERSION = 4  # 1 had losses and overlaps only; 2 and 3 had the names that EARLIER_NAMES lists

# Kinds of lists. Of tracks: by similarity, and the same without the query's own artist. Of playlists: by dot
# product, over one random track per artist, and with playlist factors less their mean.
Kind = Literal["similarity", "filtered", "dot", "dot_per_artist", "dot_centred"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Predictors: the run's own model and those that every model is compared with.
MODEL = "model"
RANDOM = "random"
POPULARITY_ORACLE = "popularity-oracle"
SINGLE_RANKING = "single-ranking"
ARTIST_MEAN = "artist-mean"
BEST_FROM_SOUND = "best-from-sound"
HALF_DATA_CEILING = "half-data-ceiling"
REFIT_CEILING = "refit-ceiling"
REFERENCE = "reference"
INFORMATION = {
    RANDOM: "none",
    POPULARITY_ORACLE: "true popularity of the test tracks (oracle)",
    SINGLE_RANKING: "the model's predictions",
    ARTIST_MEAN: "the artist's other tracks",
    BEST_FROM_SOUND: "true style that the audio was generated from (oracle)",
    HALF_DATA_CEILING: "interactions of the test tracks with half of the playlists",
    REFIT_CEILING: "interactions of the test tracks",
    REFERENCE: "interactions of the test tracks",
}
"""Information about a test track that each predictor uses."""

LIKED_ABOVE_DISLIKED = "liked_above_disliked"
"""Ranking metric of interactions with dislikes: mean AUC of a listener's tracks above those that they dislike."""

EARLIER_NAMES = {  # and those of today, by the last schema version that had them
    2: {
        "one-ranking": POPULARITY_ORACLE,
        "second-fit": REFIT_CEILING,
        "n_tracks_without_listening": "n_tracks_without_interactions",
    },
    3: {"popularity-ranking": POPULARITY_ORACLE},
}


@dataclass(frozen=True)
class OverlapAtK:
    """Overlap at one list length; everything but the counts is None where k exceeds the candidates.

    Attributes
    ----------
    available
        Whether there are k candidates.
    overlap, low, high
        Mean share of common tracks, from 0 to 1, and its 95 % interval, which respects artists that are known.
    chance, chance_sd
        Mean overlap of random lists, and its spread if queries were independent.
    p_value, null_mean
        Result of the permutation test for any information, which assigns predictions to random tracks, and its mean
        overlap.
    n_queries, n_candidates
        Queries averaged over, and tracks that compete for a list, at most.
    tied_share, flagged
        Share of predicted lists whose members depend on a tie, and whether that is more than 1 %: row order then
        decides part of the overlap.
    p_beyond_artist, null_mean_beyond_artist, n_arrangements
        The same of the test for information beyond artist recognition, and its number of distinct arrangements.
        None where there is no such test.
    n_left_out
        Queries with fewer than k candidates.
    same_artist_share
        Share of the reference's lists by the query's own artist, over queries whose artist is known; by similarity
        only.
    """

    k: int
    available: bool
    overlap: float | None
    chance: float | None
    chance_sd: float | None
    low: float | None
    high: float | None
    p_value: float | None
    null_mean: float | None
    n_queries: int
    n_candidates: int
    tied_share: float | None
    flagged: bool | None
    p_beyond_artist: float | None = None
    null_mean_beyond_artist: float | None = None
    n_arrangements: float | None = None
    n_left_out: int = 0
    same_artist_share: float | None = None


@dataclass(frozen=True)
class RegressionLosses:
    """Losses of a factor prediction."""

    mse: float  # over tracks and factors
    r2: float | None  # share of the reference's variance explained; None if the reference has none
    cosine_distance: float  # mean over tracks of 1 - cosine, from 0 to 2


@dataclass(frozen=True)
class GroupMean:
    """The mean of one group of queries and its 95 % interval, None for the tracks of a single artist."""

    group: Any  # label of its queries: int, str or bool
    n: int  # queries in it
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GapShare:
    """Share of a gap closed: below 0 under chance, above 1 over the top. `low` and `high` are its interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Rung:
    """One predictor's mean overlap over queries and seeds, and its position between chance and the reference."""

    name: str
    value: float
    low: float
    high: float
    to_ceiling: GapShare | None  # None without a ceiling, or if it is not clearly above chance
    to_reference: GapShare
    to_best_from_sound: GapShare | None = None  # None unless known and clearly above chance
    verdict: str = ""  # see `cs_keras.evaluation.ladder.Verdict`; empty where nothing was tested


@dataclass(frozen=True)
class Ladder:
    """Predictors between chance and the reference at one list length, from the lowest overlap to the highest."""

    k: int
    chance: float
    rungs: tuple[Rung, ...]


Overlaps = dict[
    str, tuple[OverlapAtK, ...]
]  # by `Kind`; "filtered" and "dot_per_artist" where artists are known
GroupMeans = dict[str, tuple[GroupMean, ...]]  # by what tracks are grouped by: "popularity" or "artist"


@dataclass(frozen=True)
class TrackCounts:
    """Tracks with reference factors in each split."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class FactorsRecord:
    """Predicted factors, how they were fitted (`config` is None for imported ones), and their quality."""

    name: str
    n_factors: int
    protocol: str
    scaling: str
    config: dict[str, Any] | None
    quality: dict[str, Any]


@dataclass(frozen=True)
class SplitLosses:
    """Losses on each split: the MSE of scaled factors, the others in the original factor space."""

    validation: RegressionLosses
    test: RegressionLosses


@dataclass(frozen=True)
class UnusedTracks:
    """Skipped recordings (track_id, reason), and numbers of tracks without interactions or not in the dataset."""

    recordings: tuple[dict[str, Any], ...]
    n_tracks_without_interactions: int
    n_unknown_tracks: int


@dataclass(frozen=True)
class MeanRecord:
    """A mean over playlists, from 0 to 1, with its 95 % interval where that respects artists.

    Releases before schema 4 recorded intervals over playlists alone, which are too narrow.
    """

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RankingRecord:
    """Ranking metrics on held-out interactions, by predictor and name; None for a metric that is not available."""

    n_playlists: int  # query playlists with test tracks, which are averaged over
    n_left_out: int  # those without
    n_candidates: int  # test tracks that are ranked
    predictors: dict[str, dict[str, MeanRecord | None]]


@dataclass(frozen=True)
class BeyondRecord:
    """Metrics beyond accuracy by predictor and name, of lists of length k; `kind` is that of tracks' lists."""

    k: int
    predictors: dict[str, dict[str, float | None]]
    kind: Kind = "similarity"


@dataclass(frozen=True)
class HubnessReduction:
    """Lists of tracks by a score that reduces hubness, compared with those by cosine.

    Attributes
    ----------
    overlap, gain
        Overlap with the reference's lists by cosine, and the same less that of the predicted lists by cosine.
    hubness, never_reached
        As of `BeyondRecord`.
    """

    overlap: MeanRecord
    gain: MeanRecord
    hubness: float | None
    never_reached: float


@dataclass(frozen=True)
class HubnessRecord:
    """The model's lists of length k by scores that reduce hubness, by score; `kind` is that of the lists."""

    k: int
    kind: Kind
    scores: dict[str, HubnessReduction]


@dataclass(frozen=True)
class ErrorGroup:
    """Tracks of similar expected error: their number, and root mean squares of expected and actual errors."""

    n: int
    expected_error: float
    error: float


@dataclass(frozen=True)
class ExpectedError:
    """Expected and actual root mean square error of a track's scaled factors."""

    track_id: str
    expected_error: float
    error: float


@dataclass(frozen=True)
class ConfidenceRecord:
    """Predicted standard deviations of test tracks against errors; see `cs_keras.evaluation.confidence`.

    Attributes
    ----------
    levels, coverage
        Nominal levels of central intervals, and the share of factors inside them, from 0 to 1.
    calibration_error
        Mean absolute difference of the two.
    nll
        Negative log-likelihood of normal distributions, in nats per factor.
    rank_correlation
        Spearman's correlation of expected and actual errors of tracks, from -1 to 1; None where it is undefined.
    groups
        Fifths of the tracks, by increasing expected error.
    hardest
        Tracks with the highest expected errors, the highest first.
    """

    levels: tuple[float, ...]
    coverage: tuple[MeanRecord, ...]
    calibration_error: float
    nll: float
    rank_correlation: MeanRecord | None
    groups: tuple[ErrorGroup, ...]
    hardest: tuple[ExpectedError, ...]


@dataclass(frozen=True)
class GroupSize:
    """Number of test tracks of a group."""

    group: Any
    n: int


@dataclass(frozen=True)
class GroupsRecord:
    """Means of groups of test tracks, at list length k, by predictor and measure.

    Measures are ``overlap``, of lists of that `kind`, and ``ndcg``.
    """

    k: int
    sizes: dict[str, tuple[GroupSize, ...]]
    predictors: dict[str, dict[str, GroupMeans]]
    kind: Kind = "similarity"


@dataclass(frozen=True)
class AmongAllAtK:
    """Overlap at one list length where new tracks and known ones, of train and validation splits, are candidates.

    Attributes
    ----------
    overlap, low, high, chance, n_queries
        As of `OverlapAtK`.
    new_in_reference, new_in_predicted
        Share of new tracks in the lists.
    overlap_new, overlap_known
        Share of the reference lists' new, or known, tracks that are in the predicted lists as well; None if there
        are none.
    """

    k: int
    overlap: float
    low: float
    high: float
    chance: float
    n_queries: int
    new_in_reference: float
    new_in_predicted: float
    overlap_new: float | None
    overlap_known: float | None


@dataclass(frozen=True)
class AmongAllRecord:
    """Overlaps among new and known tracks, by predictor and kind of list, and the number of known ones."""

    n_known: int
    predictors: dict[str, dict[str, tuple[AmongAllAtK, ...]]]


@dataclass(frozen=True, kw_only=True)
class Evaluation(StoredRecord):
    """The results of a model, and those of the reference predictors.

    Of the test tracks, `n_known_artists` are by artists with train tracks, `n_unknown_artists` by artists that are
    not known, the others by `n_test_artists` artists; None in files of earlier releases. `n_rotations` is the
    number of rotations of a cross-validation whose queries are pooled, with lists within each; None for other
    evaluations.
    """

    FILE = EVALUATION_FILE
    VERSIONS = (1, 2, 3, SCHEMA_VERSION)

    schema_version: int = SCHEMA_VERSION
    model: str
    seed: int
    training: Training
    n_tracks: TrackCounts
    n_playlists: int
    left_out: UnusedTracks
    factors: FactorsRecord
    losses: SplitLosses
    mean_predictor: SplitLosses
    metric: str = "cosine"
    n_known_artists: int | None = None
    n_unknown_artists: int | None = None
    n_test_artists: int | None = None
    n_rotations: int | None = None
    overlap: Overlaps
    references: dict[str, Overlaps]
    ladder: dict[str, tuple[Ladder, ...]] | None = None
    ranking: RankingRecord | None = None
    beyond_accuracy: BeyondRecord | None = None
    groups: GroupsRecord | None = None
    among_all: AmongAllRecord | None = None
    hubness: HubnessRecord | None = None
    confidence: ConfidenceRecord | None = None

    @classmethod
    def read(cls, folder: Location) -> Self:
        """Read the file of a run, of this release or an earlier one; errors as for `read_record`."""
        path = folder / cls.FILE
        content = read_json(path)
        check_version(content, path, cls.VERSIONS)
        return to_record(cls, _rename(content), path)


def stored_name(predictor: str, schema_version: int) -> str:
    """Return the name of a predictor in ``queries.npz`` of a run of that schema version."""
    earlier = EARLIER_NAMES.get(schema_version, {})
    return next((old for old, new in earlier.items() if new == predictor), predictor)


def _rename(content: Any) -> Any:
    """Return the content of a file of an earlier release with the present names."""
    renamed = {old: new for names in EARLIER_NAMES.values() for old, new in names.items()}

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {renamed.get(key, key): rename(one) for key, one in value.items()}
        if isinstance(value, list):
            return [rename(one) for one in value]
        return renamed.get(value, value) if isinstance(value, str) else value

    return rename(content)
