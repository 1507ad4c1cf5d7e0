"""Filters and units of a network on a page: tracks in order, figures for any shape of filter, names as text."""

from pathlib import Path

import numpy as np
import pytest

from cs_keras.errors import DataError, StorageError
from cs_keras.run_files.inspection import Inspection, read_inspection
from cs_keras.runs import read_npz
from reports.html.figures import page_style
from reports.html.filters import describe_inspection, kernels_figure, maps_figure
from reports.html.page import Source, write_page
from reports.html.templates import ENVIRONMENT
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from tests.reports.conftest import HOSTILE, MakeRun
from tests.reports.html.runs_made import DIGEST, N_TRACKS, TITLES, keep, keep_inspection, make_space
from tests.reports.html.test_tables import Parsed


def read(folder: Path, **changes: np.ndarray) -> Inspection:
    keep_inspection(folder, None, **changes)
    found = read_inspection(folder)
    assert found
    return found


def html_of(inspection: Inspection, with_names: bool = True) -> Parsed:
    space = make_space() if with_names else None
    with page_style():
        part = describe_inspection(HOSTILE[0], inspection, space, "g1-inside")
    macros = ENVIRONMENT.get_template("macros.html.j2").make_module({"recordings": None})
    return Parsed(macros.fold(part, "g1-inside"))  # type: ignore[attr-defined]


def test_each_unit_lists_tracks_by_decreasing_activation(tmp_path: Path) -> None:
    parsed = html_of(read(tmp_path), with_names=False)
    rows = {row[0]: row[1:] for row in parsed.rows}
    assert list(rows)[1:4] == ["filter 3", "filter 2", "filter 1"]  # in the order of the file
    assert rows["filter 2"] == ["t01, 1:00.5t02, 1:01.0", "t38t37"]
    assert rows["unit 4"] == ["t03, 1:01.5t04, 1:02.0", "t36t35"]


def test_names_stay_text(tmp_path: Path) -> None:
    parsed = html_of(read(tmp_path))
    assert not {"script", "b", "img"} & {tag for tag, _ in parsed.tags}
    (cell,) = (row[1] for row in parsed.rows if row[0] == "filter 1")
    assert cell.startswith(f"{TITLES[0]} – {TITLES[1]} ({TITLES[0]}), 1:00.0")
    named = [piece for row in parsed.rows if row[0] in ("filter 2", "filter 3", "unit 4") for piece in row]
    assert max(map(len, named)) < 2 * (3 * 60 + 20)  # two tracks of three shortened names


def test_more_units_than_a_table_holds_are_counted(tmp_path: Path) -> None:
    n = 100
    places = np.zeros((n, 2), np.int64)
    values = places.astype(np.float32)
    changes = {f"filters_{name}": values for name in ("moment_value", "moment_s", "mean_value")}
    changes |= {"filters_order": np.arange(n), "kernels": np.ones((n, 4, 128), np.float32)}
    inspection = read(tmp_path, filters_moment_track=places, filters_mean_track=places, **changes)
    parsed = html_of(inspection)
    names = [row[0] for row in parsed.rows if row[0].startswith("filter ")]
    assert names == [
        f"filter {unit + 1}" for unit in range(n)
    ]  # the first in a table, the others folded away
    assert [own.get("class") for tag, own in parsed.tags if tag == "details"].count(None) == 1
    drawn = [axes.get_title() for axes in kernels_figure(inspection).axes if axes.get_title()]
    assert drawn == [str(unit + 1) for unit in range(64)]


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 4, 128), (3, 256, 4), (3, 1, 1)])
def test_a_filter_is_drawn_with_time_to_the_right_and_frequency_upwards(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    kernels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    figure = kernels_figure(read(tmp_path, kernels=kernels))
    for kernel, axes in zip(kernels, figure.axes[:3], strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), kernel.T)
        assert image.origin == "lower" and image.get_clim() == (-np.abs(kernels).max(), np.abs(kernels).max())


def test_the_input_is_drawn_next_to_feature_maps(tmp_path: Path) -> None:
    inspection = read(tmp_path)
    panels = [axes for axes in maps_figure(inspection).axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["input (dB)", "filter 1", "filter 3"]
    expected = (inspection.example.mel, inspection.example.maps[..., 0], inspection.example.maps[..., 1])
    for axes, values in zip(panels, expected, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), values.T)
        assert axes.images[0].get_extent() == [0, 5.94, 0, 8]


def test_networks_without_filters_show_their_units_alone(tmp_path: Path) -> None:
    nothing = {
        f"filters_{name}": np.zeros((0, 2), np.float32) for name in ("moment_value", "moment_s", "mean_value")
    }
    nothing |= {f"filters_{name}": np.zeros((0, 2), np.int64) for name in ("moment_track", "mean_track")}
    nothing |= {"filters_order": np.zeros(0, np.int64), "filters_layer": np.array("")}
    nothing |= {"kernels": np.zeros((0, 0, 0), np.float32), "example_filters": np.zeros(0, np.int64)}
    parsed = html_of(read(tmp_path, **nothing, example_maps=np.zeros((0, 0, 0), np.float32)))
    assert "svg" not in {tag for tag, _ in parsed.tags}
    assert [row[0] for row in parsed.rows] == ["unit", "unit 4", "unit 3", "unit 2", "unit 1"]


def test_files_of_other_releases_are_skipped_and_damaged_ones_named(tmp_path: Path) -> None:
    assert read_inspection(tmp_path) is None
    keep_inspection(tmp_path, None, version=np.array(3))
    assert read_inspection(tmp_path) is None
    for changes in (
        {"filters_mean_track": np.full((3, 2), N_TRACKS)},
        {"units_order": np.zeros(4, np.int64)},
        {"example_filters": np.array([0, 3])},
        {"kernels": np.zeros((2, 3, 3), np.float32)},
        {"units_moment_s": np.zeros((4, 3), np.float32)},
    ):
        keep_inspection(tmp_path, None, **changes)
        with pytest.raises(DataError, match="inspection.npz has arrays whose shapes do not match"):
            read_inspection(tmp_path)
    (tmp_path / "inspection.npz").write_bytes(b"PK")
    with pytest.raises(StorageError, match="inspection.npz is not an npz file, or damaged"):
        read_inspection(tmp_path)


def test_the_best_inspected_network_is_shown_and_why_better_ones_are_not(
    runs: Path, make_run: MakeRun, tmp_path: Path
) -> None:
    space = make_space()
    best, second, third = (
        make_run(f"2024-05-01-{model}-0000000001", model=model, noise=noise)
        for model, noise in (("bot", 0.1), ("cnn", 1.0), ("lstm", 5.0))
    )
    for folder in (best, second, third):
        keep(folder, space)
    keep_inspection(second, space)
    keep_inspection(third, space, filters_layer=np.array("other_layer"))
    collected = collect_runs(runs)
    source = Source(collected, {DIGEST: space}, {best: "it has <no> filters"})
    text = write_page(make_sections(collected), source, tmp_path / "page")[0].read_text()
    assert "What activates cnn" in text and "other_layer" not in text
    assert "bot: it has &lt;no&gt; filters" in text
    assert str(read_npz(second / "inspection.npz", "filters_layer")["filters_layer"]) in text
