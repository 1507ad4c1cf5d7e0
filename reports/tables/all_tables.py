"""The tables that every report holds, in order: how models were trained, and how they fare in every respect."""

from reports.runs.collect import Collected, Group
from reports.tables import notes
from reports.tables.comparison import compare_models, comparison_table
from reports.tables.embedding import embedding_table, has_embeddings
from reports.tables.groups import group_tables
from reports.tables.ladder import ladder_table
from reports.tables.overlap import TITLES, overlap_table
from reports.tables.ranking import beyond_table, cohesion_table, ranking_table
from reports.tables.table import Section, Table
from reports.tables.training import training_table


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
    """Return a group's tables, those that there is anything to say in."""
    kinds = [kind for kind in TITLES if group.first.overlap.get(kind)]
    contests = compare_models(group)
    tables = (
        training_table(group),
        embedding_table(group) if has_embeddings(group) else None,
        *(overlap_table(group, kind, contests) for kind in kinds),
        *(ladder_table(group, kind) for kind in kinds),
        ranking_table(group, contests),
        beyond_table(group),
        cohesion_table(group),
        *group_tables(group),
        comparison_table(group, contests),
    )
    return tuple(table for table in tables if table is not None)
