"""Charts of many models, and the colours of a page."""

from dataclasses import replace

import pytest

from cs_keras.run_files.evaluation import ConfidenceRecord, ErrorGroup, MeanRecord
from reports.formats.plot_style import Drawing
from reports.html.charts import assign_styles, calibration_figure, errors_figure
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


def test_pictures_have_the_width_and_the_colours_of_the_page() -> None:
    with page_style():
        figure = calibration_figure({"a": record(0.4)}, assign_styles("a"))
        (picture,) = draw_pictures([Drawing("name", figure, "A title", "What to see")], "g1")
    assert (
        picture.name == "g1-name" and 'aria-label="A title"' in picture.svg and 'width="324pt"' in picture.svg
    )
    assert "var(--c1)" in picture.svg and "currentColor" in picture.svg
    assert not any(colour.lower() in picture.svg.lower() for colour in (*COLOURS, INK))
