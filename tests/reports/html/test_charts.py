"""Charts of many models, and the colours of a page."""

from dataclasses import replace

import pytest

from cs_keras.run_files.evaluation import ConfidenceRecord, ErrorGroup, MeanRecord
from cs_keras.run_files.training import EpochLosses
from reports.formats.plot_style import Drawing
from reports.html.charts import assign_styles, calibration_figure, errors_figure, losses_figure
from reports.html.figures import COLOURS, INK, draw_pictures, page_style


def record(coverage: float) -> ConfidenceRecord:
    return ConfidenceRecord((0.5,), (MeanRecord(coverage, None, None),), 0.0, 0.0, None, (), ())


def test_every_model_is_drawn_in_a_style_of_its_own_however_many_there_are() -> None:
    models = {f"model {i}": record(i / 20) for i in range(20)}
    axes = calibration_figure(models, assign_styles(models)).axes[0]
    drawn = {line.get_label(): line for line in axes.lines if line.get_label() in models}
    assert {name: line.get_ydata()[0] for name, line in drawn.items()} == {
        name: own.coverage[0].mean for name, own in models.items()
    }
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn.values()}) == len(models)


def test_errors_are_compared_with_equality_inside_the_range_of_the_data() -> None:
    groups = (ErrorGroup(9, 0.2, 0.25), ErrorGroup(9, 0.3, 0.28))
    axes = errors_figure({"a": replace(record(0.4), groups=groups)}, assign_styles("a")).axes[0]
    assert axes.get_xlim() == pytest.approx((0.195, 0.305)) and axes.get_ylim()[1] < 0.4
    assert axes.get_ylim()[0] < 0.2  # where the line of equality begins


@pytest.mark.parametrize("n_epochs", (1, 2, 40))
def test_epochs_are_whole_numbers_on_the_axis_of_losses(n_epochs: int) -> None:
    history = [EpochLosses(number, 1 / number) for number in range(1, n_epochs + 1)]
    figure = losses_figure({"a": [history]})
    assert figure
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks and all(tick == int(tick) for tick in ticks)


def test_pictures_have_the_width_and_the_colours_of_the_page() -> None:
    with page_style():
        figure = calibration_figure({"a": record(0.4)}, assign_styles("a"))
        (picture,) = draw_pictures([Drawing("name", figure, "A title", "What to see")], "g1")
    assert (
        picture.name == "g1-name" and 'aria-label="A title"' in picture.svg and 'width="324pt"' in picture.svg
    )
    assert "var(--c1)" in picture.svg and "currentColor" in picture.svg
    assert not any(colour.lower() in picture.svg.lower() for colour in (*COLOURS, INK))
