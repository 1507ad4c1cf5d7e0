"""Columns of published results on other data: Pohl (2019), the thesis, and van den Oord et al. (2013)."""

from collections.abc import Sequence
from dataclasses import replace

from cs_keras.models.thesis import EMBEDDING_LOSSES, KS, MARGIN, N_TEST_TRACKS, N_TRACKS, THESIS
from cs_keras.run_files.evaluation import RANDOM, REFERENCE, Kind
from reports.runs.collect import Run
from reports.runs.labels import family_of, name_predictor
from reports.tables.cells.numbers import count_cell, format_loss, mean_cell
from reports.tables.cells.table import BELOW_CHANCE, Cell, Column, Table

Cells = tuple[Cell | None, ...]

GROUP = "thesis (other data)"
OVERLAP_TABLES: dict[Kind, str] = {"similarity": "6.6", "dot": "6.7"}
N_CANDIDATES: dict[Kind, int] = {"similarity": N_TEST_TRACKS - 1, "dot": N_TEST_TRACKS}
TRAINING_COLUMNS = (
    Column("trainable\nparameters", "thesis_parameters", group=GROUP),
    Column("MSE\nval", "thesis_mse_validation", group=GROUP),
    Column("MSE\ntest", "thesis_mse_test", group=GROUP),
)
EMBEDDING_COLUMNS = (
    Column("loss\nval", "thesis_loss_validation", group=GROUP),
    Column("loss\ntest", "thesis_loss_test", group=GROUP),
)
TRAINING_NOTE = (
    f"Thesis: Pohl (2019), tables 6.1 to 6.5, on {N_TRACKS:,} other tracks; losses are not comparable. Its targets "
    "have variance 1, so its mean predictor scores about 1."
)
EMBEDDING_NOTE = (
    f"Thesis: Pohl (2019), table 6.5, on other data. Both losses are above the margin of {MARGIN}, the loss of a "
    "collapsed embedding."
)

NETWORK_2013 = "dieleman-3s"
SYSTEMS_2013: dict[str, tuple[float | None, ...]] = {  # mAP@500 and AUC of the subset, then of all songs
    name_predictor(RANDOM): (None, None, 0.00015, 0.49935),
    "mlr": (0.01801, 0.60608, None, None),
    "bot-linear": (0.02389, 0.63518, 0.00101, 0.64522),
    "bot": (0.02536, 0.64611, None, None),
    NETWORK_2013: (0.05016, 0.70987, 0.00672, 0.77192),
    name_predictor(REFERENCE): (None, None, 0.23278, 0.96070),
}
NETWORK_WPE_2013 = (0.04323, 0.70101, None, None)  # trained on the weighted prediction error
RANKING_COLUMNS = tuple(
    Column(f"{header}\n{songs}", f"reported_{metric}_{songs.replace(' ', '_')}", group="2013 (other data)")
    for songs in ("subset", "all songs")
    for metric, header in (("map@500", "mAP@500"), ("auc", "AUC"))
)
RANKING_NOTE = (
    "2013: van den Oord et al., in %: metric learning to rank, linear regression and a perceptron on bags of "
    "words, a network on windows of 3 s with the same loss, random lists and true factors; on a subset (9,330 "
    "songs, 20,000 users) and all songs (382,410, 1 M users) of the Million Song Dataset. mAP decreases with "
    "the number of candidates: not comparable."
)


def add_columns(
    table: Table, columns: Sequence[Column], cells: Sequence[Sequence[Cell | None]], note: str
) -> Table:
    """Append published columns and their note, unless nothing was published for any model of the table.

    `cells` has a sequence for each row of the table, empty where nothing was published.
    """
    if not any(any(own) for row, own in zip(table.rows, cells, strict=True) if row.family):
        return table
    nothing = (None,) * len(columns)
    rows = tuple(
        replace(row, cells=(*row.cells, *(own or nothing)))
        for row, own in zip(table.rows, cells, strict=True)
    )
    return replace(table, columns=(*table.columns, *columns), rows=rows, notes=(*table.notes, note))


def training_cells(model: str) -> Cells:
    """Return a model's published size and losses, under `TRAINING_COLUMNS`; empty if there are none."""
    reported = THESIS.get(model)
    if reported is None:
        return ()
    return (
        count_cell([reported.parameters]),
        mean_cell([reported.validation_loss], format_loss),
        mean_cell([reported.test_loss], format_loss),
    )


def embedding_cells(model: str) -> Cells:
    """Return the published triplet losses, under `EMBEDDING_COLUMNS`; empty for other models."""
    if family_of(model) != family_of("triplet"):
        return ()
    return tuple(mean_cell([loss], format_loss) for loss in EMBEDDING_LOSSES)


def overlap_columns(ks: Sequence[int]) -> tuple[Column, ...]:
    """Return a column for each published list length that is one of `ks`."""
    return tuple(Column(f"k = {k}", f"thesis_overlap@{k}", group=GROUP) for k in KS if k in ks)


def overlap_cells(model: str, kind: Kind, ks: Sequence[int]) -> Cells:
    """Return a model's published overlaps, under `overlap_columns`; empty if there are none."""
    reported = THESIS.get(model) if kind in OVERLAP_TABLES else None
    percentages = reported and (reported.similarity if kind == "similarity" else reported.dot_product)
    if not percentages:
        return ()
    shown = zip(KS, percentages, strict=True)
    return tuple(_percentage_cell(percentage, _chance(kind, k)) for k, percentage in shown if k in ks)


def chance_cells(kind: Kind, ks: Sequence[int]) -> Cells:
    """Return the overlap of random lists on the thesis's test set, which was not published."""
    if kind not in OVERLAP_TABLES:
        return ()
    return tuple(_percentage_cell(_chance(kind, k), _chance(kind, k)) for k in KS if k in ks)


def overlap_note(kind: Kind) -> str:
    """Return the note of the published overlaps; empty if there are none of this kind."""
    if kind not in OVERLAP_TABLES:
        return ""
    shown = (f"{_chance(kind, k):.2g}" if _chance(kind, k) < 1 else f"{_chance(kind, k):.2f}" for k in KS)
    return (
        f"Thesis: Pohl (2019), table {OVERLAP_TABLES[kind]}, on other data, in %: not comparable. Chance was "
        f"{'/'.join(shown)} % at n = {N_TEST_TRACKS:,} (computed here; the thesis states less than 0.01 %), and "
        f"several of its rows are below it ({BELOW_CHANCE})."
    )


def ranking_cells(name: str, run: Run | None) -> Cells:
    """Return what was published in 2013 for a run's or a predictor's kind of system, under `RANKING_COLUMNS`."""
    reported = SYSTEMS_2013.get(run.model if run else name, ())
    loss = run.settings.get("training.loss", "mse") if run else "mse"
    if run and run.model == NETWORK_2013 and loss != "mse":
        reported = NETWORK_WPE_2013 if loss == "wpe" else ()
    return tuple(None if value is None else Cell(f"{100 * value:#.3g}", value) for value in reported)


def _chance(kind: Kind, k: int) -> float:
    return 100 * k / N_CANDIDATES[kind]


def _percentage_cell(percentage: float, chance: float) -> Cell:
    marks = BELOW_CHANCE if percentage < chance else ""
    return Cell(f"{percentage:.4f}", percentage / 100, marks=marks)
