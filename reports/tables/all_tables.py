"""The tables of a report of runs, in order: training, and all parts of the evaluation."""

from dataclasses import replace

from reports.runs.collect import Collected, Group
from reports.tables.among_all import among_all_table
from reports.tables.cells import notes
from reports.tables.cells.comparison import compare_models, comparison_table
from reports.tables.cells.table import Section, Table
from reports.tables.confidence import confidence_tables
from reports.tables.embedding import embedding_table
from reports.tables.groups import group_tables
from reports.tables.hubness import hubness_table
from reports.tables.ladder import ladder_table
from reports.tables.leading import leading_table
from reports.tables.overlap import overlap_table
from reports.tables.ranking import beyond_table, cohesion_table, ranking_table
from reports.tables.training import training_table

TOPICS = OVERLAP, RANKING, TRAINING, CONFIDENCE, COMPARED, FAILURES = (  # parts of a page
    "Overlap",
    "Ranking",
    "Training",
    "Confidence",
    "Models compared",
    "Failures",
)


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
    tables: tuple[tuple[str, Table | None], ...] = (
        (OVERLAP, leading_table(group, comparisons)),
        *((OVERLAP, ladder_table(group, kind)) for kind in dict.fromkeys(ladders)),
        (TRAINING, training_table(group)),
        (TRAINING, embedding_table(group)),
        *((OVERLAP, overlap_table(group, kind, comparisons)) for kind in kinds),
        (OVERLAP, among_all_table(group)),
        (RANKING, ranking_table(group, comparisons)),
        (RANKING, beyond_table(group)),
        (RANKING, hubness_table(group)),
        *((CONFIDENCE, table) for table in confidence_tables(group)),
        (RANKING, cohesion_table(group)),
        *((FAILURES, table) for table in group_tables(group)),
        (COMPARED, comparison_table(group, comparisons)),
    )
    shown = (replace(table.without_empty_columns(), topic=topic) for topic, table in tables if table)
    return tuple(table for table in shown if table.columns)
