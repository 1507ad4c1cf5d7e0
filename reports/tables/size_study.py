"""The table of a size study: trained on little or much, tested on little or much."""

from collections.abc import Iterator

from cs_keras.evaluation.size_study import LARGE, SIZES, SizeStudy
from reports.tables.numbers import format_share
from reports.tables.table import PAIRED_P, SIGNIFICANT, SIGNIFICANT_P, TIED, Cell, Column, Row, Section, Table

NIETO = {
    ("small", "small"): 0.21,
    ("small", "large"): 0.64,
    ("large", "small"): 0.21,
    ("large", "large"): 0.37,
}
PUBLISHED = "cos. dist., Nieto 2017 (other data)"


def make_size_section(study: SizeStudy) -> Section:
    """Return cosine distance and overlap of both models on both test sets, beside the published study."""
    columns = (
        *(Column(f"cos. dist.,\non {size}", f"cosine_distance/{size}") for size in SIZES),
        *(Column(f"overlap@{study.k},\non {size}", f"overlap@{study.k}/{size}") for size in SIZES),
        *(Column(f"on {size}", f"published/{size}", group=PUBLISHED) for size in SIZES),
    )
    rows = tuple(Row(f"{size} ({study.n_train[size]:,} tracks)", (), _cells(study, size)) for size in SIZES)
    table = Table(f"{study.model} by size", columns, rows, tuple(_notes(study)), stub="trained on")
    return Section("Size of the catalogue", (), (table,))


def _cells(study: SizeStudy, trained: str) -> tuple[Cell | None, ...]:
    return (
        *(_distance(study, trained, tested) for tested in SIZES),
        *(_overlap(study, trained, tested) for tested in SIZES),
        *(Cell(f"{NIETO[trained, tested]:.2f}", NIETO[trained, tested]) for tested in SIZES),
    )


def _distance(study: SizeStudy, trained: str, tested: str) -> Cell:
    placing, gain = study.results[trained, tested], study.gains[tested]
    is_better = gain.p_holm < PAIRED_P and (gain.difference > 0) == (trained == LARGE)
    return Cell(
        f"{placing.cosine_distance:.4f}",
        placing.cosine_distance,
        detail=f"[{placing.low:.3f}, {placing.high:.3f}]",
        low=placing.low,
        high=placing.high,
        strong=is_better,
    )


def _overlap(study: SizeStudy, trained: str, tested: str) -> Cell | None:
    row = study.results[trained, tested].overlap
    if (
        row.overlap is None
        or row.low is None
        or row.high is None
        or row.p_value is None
        or row.chance is None
    ):
        return None
    is_above = row.p_value < SIGNIFICANT_P and row.overlap > row.chance
    marks = TIED if row.flagged else SIGNIFICANT if is_above else ""
    detail = f"[{format_share(row.low)}, {format_share(row.high)}]"
    return Cell(
        format_share(row.overlap), row.overlap, marks, detail, low=row.low, high=row.high, p=row.p_value
    )


def _notes(study: SizeStudy) -> Iterator[str]:
    yield (
        f"Small: {study.small}. Tested on {study.n_test['small']:,} and {study.n_test['large']:,} test tracks. "
        "Lists of the small test set hold its own tracks only, so chance differs: "
        + ", ".join(f"{size} {_chance(study, size)}" for size in SIZES)
        + "."
    )
    for tested in SIZES:
        gain = study.gains[tested]
        yield (
            f"Cosine distance on the {tested} test set, small less large: {gain.difference:+.4f} "
            f"({gain.low:+.4f} to {gain.high:+.4f}), p = {gain.p_value:.3f} by sign flips over {gain.n_queries:,} "
            "tracks; the better is strong where p < 0.05."
        )
    yield (
        f"{SIGNIFICANT}: above chance, p < {SIGNIFICANT_P} by permutation. {TIED}: more than 1 % of lists hang on "
        "ties."
    )


def _chance(study: SizeStudy, tested: str) -> str:
    chance = study.results[LARGE, tested].overlap.chance
    return "n/a" if chance is None else f"{format_share(chance)} %"
