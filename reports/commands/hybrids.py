"""The tables of audio, fold-in and hybrids: one row per predictor, one column per number of playlists."""

from collections.abc import Iterator

from cs_keras.evaluation.hybrid import (
    BOOSTED,
    CASCADE,
    DOT,
    FILTERED,
    KINDS,
    LISTENING,
    PREDICTORS,
    SIMILARITY,
    SOUND,
    SWITCHING,
    WEIGHTING,
    HybridResults,
)
from cs_keras.messages import count
from reports.tables.cells.numbers import OVERLAP_MARKS, format_share, overlap_cell
from reports.tables.cells.table import Cell, Column, Row, Section, Table

TITLES = {
    FILTERED: "Overlap by similarity, artist-filtered",
    SIMILARITY: "Overlap by similarity",
    DOT: "Overlap by dot product",
}
LABELS = {
    SOUND: "audio",
    LISTENING: "fold-in",
    SWITCHING: "switching",
    WEIGHTING: "weighting",
    CASCADE: "cascade",
    BOOSTED: "content-boosted",
}


def make_hybrids_section(hybrids: HybridResults) -> Section:
    """Return overlaps by the number of playlists that a track was folded in with."""
    tables = tuple(_table(hybrids, kind) for kind in KINDS if kind in hybrids.overlap)
    heading = "Audio, fold-in and hybrids as interactions accrue"
    return Section(heading, tuple(_notes(hybrids)), tables, (_conclude(hybrids),))


def _conclude(hybrids: HybridResults) -> str:
    """Return the first number of playlists from which fold-in has a higher overlap than audio, in a sentence."""
    found = next(iter(hybrids.overlap.values()))
    for n, folded_in in found[LISTENING].items():
        audio = found[SOUND][n].overlap
        if folded_in.overlap is not None and audio is not None and folded_in.overlap > audio:
            return (
                f"From {count(n, 'playlist')} on, fold-in finds more than audio: {folded_in.overlap:.1%} "
                f"against {audio:.1%}."
            )
    return f"Audio finds at least as much as fold-in of {count(max(found[SOUND]), 'playlist')}."


def _table(hybrids: HybridResults, kind: str) -> Table:
    found = hybrids.overlap[kind]
    counts = list(found[SOUND])
    columns = [Column(count(n, "playlist"), f"overlap@{hybrids.k}/{n}") for n in counts]
    first = next(iter(found[SOUND].values()))
    chance = (
        None if first.chance is None else Cell(format_share(first.chance), first.chance, sd=first.chance_sd)
    )
    rows = [
        Row(
            LABELS[name],
            (),
            tuple(overlap_cell(found[name].get(n)) for n in counts),
            rule_above=name == SOUND,
        )
        for name in PREDICTORS
    ]
    queries = "playlists" if kind == DOT else "tracks"
    note = (
        f"Share (%) of the top {first.k} in common with the reference, mean over {first.n_queries:,} {queries}; "
        f"{first.n_candidates:,} candidate tracks. In brackets: 95% interval over artists."
    )
    return Table(
        f"{TITLES[kind]}, k = {hybrids.k}",
        tuple(columns),
        (Row("chance", (), (chance,) * len(counts)), *rows),
        (note, OVERLAP_MARKS),
        stub="by",
    )


def _notes(hybrids: HybridResults) -> Iterator[str]:
    yield (
        f"{hybrids.n_test:,} of {hybrids.n_test_in_all:,} test tracks, those with enough interactions. Reference: "
        "fold-in of held-out playlists, which are disjoint from those that tracks are folded in with."
    )
    switching = (
        "never fold-in: audio was at least as good on the validation tracks."
        if hybrids.threshold is None
        else f"fold-in from {count(hybrids.threshold, 'playlist')} on, else audio."
    )
    tiers = ", ".join(f"{size:,} (n = {n})" for n, size in hybrids.tier_sizes.items())
    yield (
        f"Audio: predictions of the run. Fold-in: the given playlists alone. Switching: {switching} Weighting: "
        f"both, with weight n / (n + h) for the fold-in of n playlists; h = {hybrids.half_trust:g}. Cascade: the "
        f"order of audio, within tiers of that of fold-in; candidates in a tier: {tiers}. Content-boosted: fold-in "
        "where playlists without the track prefer it by h / (h + n) of the predicted preference instead of 0; "
        f"h = {hybrids.half_fill:g}. All were chosen on {hybrids.n_validation:,} validation tracks."
    )
