"""The tables of a study: trials, their parameters, hyperparameter importance, and failures."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

from cs_keras.run_files.study import TrialRecord
from reports.study import notes
from reports.study.differences import Difference, compare_trials
from reports.study.importance import Estimate, Importance, study_importance
from reports.study.records import Parameter, Study, score_of
from reports.tables.cells.numbers import count_cell, format_loss, mean_cell, seconds_cell
from reports.tables.cells.table import Cell, Column, Row, Section, Table

N_SHOWN = 20  # trials in tables for people
N_CONCLUDED = 5  # trials in a conclusion
MAX_WIDTH = 96  # characters of a table of parameters, which continues in another
INACTIVE = "inactive"


@dataclasses.dataclass(frozen=True)
class Analysis:
    """A study with statistics that its tables and plots share."""

    study: Study
    differences: dict[str, Difference]  # to the best trial
    left_out: tuple[str, ...]  # why differences of other trials are missing
    importance: Importance | None


def analyse_study(study: Study) -> Analysis:
    """Compare the trials of a study, and estimate the importance of its parameters."""
    return Analysis(study, *compare_trials(study), study_importance(study))


def make_study_sections(analysis: Analysis, n_shown: int | None = N_SHOWN) -> tuple[Section, ...]:
    """Return the tables of a study with the best `n_shown` trials; None: with all of them."""
    study = analysis.study
    shown = study.ranked[:n_shown]
    tables = [_trials_table(analysis, shown), *_parameter_tables(study, shown)] if shown else []
    if analysis.importance:
        tables.append(_importance_table(analysis.importance))
    if study.failed:
        tables.append(_failures_table(study.failed))
    section_notes = tuple(notes.section_notes(study, analysis.importance))
    return (Section(notes.heading(study), section_notes, tuple(tables)),)


def conclude_study(analysis: Analysis) -> Section:
    """Return the best trials, and what they and the importance of parameters show."""
    study = analysis.study
    shown = study.ranked[:N_CONCLUDED]
    tables = [dataclasses.replace(table, notes=()) for table in (_trials_table(analysis, shown),) if shown]
    conclusion = tuple(notes.conclude(study, analysis.differences, analysis.importance))
    return Section(notes.heading(study), (), tuple(tables), conclusion)


def _trials_table(analysis: Analysis, shown: Sequence[TrialRecord]) -> Table:
    objective = analysis.study.settings.objective
    columns = (
        Column("rank", "rank"),
        Column(f"score\n{objective}", objective),
        Column("difference\nto the best", "difference"),
        *([] if objective == "val_loss" else [Column("loss\nval", "val_loss")]),
        Column("trainable\nparameters", "parameters"),
        Column("epochs", "epochs"),
        Column("time\n(min:s)", "seconds"),
    )
    rows = [Row(trial.trial, (), _trial_cells(trial, rank, analysis)) for rank, trial in enumerate(shown, 1)]
    own_notes = tuple(notes.trials_notes(analysis.study, analysis.differences, len(shown)))
    return Table("Trials", columns, tuple(rows), own_notes, stub="trial")


def _trial_cells(trial: TrialRecord, rank: int, analysis: Analysis) -> tuple[Cell | None, ...]:
    executions = trial.executions
    losses = mean_cell([one.metrics.get("val_loss") for one in executions], format_loss)
    return (
        Cell(f"{rank}", rank),
        _score_cell(trial, strong=rank == 1),
        _difference_cell(analysis.differences.get(trial.trial), is_best=rank == 1),
        *([] if analysis.study.settings.objective == "val_loss" else [losses]),
        None if trial.n_weights is None else count_cell([trial.n_weights]),
        count_cell([one.epochs for one in executions]),
        seconds_cell([one.seconds for one in executions]),
    )


def _score_cell(trial: TrialRecord, strong: bool = False) -> Cell:
    score, spread = score_of(trial), trial.spread
    detail = "" if spread is None else f"± {format_loss(spread)}"
    return Cell(format_loss(score), score, detail=detail, sd=spread, strong=strong)


def _difference_cell(difference: Difference | None, is_best: bool) -> Cell | None:
    if difference is None or is_best:
        return Cell("best", 0.0) if difference else None
    low, high = difference.low, difference.high
    marks = "" if difference.is_significant else notes.ALIKE
    interval = f"[{_signed(low)}, {_signed(high)}]"
    return Cell(_signed(difference.mean), difference.mean, marks, interval, low=low, high=high)


def _signed(value: float) -> str:
    return f"{value:+.3e}" if abs(value) >= 1e4 else f"{value:+z.4f}"


def _parameter_tables(study: Study, shown: Sequence[TrialRecord]) -> list[Table]:
    """Return scores and varied parameters of trials, in as many tables as their width needs."""
    score = Column("score", study.settings.objective)
    blocks: list[list[tuple[Column, list[Cell]]]] = []
    left = 0
    for parameter in study.varied:
        column = Column(parameter.name.replace(".", "\n").replace("_", "\n"), parameter.name)
        cells = [_value_cell(parameter, trial) for trial in shown]
        width = 1 + max(map(cell_len, (*column.header.split("\n"), *(cell.text for cell in cells))))
        if width > left:
            blocks.append([])
            left = MAX_WIDTH
        blocks[-1].append((column, cells))
        left -= width
    scores = [dataclasses.replace(_score_cell(trial), detail="") for trial in shown]
    own_notes, tables = tuple(notes.parameter_notes(study)), []
    for number, block in enumerate(blocks, 1):
        columns, values = zip(*block, strict=True)
        cells_by_trial = zip(shown, scores, *values, strict=True)
        rows = tuple(Row(trial.trial, (), tuple(cells)) for trial, *cells in cells_by_trial)
        title = f"Parameters ({number} of {len(blocks)})" if len(blocks) > 1 else "Parameters"
        tables.append(Table(title, (score, *columns), rows, own_notes, stub="trial"))
    return tables


def _value_cell(parameter: Parameter, trial: TrialRecord) -> Cell:
    value = trial.parameters.get(parameter.name)
    if value is None:
        return Cell(INACTIVE, None, remark=INACTIVE)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(f"{value:.3g}" if isinstance(value, float) else str(value), value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return Cell(text, None, remark=text)


def _importance_table(importance: Importance) -> Table:
    columns = (Column("importance", "importance"),)
    rows = (Row(name, (), (_estimate_cell(one),)) for name, one in importance.by_parameter.items())
    explained = Row("explained (R²)", (), (_estimate_cell(importance.explained),), rule_above=True)
    own_notes = tuple(notes.importance_notes(importance))
    return Table("Hyperparameter importance", columns, (*rows, explained), own_notes, stub="parameter")


def _estimate_cell(estimate: Estimate) -> Cell:
    mean, low, high = estimate
    return Cell(f"{mean:z.2f}", mean, detail=f"[{low:z.2f}, {high:z.2f}]", low=low, high=high)


def _failures_table(failed: Sequence[TrialRecord]) -> Table:
    columns = (Column("trials", "n_failed"),)
    counts = Counter(trial.cause or "" for trial in failed)
    rows = tuple(Row(cause, (), (count_cell([n]),)) for cause, n in counts.most_common())
    return Table("Failed trials", columns, rows, tuple(notes.failure_notes(failed)), stub="cause")
