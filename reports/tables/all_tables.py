"""The tables of a report of runs, in order: training, and all parts of the evaluation."""

from reports.runs.collect import Collected, Group
from reports.tables import notes
from reports.tables.among_all import among_all_table
from reports.tables.comparison import compare_models, comparison_table
from reports.tables.confidence import confidence_tables
from reports.tables.embedding import embedding_table
from reports.tables.groups import group_tables
from reports.tables.hubness import hubness_table
from reports.tables.ladder import ladder_table
from reports.tables.leading import leading_table
from reports.tables.overlap import overlap_table
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
    """Return a group's tables, without tables and columns for which there are no results."""
    kinds = notes.available_kinds(group)
    ladders = [kind for kind in kinds[:1] + ["dot"] if kind in kinds]
    comparisons = compare_models(group)
    tables = (
        leading_table(group, comparisons),
        *(ladder_table(group, kind) for kind in dict.fromkeys(ladders)),
        training_table(group),
        embedding_table(group),
        *(overlap_table(group, kind, comparisons) for kind in kinds),
        among_all_table(group),
        ranking_table(group, comparisons),
        beyond_table(group),
        hubness_table(group),
        *confidence_tables(group),
        cohesion_table(group),
        *group_tables(group),
        comparison_table(group, comparisons),
    )
    shown = (table.without_empty_columns() for table in tables if table is not None)
    return tuple(table for table in shown if table.columns)
