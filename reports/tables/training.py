"""The table of what was trained: size, time and losses, as the thesis's tables 6.1 to 6.5 have, and more."""

from collections.abc import Sequence

from cs_keras.run_files.evaluation import SplitLosses
from reports.runs.collect import FailedRun, Group, Run
from reports.runs.labels import family_of
from reports.tables import notes
from reports.tables import published as reported
from reports.tables.numbers import count_cell, format_loss, mean_cell, mse_cell, seconds_cell
from reports.tables.table import Cell, Column, Row, Table, arrange


def training_table(group: Group) -> Table:
    """Return size, time, epochs and losses of each model, below the losses of the mean predictor."""
    subset = any(
        own.training.n_train_tracks != own.n_tracks.train for run in group.runs for own in run.evaluations
    )
    columns = _columns(subset)
    losses = _loss_cells([group.first.mean_predictor])
    baseline = Row("mean predictor", (), (*(None,) * (len(columns) - len(losses)), *losses))
    models = [
        Row(entry.label, entry.seeds, _cells(entry, subset), family_of(entry.model))
        for entry in group.entries
    ]
    table = Table("Training", columns, (baseline, *arrange(columns, models)), notes.training_notes(group))
    theirs = [(), *(reported.training_cells(entry.model) for entry in group.entries)]
    return reported.beside(table, reported.TRAINING_COLUMNS, theirs, reported.TRAINING_NOTE)


def _columns(subset: bool) -> tuple[Column, ...]:
    """Return the columns of our own figures, with the train tracks if some models had but a `subset` of them."""
    return (
        Column("trainable\nparameters", "parameters"),
        *([Column("train\ntracks", "n_train_tracks")] if subset else []),
        Column("time\n(min:s)", "seconds"),
        Column("epochs", "epochs"),
        Column("best\nepoch", "best_epoch"),
        Column("MSE\nval", "mse_validation", best=min),
        Column("MSE\ntest", "mse_test", best=min),
        Column("R²\ntest", "r2_test", best=max),
        Column("cosine\ndist.\ntest", "cosine_distance_test", best=min),
    )


def _cells(entry: Run | FailedRun, subset: bool) -> tuple[Cell | None, ...]:
    if isinstance(entry, FailedRun):
        failed = Cell("failed", None, remark=f"failed: {entry.reason}")
        return (failed, *(None,) * (len(_columns(subset)) - 1))
    trained = [evaluation.training for evaluation in entry.evaluations]
    return (
        count_cell([one.parameters for one in trained]),
        *([count_cell([one.n_train_tracks for one in trained])] if subset else []),
        seconds_cell([one.seconds for one in trained]),
        count_cell([one.epochs for one in trained]),
        count_cell([one.best_epoch for one in trained]),
        *_loss_cells([evaluation.losses for evaluation in entry.evaluations]),
    )


def _loss_cells(losses: Sequence[SplitLosses]) -> tuple[Cell | None, ...]:
    """Return the cells of the last four columns, for one `losses` a seed."""
    return (
        mse_cell([one.validation.mse for one in losses]),
        mse_cell([one.test.mse for one in losses]),
        mean_cell([one.test.r2 for one in losses], format_loss),
        mean_cell([one.test.cosine_distance for one in losses], format_loss),
    )
