"""Notes that several tables share: data, factors, queries, seeds."""

from collections.abc import Iterator

from cs_keras.factors.quality import describe_agreement, warn_of_noise
from cs_keras.messages import count
from cs_keras.run_files.evaluation import KINDS, Kind, UnusedTracks
from reports.runs.collect import Group

METRICS = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}
PROTOCOLS = {
    "strict": "fitted without interactions of validation and test tracks",
    "thesis": "fitted on all interactions, those of test tracks included",
    "given": "imported, fitted on unknown interactions",
}
UNKNOWN_PROTOCOL = "fitted on unknown interactions"
N_NAMED = 10  # recordings listed in a note
WARNING = "Warning: "
STRONG = "Bold: the best of several models"
SEEDS = "Several seeds: mean ± sample standard deviation over them"
UNPAIRED = "runs of an earlier release without values per query"


def heading(group: Group) -> str:
    """Return the line above a group's tables: data, factors and similarity."""
    metric = METRICS.get(group.evaluation_config.metric, group.evaluation_config.metric)
    return f"Data {group.data_digest[:10]}, factors {group.first.factors.name}, {metric}"


def section_notes(group: Group) -> Iterator[str]:
    """Yield the notes of a group as a whole: its tracks, playlists and factors."""
    first = group.first
    counts, factors = first.n_tracks, first.factors
    fit = "".join(f", {name} {value}" for name, value in (factors.config or {}).items() if name != "factors")
    yield (
        f"Tracks with reference factors: {counts.train:,} train, {counts.validation:,} validation, "
        f"{counts.test:,} test. Playlists: {first.n_playlists:,}."
    )
    yield (
        f"Factors: {factors.name}, {factors.n_factors} dimensions{fit}; protocol {factors.protocol}: "
        f"{PROTOCOLS.get(factors.protocol, UNKNOWN_PROTOCOL)}."
    )
    if first.n_rotations:
        yield (
            f"Cross-validation with {first.n_rotations} rotations, each with its own factors: lists hold the test "
            "tracks of one rotation, and the queries of all rotations are pooled; a playlist is one query in each "
            "rotation. P-values of permutations within rotations are combined by Stouffer's method. Intervals of "
            "overlaps leave out one artist of each rotation at a time."
        )
    agreement, warning = describe_agreement(factors.quality), warn_of_noise(factors.quality)
    yield from _artist_notes(group)
    if agreement:
        yield f"Ceiling, on test tracks: {agreement}."
    if warning:
        yield f"{WARNING}{warning[0].lower()}{warning[1:]}"
    yield from _unused_notes(first.left_out)


def of_tracks(kind: Kind) -> bool:
    """Return whether the lists of a kind are those of tracks, not of playlists."""
    return kind in ("similarity", "filtered")


def available_kinds(group: Group) -> list[Kind]:
    """Return the kinds of lists that the first run has an overlap of at any length, artist-filtered ones first."""
    overlap = group.first.overlap
    found = [kind for kind in KINDS if any(row.available for row in overlap.get(kind, ()))]
    return sorted(found, key=lambda kind: kind != "filtered")


def _artist_notes(group: Group) -> Iterator[str]:
    """Yield the number of known artists of test tracks, and the consequences where artists are unknown."""
    first, n_test = group.first, group.first.n_tracks.test
    n_unknown = first.n_unknown_artists
    if n_unknown is None:
        yield (
            "Runs of an earlier release were evaluated without artists: overlaps include the gain from recognising "
            "artists, and intervals are too narrow, because tracks of one artist are similar. Train again for "
            "artist-filtered overlaps and correct intervals."
        )
    elif n_unknown:
        yield (
            f"{WARNING}the artist of {n_unknown:,} of {n_test:,} test tracks is unknown. These tracks are "
            "candidates, but not queries of artist-filtered overlap."
        )
    elif first.n_test_artists is not None:
        yield f"Test tracks are by {count(first.n_test_artists, 'known artist')}."


def _unused_notes(unused: UnusedTracks) -> Iterator[str]:
    names = [str(recording.get("track_id")) for recording in unused.recordings]
    if names:
        more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
        yield (
            f"Left out, unusable recordings: {len(names):,} ({', '.join(names[:N_NAMED])}{more}); dataset.json "
            "has the reasons."
        )
    if unused.n_tracks_without_interactions:
        yield f"Left out, tracks without interactions: {unused.n_tracks_without_interactions:,}."
    if unused.n_unknown_tracks:
        yield f"Left out, interactions with {count(unused.n_unknown_tracks, 'track')} not in the dataset."


def has_several_seeds(group: Group) -> bool:
    """Return whether any model was trained with several seeds."""
    return any(len(run.evaluations) > 1 for run in group.runs)


def unpaired_labels(group: Group) -> str:
    """Return the runs without values per query, which paired tests need; empty if there are none."""
    return ", ".join(run.label for run in group.runs if None in run.queries)


def count_queries(group: Group, kind: Kind) -> tuple[int, int, str]:
    """Return how many queries were evaluated, of how many, and what they are."""
    first = group.first
    row = first.overlap[kind][0] if first.overlap.get(kind) else None
    n_queries = row.n_queries if row else 0
    if of_tracks(kind):
        return n_queries, first.n_tracks.test - (row.n_left_out if row else 0), "test tracks"
    if kind == "dot_per_artist":  # of all draws, so that the lists are more than the playlists
        return n_queries, n_queries, "lists"
    if first.n_rotations:
        return n_queries, first.n_playlists * first.n_rotations, f"playlists of {first.n_rotations} rotations"
    return n_queries, first.n_playlists, "playlists"


def sample_note(group: Group, *kinds: Kind) -> tuple[str, ...]:
    """Return a note with the number of queries, if only a sample was evaluated."""
    counts = [count_queries(group, kind) for kind in kinds]
    sampled = [f"{n:,} of {n_all:,} {queries}" for n, n_all, queries in counts if 0 < n < n_all]
    return (f"Queries: {' and '.join(sampled)}.",) if sampled else ()
