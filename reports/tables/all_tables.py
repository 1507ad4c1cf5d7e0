"""The tables of a report of runs, in order: training, and all parts of the evaluation."""

from reports.runs.collect import Collected, Group
from reports.tables import notes
from reports.tables.comparison import compare_models, comparison_table
from reports.tables.embedding import embedding_table
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
            notes=tuple(notes.section_notes(group)),
            tables=make_tables(group),
        )
        for number, group in enumerate(collected.groups, 1)
    )


def make_tables(group: Group) -> tuple[Table, ...]:
    """Return a group's tables, without those for which there are no results."""
    kinds = [kind for kind in TITLES if group.first.overlap.get(kind)]
    comparisons = compare_models(group)
    tables = (
        training_table(group),
        embedding_table(group),
        *(overlap_table(group, kind, comparisons) for kind in kinds),
        *(ladder_table(group, kind) for kind in kinds),
        ranking_table(group, comparisons),
        beyond_table(group),
        cohesion_table(group),
        *group_tables(group),
        comparison_table(group, comparisons),
    )
    return tuple(table for table in tables if table is not None)
