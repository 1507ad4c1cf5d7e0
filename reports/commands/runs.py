"""What was trained, on what and how well: tables of run folders, and of the settings in which runs differ."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cs_keras.errors import CsKerasError, StorageError
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.labels import LabelEvaluation
from cs_keras.run_files.names import CONFIG_FILE, FAILURE_FILE, LABEL_EVALUATION_FILE
from cs_keras.run_files.settings import Failure, flatten_settings, read_settings
from cs_keras.runs import is_done, read_json
from reports.commands.conclusion import conclude
from reports.runs.collect import Collected, collect_folders, find_runs, is_run
from reports.tables.all_tables import make_sections
from reports.tables.cells.numbers import count_cell, format_loss, format_share, seconds_cell
from reports.tables.cells.table import Cell, Column, Row, Section, Table
from reports.tables.labels import conclude_labels, make_label_sections
from reports.tables.leading import HEADERS

LIST_COLUMNS = (
    Column("data", "data", align="left"),
    Column("seed", "seed"),
    Column("epochs", "epochs"),
    Column("time\n(min:s)", "seconds"),
    Column("MSE\ntest", "mse_test"),
    Column("overlap", "overlap"),
)
VALUE_COLUMN = Column("value", "value", align="left")
DIGEST_LENGTH = 8


def list_runs(folder: Path) -> tuple[Section, list[str]]:
    """Return a table of the runs in a folder, unfinished ones last, and why others cannot be read.

    Raises
    ------
    StorageError
        When `folder` cannot be listed.
    """
    rows, errors = [], []
    done, unfinished = find_runs(folder)
    for run in (*done, *unfinished):
        try:
            rows.append(Row(run.name, (), _list_cells(run)))
        except CsKerasError as error:
            errors.append(str(error))
    note = (
        "Data: digest of tracks and factors. Overlap in % at the first list length, artist-filtered where artists "
        "are known: comparable where data are equal."
    )
    conclusion = (f"{len(done):,} finished and {len(unfinished):,} unfinished runs.",)
    return Section(
        f"Runs in {folder}",
        (),
        (Table("Training and test", LIST_COLUMNS, tuple(rows), (note,), "run"),),
        conclusion,
    ), errors


def show_run(folder: Path) -> tuple[Section, ...]:
    """Return the settings of a run, and what came out of it.

    Raises
    ------
    StorageError
        When `folder` is no run, or cannot be read.
    """
    _require_run(folder)
    rows = tuple(Row(name, (), (_text_cell(value),)) for name, value in _settings(folder).items())
    table = Table(f"Settings of {folder.name}", (VALUE_COLUMN,), rows, (), "setting")
    section = Section(folder.name, (), (table,))
    if is_done(folder):
        collected = collect_folders([folder])
        return (section, *_conclusions(collected))
    return (replace(section, conclusion=(_describe_unfinished(folder),)),)


def compare_runs(folders: Sequence[Path]) -> tuple[Section, ...]:
    """Return the settings in which finished runs differ, and what a comparison shows.

    Runs on other data, or with other settings of the evaluation, are in a section of their own.

    Raises
    ------
    StorageError, DataError
        When one of `folders` is no finished run, or none can be read.
    """
    for folder in folders:
        _require_run(folder)
        if not is_done(folder):
            raise StorageError(f"{folder} is not finished: {_describe_unfinished(folder)}")
    differing, _ = settings_tables({folder.name: _settings(folder) for folder in folders})
    tables, equal = ((differing,), ()) if differing.rows else ((), ("All settings are equal.",))
    collected = collect_folders(folders)
    return (Section("Comparison", (), tables, equal), *_conclusions(collected))


def settings_tables(settings: Mapping[str, Mapping[str, str]]) -> tuple[Table, Table]:
    """Return the settings in which runs, by name, differ, a column a run, and the settings that all share."""
    names = dict.fromkeys(name for own in settings.values() for name in own)
    values = {name: [own.get(name) for own in settings.values()] for name in names}
    columns = tuple(Column(name, name, align="left") for name in settings)
    differing = tuple(
        Row(name, (), tuple(map(_text_cell, own))) for name, own in values.items() if len(set(own)) > 1
    )
    shared = tuple(Row(name, (), (_text_cell(own[0]),)) for name, own in values.items() if len(set(own)) == 1)
    return (
        Table("Settings that differ", columns, differing, (), "setting"),
        Table("Settings that all share", (VALUE_COLUMN,), shared, (), "setting"),
    )


def _conclusions(collected: Collected) -> tuple[Section, ...]:
    of_labels = map(conclude_labels, make_label_sections(collected))
    return (*conclude(collected, make_sections(collected)), *of_labels)


def _list_cells(run: Path) -> tuple[Cell | None, ...]:
    data = _text_cell(read_settings(run).data_digest[:DIGEST_LENGTH])
    if not is_done(run):
        state = Failure.read(run).state if (run / FAILURE_FILE).exists() else "unfinished"
        return (data, _text_cell(state), None, None, None, None)
    if (run / LABEL_EVALUATION_FILE).exists():
        of_labels = LabelEvaluation.read(run)
        seed, trained = of_labels.seed, of_labels.training
        return (
            data,
            Cell(str(seed), seed),
            count_cell([trained.epochs]),
            seconds_cell([trained.seconds]),
            None,
            None,
        )
    evaluation = Evaluation.read(run)
    kind = next((kind for kind in HEADERS if evaluation.overlap.get(kind)), None)
    overlap = evaluation.overlap[kind][0].overlap if kind else None
    training, mse = evaluation.training, evaluation.losses.test.mse
    return (
        data,
        Cell(str(evaluation.seed), evaluation.seed),
        count_cell([training.epochs]),
        seconds_cell([training.seconds]),
        Cell(format_loss(mse), mse),
        None if overlap is None else Cell(format_share(overlap), overlap),
    )


def _settings(folder: Path) -> dict[str, str]:
    return dict(flatten_settings(read_json(folder / CONFIG_FILE)))


def _text_cell(text: str | None) -> Cell | None:
    return None if text is None else Cell(text, None, remark=text)


def _describe_unfinished(folder: Path) -> str:
    """Return why a run is not finished."""
    if (folder / FAILURE_FILE).exists():
        return f"training {Failure.read(folder).outcome}."
    return "the command that began the training resumes it."


def _require_run(folder: Path) -> None:
    if not is_run(folder):
        raise StorageError(f"{folder} is not the folder of a run.")
