"""Notes that several tables share: data, factors, queries, seeds."""

from collections.abc import Iterator
from typing import Literal

from cs_keras.factors.quality import describe_agreement, warn_of_noise
from cs_keras.run_files.evaluation import UnusedTracks
from reports.runs.collect import Group

Kind = Literal["similarity", "dot"]

METRICS = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}
PROTOCOLS = {
    "strict": "fitted without interactions of validation and test tracks",
    "thesis": "fitted on all interactions, those of test tracks included",
    "given": "ready-made, fitted on unknown interactions",
}
UNKNOWN_PROTOCOL = "fitted on unknown interactions"
N_NAMED = 10  # recordings listed in a note
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
    agreement, warning = describe_agreement(factors.quality), warn_of_noise(factors.quality)
    if agreement:
        yield f"Ceiling, on test tracks: {agreement}."
    if warning:
        yield f"Warning: {warning[0].lower()}{warning[1:]}"
    yield from _unused_notes(first.left_out)


def _unused_notes(unused: UnusedTracks) -> Iterator[str]:
    names = [str(recording.get("track_id")) for recording in unused.recordings]
    if names:
        more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
        yield (
            f"Left out, unusable recordings: {len(names):,} ({', '.join(names[:N_NAMED])}{more}); dataset.json has "
            "the reasons."
        )
    if unused.n_tracks_without_interactions:
        yield f"Left out, tracks without interactions: {unused.n_tracks_without_interactions:,}."
    if unused.n_unknown_tracks:
        yield f"Left out, interactions with {unused.n_unknown_tracks:,} tracks that are not in the dataset."


def has_several_seeds(group: Group) -> bool:
    """Return whether any model was trained with several seeds."""
    return any(len(run.evaluations) > 1 for run in group.runs)


def unpaired_labels(group: Group) -> str:
    """Return the runs without values per query, which paired tests need; empty if there are none."""
    return ", ".join(run.label for run in group.runs if None in run.queries)


def count_queries(group: Group, kind: Kind) -> tuple[int, int, str]:
    """Return how many queries were evaluated, of how many, and what they are."""
    first = group.first
    n_queries = first.overlap[kind][0].n_queries if first.overlap.get(kind) else 0
    if kind == "similarity":
        return n_queries, first.n_tracks.test, "test tracks"
    return n_queries, first.n_playlists, "playlists"


def sample_note(group: Group, *kinds: Kind) -> tuple[str, ...]:
    """Return a note with the number of queries, if only a sample was evaluated."""
    counts = [count_queries(group, kind) for kind in kinds]
    sampled = [f"{n:,} of {n_all:,} {queries}" for n, n_all, queries in counts if 0 < n < n_all]
    return (f"Queries: {' and '.join(sampled)}.",) if sampled else ()
