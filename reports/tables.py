"""The tables that every report holds: training, embeddings where there are any, and both overlaps."""

from reports import notes
from reports.collect import Collected, Group
from reports.embedding import embedding_table, has_embeddings
from reports.layout import Section, Table
from reports.overlap import TITLES, overlap_table
from reports.training import training_table


def make_sections(collected: Collected) -> tuple[Section, ...]:
    """Return the tables of collected runs, a section for each group, numbered if there are several."""
    several = len(collected.groups) > 1
    return tuple(
        Section(
            heading=f"{number}. {notes.heading(group)}" if several else notes.heading(group),
            notes=notes.section_notes(group),
            tables=make_tables(group),
        )
        for number, group in enumerate(collected.groups, 1)
    )


def make_tables(group: Group) -> tuple[Table, ...]:
    """Return a group's tables: training, embeddings if any were trained, and each overlap that was measured."""
    kinds = [kind for kind in TITLES if group.first.overlap.get(kind)]
    return (
        training_table(group),
        *([embedding_table(group)] if has_embeddings(group) else []),
        *(overlap_table(group, kind) for kind in kinds),
    )
