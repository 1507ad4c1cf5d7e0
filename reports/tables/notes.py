"""The sentences around tables: what was measured, on what, by which definition."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from cs_keras.evaluation.overlap import FLAGGED_TIED_SHARE
from cs_keras.factors.quality import describe_agreement, warn_of_noise
from cs_keras.run_files.evaluation import POPULARITY, RANDOM, REFIT_CEILING, UnusedTracks
from reports.runs.collect import Group
from reports.tables.table import PAIRED_P, SIGNIFICANT_P

Kind = Literal["similarity", "dot"]

METRICS = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}
PROTOCOLS = {
    "strict": "the fit saw no listening to validation or test tracks",
    "thesis": "the fit saw all listening, that to test tracks included",
    "given": "ready-made, so what listening they saw is not known",
}
REFERENCES = {
    RANDOM: "Random factors: drawn from a normal of the reference's mean and deviation in each factor.",
    POPULARITY: "Popularity ranking (oracle): the same list for every playlist, by the mean playlist's dot product "
    "with the reference factors.",
    REFIT_CEILING: "Refit ceiling: the same interactions factorised with another seed, with its own playlists; a "
    "model trained on one fit can hardly reach more.",
}
N_NAMED = 10  # recordings named in a note
STRONG = "Bold: the best of several models"
UNKEPT = "an earlier release kept nothing query by query"
UNDEFEATED = (
    "Bold: the best of several models, and those not told from it (paired sign-flip test, Holm's correction"
)
SEEDS = "Several seeds: mean ± sample standard deviation over them"


def heading(group: Group) -> str:
    """Return the line above a group's tables: its data and how similarity is measured."""
    metric = METRICS.get(group.evaluation_config.metric, group.evaluation_config.metric)
    return f"Data {group.data_digest[:10]}, factors {group.first.factors.name}, {metric}"


def section_notes(group: Group) -> tuple[str, ...]:
    """Return what holds for all tables of a group: its tracks, playlists and factors."""
    first = group.first
    counts, factors = first.n_tracks, first.factors
    fit = "".join(f", {name} {value}" for name, value in (factors.config or {}).items() if name != "factors")
    protocol = PROTOCOLS.get(factors.protocol, "what listening they saw is not known")
    return (
        f"Tracks with reference factors: {counts.train:,} train, {counts.validation:,} validation, "
        f"{counts.test:,} test. Playlists: {first.n_playlists:,}.",
        f"Factors: {factors.name}, {factors.n_factors} dimensions{fit}; protocol {factors.protocol}: {protocol}.",
        *_ceiling_notes(factors.quality),
        *_left_out_notes(first.left_out),
    )


def _ceiling_notes(quality: Mapping[str, Any]) -> Iterator[str]:
    """Say how far fits of the same listening agree on the test tracks, and warn where they do not."""
    agreement, warning = describe_agreement(quality), warn_of_noise(quality)
    if agreement:
        yield f"Ceiling, on test tracks: {agreement}."
    if warning:
        yield f"Beware: {warning[0].lower()}{warning[1:]}"


def _left_out_notes(left_out: UnusedTracks) -> Iterator[str]:
    """Say what could not be used, and name the first recordings of it."""
    names = [str(recording.get("track_id")) for recording in left_out.recordings]
    if names:
        more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
        yield (
            f"Left out, recordings that could not be used: {len(names):,} ({', '.join(names[:N_NAMED])}{more}); "
            "dataset.json has the reasons."
        )
    if left_out.n_tracks_without_interactions:
        yield f"Left out, tracks without listening: {left_out.n_tracks_without_interactions:,}."
    if left_out.n_unknown_tracks:
        yield f"Left out, listening to tracks that the dataset does not hold: {left_out.n_unknown_tracks:,} tracks."


def training_notes(group: Group) -> tuple[str, ...]:
    """Return the notes of the training table."""
    first = group.first
    notes = [
        f"MSE: mean squared error of the scaled factors ({first.factors.scaling}).",
        f"Mean predictor: the mean factors of the train tracks for every track{_mean_note(first.factors.scaling)}.",
        "R² (1 − squared error / variance, both summed over factors) and cosine distance (1 − cosine, mean over "
        "tracks) are in the original factor space.",
        "Best epoch: that of the lowest validation loss, whose weights are kept. Time: of training; it varies "
        "from run to run.",
    ]
    losses = (first.mean_predictor.test, *(own.losses.test for run in group.runs for own in run.evaluations))
    if any(loss.r2 is None for loss in losses):
        reason = "unit-norm targets" if first.factors.scaling == "unit_norm" else "the reference factors"
        verb = "have lost their lengths" if first.factors.scaling == "unit_norm" else "do not vary"
        notes.append(f"R² is n/a: {reason} of the test tracks {verb}.")
    if _has_several_seeds(group):
        notes.append(f"{SEEDS}.")
    if len(group.runs) > 1:
        notes.append(f"{STRONG}.")
    return (*notes, *_run_notes(group))


def _has_several_seeds(group: Group) -> bool:
    return any(len(run.evaluations) > 1 for run in group.runs)


