"""The table of training: size, time and losses of each model, as in the thesis's tables 6.1 to 6.5."""

from collections import Counter
from collections.abc import Iterator, Sequence

from cs_keras.run_files.evaluation import SplitLosses
from reports.runs.collect import FailedRun, Group, Run
from reports.runs.labels import family_of
from reports.tables import published
from reports.tables.cells.notes import SEEDS, STRONG, has_several_seeds
from reports.tables.cells.numbers import count_cell, format_loss, mean_cell, mse_cell, seconds_cell
from reports.tables.cells.rows import arrange
from reports.tables.cells.table import Cell, Column, Row, Table


def training_table(group: Group) -> Table:
    """Return size, time, epochs and losses of each model, below the losses of the mean predictor."""
    evaluations = [own for run in group.runs for own in run.evaluations]
    subset = any(own.training.n_train_tracks != own.n_tracks.train for own in evaluations)
    columns = (
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
    losses = _loss_cells([group.first.mean_predictor])
    baseline = Row("mean predictor", (), (*(None,) * (len(columns) - len(losses)), *losses))
    models = []
    for entry in group.entries:
        if isinstance(entry, FailedRun):
            text = "n/a" if entry.failure.is_left_out else "failed"
            failed = Cell(text, None, remark=entry.failure.outcome)
            cells: tuple[Cell | None, ...] = (failed, *(None,) * (len(columns) - 1))
        else:
            cells = _cells(entry, subset)
        models.append(Row(entry.label, entry.seeds, cells, family_of(entry.model)))
    table = Table("Training", columns, (baseline, *arrange(columns, models)), tuple(_notes(group)))
    theirs = [(), *(published.training_cells(entry.model) for entry in group.entries)]
    return published.add_columns(table, published.TRAINING_COLUMNS, theirs, published.TRAINING_NOTE)


def _cells(run: Run, subset: bool) -> tuple[Cell | None, ...]:
    trained = [evaluation.training for evaluation in run.evaluations]
    return (
        count_cell([one.parameters for one in trained]),
        *([count_cell([one.n_train_tracks for one in trained])] if subset else []),
        seconds_cell([one.seconds for one in trained]),
        count_cell([one.epochs for one in trained]),
        count_cell([one.best_epoch for one in trained]),
        *_loss_cells([evaluation.losses for evaluation in run.evaluations]),
    )


def _loss_cells(losses: Sequence[SplitLosses]) -> tuple[Cell | None, ...]:
    """Return the cells of the last four columns from the losses of each seed."""
    return (
        mse_cell([one.validation.mse for one in losses]),
        mse_cell([one.test.mse for one in losses]),
        mean_cell([one.test.r2 for one in losses], format_loss),
        mean_cell([one.test.cosine_distance for one in losses], format_loss),
    )


def _notes(group: Group) -> Iterator[str]:
    scaling = group.first.factors.scaling
    mean_mse = (
        "; its MSE is 1 on those by construction, and less on tracks whose factors vary less"
        if scaling == "standardize"
        else ""
    )
    yield f"MSE: mean squared error of the scaled factors ({scaling})."
    yield f"Mean predictor: the mean factors of the train tracks for every track{mean_mse}."
    yield (
        "R² (1 − squared error / variance, both summed over factors) and cosine distance (1 − cosine, mean over "
        "tracks) are in the original factor space."
    )
    yield (
        "Best epoch: the epoch with the lowest validation loss, whose weights are saved. Time: of training; it "
        "varies from run to run."
    )
    losses = (own.losses.test for run in group.runs for own in run.evaluations)
    if any(loss.r2 is None for loss in (group.first.mean_predictor.test, *losses)):
        unit_norm = "unit-norm scaling removes the lengths of the test tracks' factors"
        constant = "the reference factors of the test tracks do not vary"
        yield f"No R²: {unit_norm if scaling == 'unit_norm' else constant}."
    if has_several_seeds(group):
        yield f"{SEEDS}."
    if len(group.runs) > 1:
        yield f"{STRONG}."
    yield from _run_notes(group)


def _run_notes(group: Group) -> Iterator[str]:
    """Yield the notes that runs recorded, each once with the labels of its runs, and why others failed."""
    labels_by_note: dict[str, dict[str, None]] = {}
    for run in group.runs:
        for evaluation in run.evaluations:
            for note in evaluation.training.notes:
                labels_by_note.setdefault(note.rstrip("."), {})[run.label] = None
    for note, labels in labels_by_note.items():
        yield f"{', '.join(labels)}: {note}."
    n_alike = Counter(entry.label for entry in group.entries)
    for failed in group.failed:
        seed = f" (seed {failed.seeds[0]})" if failed.seeds and n_alike[failed.label] > 1 else ""
        yield f"{failed.label}{seed} {failed.failure.outcome}."
