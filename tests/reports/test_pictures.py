"""Pictures that a reader can read: titles, captions and labels neither overlap nor stick out."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from cs_keras.evaluation.labels.genre_accuracy import GenreAccuracy
from reports.formats.genre_figures import confusion_figure
from reports.formats.network_figures import activations_figure
from reports.formats.plot_style import Drawing, save_drawings
from reports.study.plots import history_figure, time_figure
from reports.study.reading import read_study
from reports.study.records import Parameter
from reports.study.scales import parameter_scale
from tests.reports.study.study_folders import write_settings, write_study, write_trial


@pytest.mark.parametrize("highest", (0.5, 1.6), ids=("inside", "far above the axes"))
def test_title_and_caption_are_next_to_the_plot_and_not_on_it(tmp_path: Path, highest: float) -> None:
    figure = Figure(figsize=(4, 2))
    axes = figure.add_axes((0.2, 0.2, 0.6, 0.5))
    axes.text(0.5, highest, "a label")
    low, high = figure.get_tightbbox().intervaly
    save_drawings([Drawing("name", figure, "A title " * 12, "What to see. " * 12)], tmp_path)
    title, caption = (text.get_window_extent() for text in figure.texts)
    assert 0 < title.y0 / figure.dpi - high < 0.2 and 0 < low - caption.y1 / figure.dpi < 0.2
    assert title.width < figure.bbox.width and caption.width < figure.bbox.width


def test_names_of_trials_are_inside_the_axes_and_every_tick_has_one(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, 12))
    by_time, by_trial = time_figure(study), history_figure(study)
    for figure in (by_time, by_trial):
        figure.draw_without_rendering()
    area = by_time.axes[0].get_window_extent()
    names = [text.get_window_extent() for text in by_time.axes[0].texts]
    assert names and all(area.x0 < name.x0 and name.x1 < area.x1 for name in names)
    assert all(label.get_text() for label in by_trial.axes[0].get_xticklabels())


def test_ticks_of_a_parameter_keep_a_distance(tmp_path: Path) -> None:
    write_settings(tmp_path)
    for number, dropout in enumerate((0.0, 0.3, 0.31, 0.5)):
        write_trial(tmp_path, number, [[0.5, 0.6]], parameters={"model.dropout": dropout})
    study = read_study(tmp_path)
    (parameter,) = (one for one in study.varied if one.name == "model.dropout")
    assert isinstance(parameter, Parameter)
    ticks = parameter_scale(parameter, study).ticks
    assert [label for _, label in ticks] == ["0", "0.3", "0.5"]
    assert all(b - a > 0.1 for (a, _), (b, _) in pairwise(ticks))


def test_genres_without_tracks_have_no_colour() -> None:
    confusion = np.array([[3, 1], [0, 0]])
    accuracy = GenreAccuracy(("a", "b"), confusion, 0.75, 0.5, 1.0, "a", 1.0, "a", 1.0, 0, {}, 0)
    shares = confusion_figure(accuracy).axes[0].images[0].get_array()
    assert np.ma.filled(shares, -1).tolist() == [[0.75, 0.25], [-1, -1]]


def test_every_unit_of_a_dense_layer_has_a_bar_of_one_width() -> None:
    values = np.array([0.2, -0.1, 0.7], np.float32)
    (axes,) = activations_figure({"dense": values}).axes
    (bars,) = axes.patches
    heights, edges, baseline = bars.get_data()
    assert heights.tolist() == values.tolist() and baseline == 0
    assert edges.tolist() == [0.5, 1.5, 2.5, 3.5]  # units 1 to 3
