"""Tables of predicted standard deviations: their calibration, errors against them, and the least certain tracks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cs_keras.run_files.evaluation import ConfidenceRecord, MeanRecord
from reports.runs.collect import Group
from reports.tables.cells.numbers import bare_cell, format_loss, format_share, share_cell
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import Cell, Column, Row, Table

SHOWN_LEVELS = (0.5, 0.9)
COLUMNS = (
    Column("calibration\nerror", "calibration_error", best=min),
    *(Column(f"inside\n{level:.0%}", f"coverage_{level:g}") for level in SHOWN_LEVELS),
    Column("log loss", "nll", best=min),
    Column("rank\ncorrelation", "rank_correlation", best=max),
    Column("error, most\ncertain fifth", "error_most_certain"),
    Column("error, least\ncertain fifth", "error_least_certain"),
)
NOTES = (
    "Models that predict a standard deviation with each factor (training.loss=gaussian_nll or mixture_nll). "
    "Inside: % of test tracks' factors in the central intervals of 50 % and 90 % of the predicted distributions. "
    "Calibration error: mean difference of such shares from their level, for ten levels from 10 % to 95 %, in "
    "percentage points.",
    "Log loss: negative log-likelihood of normal distributions with these standard deviations, of mixtures too, in "
    "nats per factor. Expected error of a track: root mean square of its "
    "predicted standard deviations; error: that of the differences from its reference factors, both of scaled "
    "factors. Rank correlation: of the two over tracks, by Spearman; its 95% interval for other artists is in "
    "tables.csv.",
)
HARDEST_COLUMNS = (Column("expected\nerror", "expected_error"), Column("error", "error"))


def confidence_tables(group: Group) -> Iterator[Table]:
    """Yield the table of all models that predict standard deviations, and for each its least certain tracks."""
    rows = predictor_rows(group, COLUMNS, {}, lambda one: one.confidence, _cells)
    if not rows:
        return
    yield Table("Confidence of predictions", COLUMNS, rows, NOTES)
    for run in group.runs:
        record = run.evaluations[0].confidence
        if record is not None:
            tracks = tuple(
                Row(
                    one.track_id,
                    (),
                    (_error_cell(one.expected_error), _error_cell(one.error)),
                    track=(one.track_id, 0.0),
                )
                for one in record.hardest
            )
            note = f"The test tracks with the highest expected errors, of seed {run.seeds[0]}."
            yield Table(
                f"Least certain predictions of {run.label}", HARDEST_COLUMNS, tracks, (note,), "track"
            )


def _cells(seeds: Sequence[ConfidenceRecord]) -> tuple[Cell | None, ...]:
    at = [seeds[0].levels.index(level) for level in SHOWN_LEVELS]
    return (
        bare_cell([one.calibration_error for one in seeds], format_share),
        *(share_cell([one.coverage[i] for one in seeds]) for i in at),
        bare_cell([one.nll for one in seeds], format_loss),
        _correlation_cell([one.rank_correlation for one in seeds]),
        *(bare_cell([one.groups[i].error for one in seeds], _show_error) for i in (0, -1)),
    )


def _correlation_cell(seeds: Sequence[MeanRecord | None]) -> Cell | None:
    cell = bare_cell([one.mean if one else None for one in seeds], "{:z.2f}".format)
    if cell is None or len(seeds) > 1 or seeds[0] is None:
        return cell
    return replace(cell, low=seeds[0].low, high=seeds[0].high)


def _error_cell(value: float) -> Cell:
    return Cell(_show_error(value), value)


def _show_error(value: float) -> str:
    return f"{value:.3f}"