def _run_notes(group: Group) -> Iterator[str]:
    """Repeat what runs had to say about themselves, once for all that say the same, and why others failed."""
    said: dict[str, dict[str, None]] = {}
    for run in group.runs:
        for evaluation in run.evaluations:
            for note in evaluation.training.notes:
                said.setdefault(note.rstrip("."), {})[run.label] = None
    for note, labels in said.items():
        yield f"{', '.join(labels)}: {note}."
    n_alike = Counter(entry.label for entry in group.entries)
    for failed in group.failed:
        seed = f" (seed {failed.seeds[0]})" if failed.seeds and n_alike[failed.label] > 1 else ""
        yield f"{failed.label}{seed} failed: {failed.reason.rstrip('.')}."


def _mean_note(scaling: str) -> str:
    if scaling != "standardize":
        return ""
    return "; its MSE is 1 on those by construction, and less on tracks whose factors vary less"


def overlap_notes(group: Group, kind: Kind, tied: bool) -> tuple[str, ...]:
    """Return the notes of an overlap table; `tied` if a cell bears the mark of tied lists."""
    first, config = group.first, group.evaluation_config
    n_queries, n_candidates = first.overlap[kind][0].n_queries, first.overlap[kind][0].n_candidates
    queries, n_all = (
        ("test tracks", first.n_tracks.test) if kind == "similarity" else ("playlists", first.n_playlists)
    )
    notes = [
        _definition(kind, config.metric),
        f"Mean over {n_queries:,} of {n_all:,} {queries}; {n_candidates:,} tracks compete for each list. In "
        f"brackets: 95% bootstrap interval over {queries} ({config.n_bootstrap:,} resamples).",
        f"p: (1 + permutations that reach the overlap) / (1 + {config.n_permutations:,}); a permutation deals the "
        f"predictions to random tracks. * p < {SIGNIFICANT_P}, not corrected for the number of comparisons.",
        "Chance: k / competing tracks, ± its standard deviation if lists were drawn independently.",
        *(text for name, text in REFERENCES.items() if kind in first.references.get(name, {})),
        *_artist_notes(group),
    ]
    if _has_several_seeds(group):
        notes.append(f"{SEEDS}, in place of the interval; p: the largest.")
    if len(group.runs) > 1:
        unkept = unsaved_labels(group)
        bold = f"{UNDEFEATED}, p ≥ {PAIRED_P}), if its p < {SIGNIFICANT_P} and its lists are not tied."
        notes.append(f"Nothing is bold: {UNKEPT}: {unkept}." if unkept else bold)
    if tied:
        notes.append(
            f"† More than {FLAGGED_TIED_SHARE:.0%} of the lists hang on ties, which row order breaks: part of this "
            "overlap is an artefact."
        )
    if any(k > n_candidates for k in config.ks):
        notes.append(f"n/a: a list of k tracks needs k that compete for it; there are {n_candidates:,}.")
    return tuple(notes)


def n_queries_note(group: Group, *kinds: Kind) -> tuple[str, ...]:
    """Say how many tracks or playlists asked, where it was not all of them."""
    asked = []
    for kind in kinds:
        n_queries = group.first.overlap[kind][0].n_queries if group.first.overlap.get(kind) else 0
        name, n_all = (
            ("test tracks", group.first.n_tracks.test)
            if kind == "similarity"
            else ("playlists", group.first.n_playlists)
        )
        if 0 < n_queries < n_all:
            asked.append(f"{n_queries:,} of {n_all:,} {name}")
    return (f"Asked: {' and '.join(asked)}.",) if asked else ()


def unsaved_labels(group: Group) -> str:
    """Return the runs that cannot be paired with others; empty where all can."""
    return ", ".join(run.label for run in group.runs if None in run.queries)


def _artist_notes(group: Group) -> Iterator[str]:
    """Say of how many test tracks the artist is known from training, which the artist mean lives by."""
    known, n_test = group.first.n_known_artists, group.first.n_tracks.test
    if known:
        yield (
            f"Artist mean: the mean factors of the artist's train tracks; {n_test - known:,} of {n_test:,} test "
            "tracks are by artists not trained on and get the mean of all train tracks."
        )
    elif known is not None:
        yield "No artist mean: no test track is by an artist trained on, so it would be the same for all."


def embedding_notes() -> tuple[str, ...]:
    """Return the notes of the table of triplet embeddings."""
    return (
        "Loss: of triplets, mean of max(squared distance to the positive − that to the negative + margin, 0).",
        "Collapsed: an embedding that is the same for every track scores the margin; a loss at or above it is no "
        "better than that.",
        "Active: share of triplets that still have a loss. Spread: mean squared distance to the mean embedding, 0 "
        "when collapsed, 1 when evenly spread.",
    )


def _definition(kind: Kind, metric: str) -> str:
    if kind == "dot":
        return (
            "Overlap in %: share of a playlist's k best test tracks by dot product with the reference factors that "
            "are also among its k best by the predicted factors."
        )
    return (
        f"Overlap in %: share of the k test tracks nearest to a test track by {METRICS.get(metric, metric)} of the "
        "reference factors that are also among the k nearest by the predicted factors."
    )
