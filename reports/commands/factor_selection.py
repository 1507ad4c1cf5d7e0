"""The table of a search for factor settings, the recommended one first."""

from collections.abc import Iterator

from cs_keras.factors.selection import K, Mean, Result, Selection, describe_setting
from cs_keras.messages import count
from reports.tables.cells.numbers import seconds_cell
from reports.tables.cells.table import Cell, Column, Row, Section, Table

N_SHOWN = 20  # settings on a terminal; files have all
COLUMNS = (
    Column("factors", "factors"),
    Column("alpha", "alpha"),
    Column("regulari-\nzation", "regularization"),
    Column("itera-\ntions", "iterations"),
    Column(f"nDCG@{K}", f"ndcg@{K}"),
    Column(f"recall@{K}", f"recall@{K}"),
    Column("seeds\ntrain", "seeds_train"),
    Column("seeds\nvalidation", "seeds_validation"),
    Column("halves\ntrain", "halves_train"),
    Column("halves\nvalidation", "halves_validation"),
    Column("time\n(min:s)", "seconds"),
)


def make_selection_section(selection: Selection, n_shown: int | None = N_SHOWN) -> Section:
    """Return the table of a search with the first `n_shown` settings; None: with all of them."""
    table = Table(
        "Settings",
        COLUMNS,
        tuple(_row(selection, i) for i in range(len(selection.results[:n_shown]))),
        tuple(_table_notes(selection, n_shown)),
        stub="rank",
    )
    return Section("Selection of factor settings", tuple(_conclusions(selection)), (table,))


def _row(selection: Selection, i: int) -> Row:
    heading = {0: "eligible", selection.n_eligible: "others"}.get(i, "")
    return Row(str(i + 1), (), _cells(selection.results[i]), heading=heading, rule_above=bool(heading))


def _cells(result: Result) -> tuple[Cell | None, ...]:
    setting = result.setting
    numbers = (setting.factors, setting.alpha, setting.regularization, setting.iterations)
    means = (
        *(result.ndcg, result.recall),
        *(result.seeds_train, result.seeds_validation, result.halves_train, result.halves_validation),
    )
    return (
        *(Cell(f"{number:g}", number) for number in numbers),
        *map(_mean_cell, means),
        seconds_cell([result.seconds]),
    )


def _mean_cell(mean: Mean | None) -> Cell | None:
    if mean is None:
        return None
    return Cell(f"{100 * mean.value:.1f}", mean.value, detail=f"± {100 * mean.error:.1f}", sd=mean.error)


def _conclusions(selection: Selection) -> Iterator[str]:
    yield selection.describe()
    if selection.at_edge:
        names = ", ".join(selection.at_edge)
        yield f"At the edge of the search space: {names}. Values beyond it may be better."
    if selection.averaging:
        yield selection.averaging.describe()


def _table_notes(selection: Selection, n_shown: int | None) -> Iterator[str]:
    yield "Metrics in percent, ± one standard error over playlists or tracks."
    yield (
        f"nDCG and recall: on a random fifth of each playlist's train tracks, held out from the fit; mean of "
        f"{count(selection.n_seeds, 'seed')}."
    )
    yield (
        f"Seeds, halves: overlap of the {K} most similar tracks between fits "
        f"with {count(selection.n_seeds, 'seed')}, and between fits on the two halves of the playlists; "
        f"{_chance(selection)}."
    )
    yield (
        "Eligible: nDCG within one standard error of the best, ordered by agreement of seeds on train tracks, "
        "then by number of factors. Others are ordered by nDCG."
    )
    if n_shown is not None and len(selection.results) > n_shown:
        yield f"Not shown: {len(selection.results) - n_shown} settings of lower rank."
    for failure in selection.failures:
        yield f"Not fitted: {describe_setting(failure.setting)}: {failure.reason}"


def _chance(selection: Selection) -> str:
    splits = {"train": selection.n_train, "validation": selection.n_validation}
    shares = [f"{100 * K / (n - 1):.1f} of {n:,} {split} tracks" for split, n in splits.items() if n > K]
    return f"by chance {' and '.join(shares)}"
