import pytest

from reports.html.bars import Bars
from reports.tables.cells.table import Cell, Row


def chart(*cells: Cell) -> Bars:
    return Bars("g1", "A title", "overlap", "", tuple((Row("cnn", (), ()), cell) for cell in cells))


@pytest.mark.parametrize(
    ("cells", "ticks"),
    [
        ([Cell("92", 0.92, low=0.91, high=0.934), Cell("4", 0.04)], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([Cell("4", 0.04, sd=0.02)], [0, 0.02, 0.04, 0.06]),  # the deviation reaches 6%
        ([Cell("-4", -0.041, low=-0.068, high=-0.014)], [-0.08, -0.06, -0.04, -0.02, 0]),
        ([Cell("0", 0.0)], [0, 0.01]),
    ],
)
def test_an_axis_has_zero_and_encloses_values_and_intervals(cells: list[Cell], ticks: list[float]) -> None:
    made = chart(*cells)
    assert made.ticks == pytest.approx(ticks)
    assert (made.position(ticks[0]), made.position(ticks[-1])) == (0, 100)
    assert made.position((ticks[0] + ticks[-1]) / 2) == pytest.approx(50)
