"""The table of a size study: models trained on a small and a large catalogue, each tested on both."""

from collections.abc import Iterator

from cs_keras.evaluation.size_study import LARGE, SIZES, SizeStudy
from cs_keras.messages import count
from cs_keras.run_files.evaluation import Kind
from reports.tables.cells.numbers import OVERLAP_MARKS, format_p, format_share, overlap_cell
from reports.tables.cells.table import PAIRED_P, Cell, Column, Row, Section, Table

NIETO = {
    ("small", "small"): 0.21,
    ("small", "large"): 0.64,
    ("large", "small"): 0.21,
    ("large", "large"): 0.37,
}
HEADERS: dict[Kind, str] = {"filtered": "filtered", "similarity": "unfiltered"}
PUBLISHED = "cos. dist., Nieto 2017 (other data)"


def make_size_section(study: SizeStudy) -> Section:
    """Return cosine distance and overlap of both models on both test sets, with those of the published study."""
    kinds = study.results[LARGE, LARGE].overlap
    columns = (
        *(Column(f"cos. dist.,\non {size}", f"cosine_distance/{size}") for size in SIZES),
        *(
            Column(f"overlap@{study.k},\n{HEADERS[kind]},\non {size}", f"{kind}@{study.k}/{size}")
            for kind in kinds
            for size in SIZES
        ),
        *(Column(f"on {size}", f"published/{size}", group=PUBLISHED) for size in SIZES),
    )
    rows = []
    for trained in SIZES:
        cells = (
            *(_distance_cell(study, trained, tested) for tested in SIZES),
            *(
                overlap_cell(study.results[trained, size].overlap.get(kind))
                for kind in kinds
                for size in SIZES
            ),
            *(Cell(f"{NIETO[trained, tested]:.2f}", NIETO[trained, tested]) for tested in SIZES),
        )
        rows.append(Row(f"{trained} ({count(study.n_train[trained], 'track')})", (), cells))
    table = Table(
        f"{study.model} by catalogue size", columns, tuple(rows), tuple(_notes(study)), stub="trained on"
    )
    return Section("Size of the catalogue", (), (table,), (_conclude(study),))


def _conclude(study: SizeStudy) -> str:
    gain = study.gains[LARGE]
    better = "more" if gain.difference > 0 else "fewer"
    significant = f"with {better} train tracks {study.model} predicts significantly better"
    finding = significant if gain.p_holm < PAIRED_P else "no significant difference"
    return (
        f"{count(study.n_train[LARGE], 'train track')} against {study.n_train['small']:,}, on the large test set: "
        f"{finding} (p = {format_p(gain.p_value)})."
    )


def _distance_cell(study: SizeStudy, trained: str, tested: str) -> Cell:
    result, gain = study.results[trained, tested], study.gains[tested]
    return Cell(
        f"{result.cosine_distance:.4f}",
        result.cosine_distance,
        detail=f"[{result.low:.3f}, {result.high:.3f}]",
        low=result.low,
        high=result.high,
        strong=gain.p_holm < PAIRED_P and (gain.difference > 0) == (trained == LARGE),
    )


def _notes(study: SizeStudy) -> Iterator[str]:
    first = next(iter(study.results[LARGE, LARGE].overlap))
    # None where no artist of the set is known
    overlaps = {size: study.results[LARGE, size].overlap.get(first) for size in SIZES}
    chances = {size: None if one is None else one.chance for size, one in overlaps.items()}
    shown = (f"{size} {'n/a' if x is None else f'{format_share(x)} %'}" for size, x in chances.items())
    yield (
        f"Small: {study.small}. Tested on {study.n_test['small']:,} and {study.n_test['large']:,} test tracks. "
        f"Lists of the small test set contain its own tracks only, so chance differs: {', '.join(shown)}."
    )
    for tested in SIZES:
        gain = study.gains[tested]
        yield (
            f"Cosine distance on the {tested} test set, small minus large: {gain.difference:+.4f} "
            f"({gain.low:+.4f} to {gain.high:+.4f}), p = {format_p(gain.p_value)} (t test of "
            f"{count(gain.n_queries, 'track')} over their artists). Bold: the better one, where p < {PAIRED_P}."
        )
    if "filtered" in study.results[LARGE, LARGE].overlap:
        yield "Filtered: without tracks of the query's own artist in either list; so is chance."
    yield f"In brackets: 95% intervals over artists (jackknife, Student's t). {OVERLAP_MARKS}"
