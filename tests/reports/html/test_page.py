import re
import subprocess
import sys
from html import escape
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cs_keras.audio.excerpt import encode_excerpt
from cs_keras.data.catalogue import find_audio
from cs_keras.errors import DataError, StorageError
from cs_keras.run_files.training import read_metrics
from reports.formats.text import shorten
from reports.html.figures import label
from reports.html.page import Source, write_page
from reports.html.recordings import find_recordings
from reports.runs.collect import Collected, collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.overlap import TITLES
from tests.reports.conftest import HOSTILE, MakeRun
from tests.reports.html.runs_made import DIGEST, keep, make_space
from tests.reports.html.test_tables import Parsed


@pytest.fixture
def collected(runs: Path, make_run: MakeRun) -> Collected:
    """One run without predictions, and one with them and a hostile name."""
    make_run("2024-05-01-bot-0123456789", model="bot", noise=5.0)
    keep(make_run("2024-05-01-x-0000000001", model=HOSTILE[0], noise=0.1), make_space())
    return collect_runs(runs)


def write(collected: Collected, runs: Path, out: Path, spaces: bool = True) -> str:
    source = Source(collected, {DIGEST: make_space()} if spaces else {})
    return write_page(make_sections(collected), source, out)[0].read_text()


def test_the_same_runs_give_the_same_bytes(collected: Collected, runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(collected, runs, tmp_path / name)
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    names = ["index.html", "map-1.js", "map.js", "plotly.min.js", "report.css", "report.js"]
    assert [path.name for path in first] == names
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_page_needs_nothing_from_elsewhere(collected: Collected, runs: Path, tmp_path: Path) -> None:
    parsed = Parsed(write(collected, runs, tmp_path))
    sources = [value for _, own in parsed.tags for name, value in own.items() if name in ("src", "href")]
    outside = [value for value in sources if value and not value.startswith(("#", "data:"))]
    assert outside and all((tmp_path / value).exists() for value in outside)
    assert "url(http" not in (tmp_path / "report.css").read_text()


def test_ids_are_unique_and_those_referred_to_exist(collected: Collected, runs: Path, tmp_path: Path) -> None:
    html = write(collected, runs, tmp_path)
    ids = [own["id"] for _, own in Parsed(html).tags if own.get("id")]
    referred = re.findall(r'(?:url\(#|href="#|aria-describedby=")([^")]+)', html)
    assert len(ids) == len(set(ids)) and set(referred) <= set(ids)


def test_charts_summary_and_tables_agree(collected: Collected, runs: Path, tmp_path: Path) -> None:
    (section,), page = make_sections(collected), write(collected, runs, tmp_path)
    shown = {
        re.sub("<[^>]+>", "", caption): Parsed(body)
        for caption, body in re.findall(r"<caption>(.*?)</caption>(.*?)</table>", page, re.DOTALL)
    }
    for table in section.tables:  # those of tables.csv
        expected = [
            str(cell.value) for row in table.rows for cell in row.cells if cell and cell.value is not None
        ]
        tags = shown[escape(table.title)].tags
        assert [own["data-value"] for _, own in tags if "data-value" in own] == expected
    overlaps = next(table for table in section.tables if table.title == TITLES["filtered"])
    cells = {row.name: cell for row in overlaps.rows if (cell := row.cells[0])}
    chart = Parsed(page[page.index('id="g1-filtered-ladder"') :].partition("</figure>")[0])
    widths = [
        float(str(own["style"]).split("width: ")[1][:-1])
        for _, own in chart.tags
        if own.get("class") == "bar"
    ]
    ranked = sorted(
        (cell for name, cell in cells.items() if name != "chance"), key=lambda one: -(one.value or 0)
    )
    assert [100 * (cell.value or 0) for cell in ranked] == pytest.approx(
        widths, abs=1e-3
    )  # the axis ends at 100%
    summary = [
        row for row in shown[f"{TITLES['filtered']}, k = 5"].rows if row and row[0] in map(shorten, cells)
    ]
    assert {row[0]: row[1] for row in summary} == {
        shorten(name): cell.text + cell.marks for name, cell in cells.items()
    }


def test_the_title_has_dataset_days_and_version(runs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("2024-05-01-bot-0123456789", model="bot")
    make_run("2024-05-03-cnn-0123456789")
    collected = collect_runs(runs)
    for dataset, name in (("my <music>", "my &lt;music&gt;"), ("", "data dddddddddd")):
        source = Source(collected, {}, dataset=dataset)
        page = write_page(make_sections(collected), source, tmp_path / "page")[0].read_text()
        assert (
            f"<title>{name} – 2024-05-01 to 2024-05-03 – cs-keras {metadata.version('cs-keras')}</title>"
            in page
        )


def test_copies_are_short_and_those_of_other_tracks_are_removed(
    tmp_path: Path,
) -> None:
    ids, audio = ["long", "folder/short"], tmp_path / "recordings"
    (audio / "folder").mkdir(parents=True)
    rate, seconds = 16_000, 30
    noise = np.random.default_rng(0).standard_normal(rate * seconds) * np.linspace(0, 0.1, rate * seconds)
    for track_id, samples in zip(ids, (noise, noise[:rate]), strict=True):
        soundfile.write(audio / f"{track_id}.wav", samples, rate)
    files = {track_id: path for path, track_id in find_audio([audio])}
    for shown in (ids, ids[:1]):
        recordings = find_recordings(files, shown, tmp_path / "page", encode_excerpt)
        urls = [recordings.url((track_id, 4.0)) for track_id in shown]
        recordings.write_copies()
        assert sorted(path.name for path in (tmp_path / "page" / "audio").iterdir()) == sorted(
            Path(str(url)).name for url in urls
        )
    copy, copied_rate = soundfile.read(tmp_path / "page" / str(urls[0]))
    assert len(copy) / copied_rate == pytest.approx(20, abs=0.2)
    loudness = [np.std(copy[: copied_rate * 2]), np.std(copy[-copied_rate * 2 :])]
    assert loudness[0] / loudness[1] == pytest.approx((5 + 1) / (25 - 1), abs=0.05)  # seconds 5 to 25 of 30
    with pytest.raises(DataError, match="Expected the folder or the table that was ingested"):
        find_recordings(files, ["another"], tmp_path)


def test_hostile_names_bring_no_markup(collected: Collected, runs: Path, tmp_path: Path) -> None:
    parsed = Parsed(write(collected, runs, tmp_path))
    scripts = [own for tag, own in parsed.tags if tag == "script"]
    assert all(own.get("src") for own in scripts) and "img" not in {tag for tag, _ in parsed.tags}


def test_without_predictions_there_is_neither_map_nor_plotting_library(
    runs: Path, make_run: MakeRun, tmp_path: Path
) -> None:
    make_run()
    html = write(collect_runs(runs), runs, tmp_path / "page")
    assert 'class="map"' not in html and "Where the best model fails" not in html and "<audio" not in html
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "index.html",
        "report.css",
        "report.js",
    ]


def test_a_dataset_adds_names_failures_and_factors(collected: Collected, runs: Path, tmp_path: Path) -> None:
    with_dataset = write(collected, runs, tmp_path / "a")
    without = write(collected, runs, tmp_path / "b", spaces=False)
    for mark in ("Where the best model fails most", 'id="g1-r2"', 'id="g1-spread"'):
        assert mark in with_dataset and mark not in without
    assert 'id="g1-losses"' in without and 'id="g1-tracks"' in without


def test_a_history_that_is_no_history_is_named(runs: Path, make_run: MakeRun) -> None:
    path = make_run() / "metrics.jsonl"
    assert read_metrics(path.parent) == ()
    path.write_text("{}\n")
    with pytest.raises(DataError, match="metrics.jsonl lacks epoch"):
        read_metrics(path.parent)
    path.write_text("no json\n")
    with pytest.raises(DataError, match="metrics.jsonl is not valid JSON"):
        read_metrics(path.parent)


def test_a_file_in_the_way_is_named(collected: Collected, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="Cannot write .*out"):
        write(collected, runs, tmp_path / "out")


def test_labels_hold_what_the_font_can_draw() -> None:
    assert label("🎧 $a$ é") == "□ \\$a\\$ é"


def test_long_labels_are_wrapped_and_stay_distinct() -> None:
    long = "attributes-gcv@bands+notes+harmony+rhythm (training.epochs=10, sequence.frames=12{})"
    lines = label(long.format(0)).split("\n")
    assert len(lines) == 2 and max(map(len, lines)) <= 44
    assert label(long.format(0)) != label(long.format(8))
    assert len(label("x" * 10_000)) < 210


def test_pages_need_no_tensorflow() -> None:
    program = "import reports.html.page, sys; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
