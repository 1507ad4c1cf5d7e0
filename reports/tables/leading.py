"""The first table: overlap at the first list length by kind of list, and the information that each row uses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cs_keras.run_files.evaluation import INFORMATION, SINGLE_RANKING, Kind, OverlapAtK
from reports.runs.collect import Group
from reports.runs.labels import name_predictor
from reports.tables.cells.comparison import PairedComparisons, emphasise
from reports.tables.cells.notes import METRICS, SEEDS, available_kinds, has_several_seeds
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import SIGNIFICANT, SIGNIFICANT_P, Cell, Column, Row, Table
from reports.tables.overlap import (
    DEFINITIONS,
    beyond_artist_notes,
    bold_note,
    by_k,
    chance_cell,
    interval_note,
    p_cell,
    same_artist_notes,
    seeds_cell,
    show_decimals,
)

HEADERS: dict[Kind, str] = {
    "filtered": "artist-\nfiltered",
    "similarity": "unfiltered",
    "dot_per_artist": "dot, one\nper artist",
    "dot": "dot\nproduct",
}
NAMES: dict[Kind, str] = {
    "filtered": "Artist-filtered",
    "similarity": "Unfiltered",
    "dot_per_artist": "Dot product, one per artist",
    "dot": "Dot product",
}

Found = Mapping[Kind, OverlapAtK | None]  # overlaps at one list length


def leading_table(group: Group, comparisons: PairedComparisons) -> Table | None:
    """Return the overlap of all predictors at the first list length, artist-filtered first; None without one."""
    first, k = group.first, group.evaluation_config.ks[0]
    available = [kind for kind in available_kinds(group) if by_k(first.overlap[kind])[k].available]
    kinds = [kind for kind in HEADERS if kind in available]
    if not kinds:
        return None
    any_information: Kind = "similarity" if "similarity" in kinds else kinds[0]
    chances = {kind: by_k(first.overlap[kind])[k] for kind in kinds}
    decimals = {kind: show_decimals(row) for kind, row in chances.items()}
    columns = (
        *(Column(f"{HEADERS[kind]}\nk = {k}", f"{kind}@{k}") for kind in kinds),
        Column("p\nany\ninfo.", f"p_{any_information}@{k}", optional=True),
        Column("p\nbeyond\nartist", f"p_beyond_artist_{kinds[0]}@{k}", optional=True),
        Column("information used", "information", align="left"),
    )

    def cells(seeds: Sequence[Found]) -> tuple[Cell | None, ...]:
        leading, unfiltered = ([own.get(kind) for own in seeds] for kind in (kinds[0], any_information))
        return (
            *(seeds_cell([own.get(kind) for own in seeds], kind, decimals[kind]) for kind in kinds),
            p_cell([one.p_value if one else None for one in unfiltered]),
            p_cell([one.p_beyond_artist if one else None for one in leading]),
        )

    references = {
        name: {kind: by_k(own.get(kind, ())).get(k) for kind in kinds}
        for name, own in first.references.items()
        if name != SINGLE_RANKING  # which is the model's own
    }
    found = predictor_rows(
        group,
        columns[:-1],
        references,
        lambda evaluation: {kind: by_k(evaluation.overlap.get(kind, ())).get(k) for kind in kinds},
        cells,
    )
    measures = [f"{kind}@{k}" for kind in kinds]
    information = {name_predictor(name): text for name, text in INFORMATION.items()}
    rows = [
        Row("chance", (), (*(chance_cell(row, decimals[kind]) for kind, row in chances.items()), None, None))
    ]
    rows += [emphasise(row, measures, comparisons) if row.family else row for row in found]
    texts = [information.get(row.name, "") if not row.family else "" for row in rows]
    return Table(
        f"Overlap at k = {k}",
        columns,
        tuple(
            replace(row, cells=(*row.cells, Cell(text, None, remark=text)))
            for row, text in zip(rows, texts, strict=True)
        ),
        tuple(_notes(group, kinds, chances[kinds[0]])),
    )


def _notes(group: Group, kinds: Sequence[Kind], leading: OverlapAtK) -> Iterator[str]:
    first, settings = group.first, group.evaluation_config
    if "similarity" in kinds:
        metric = METRICS.get(settings.metric, settings.metric)
        yield f"Unfiltered: {DEFINITIONS['similarity'].format(metric=metric)}, in %."
    if "filtered" in kinds:
        yield f"Artist-filtered: {DEFINITIONS['filtered']}."
        yield from same_artist_notes(first)
    yield from (f"{NAMES[kind]}: {DEFINITIONS[kind]}." for kind in ("dot", "dot_per_artist") if kind in kinds)
    yield interval_note(group, *kinds)
    tested = NAMES["similarity" if "similarity" in kinds else kinds[0]].lower()
    own = " (beyond artist, if artist-filtered)" if leading.p_beyond_artist is not None else ""
    yield (
        f"p any info., {tested} lists: (1 + permutations that reach the overlap) / (1 + "
        f"{settings.n_permutations:,}); predictions are assigned to random tracks. {SIGNIFICANT} p at most "
        f"{SIGNIFICANT_P} by the column's own lists{own}, not corrected for the number of comparisons."
    )
    yield from beyond_artist_notes(leading)
    yield "Information used: about the test tracks. Models use their input, audio or attributes."
    if has_several_seeds(group):
        yield f"{SEEDS}, in place of the interval; p: the largest."
    if len(group.runs) > 1:
        yield bold_note(group)
