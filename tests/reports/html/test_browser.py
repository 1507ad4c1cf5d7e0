"""The page in a real browser, from disk: a probe is appended to a copy of it, and what it found is read back."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reports.html.page import TITLE, Source, write_page
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from tests.reports.conftest import HOSTILE, MakeRun
from tests.reports.html.runs_made import DIGEST, TITLES, keep, make_space

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--dump-dom"),
)
PROBE = """
const found = (() => { %s })();
const written = Object.assign(document.createElement("pre"), { id: "probe", textContent: JSON.stringify(found) });
document.body.append(written);
"""
SORTING = """
const table = document.querySelector("section.table table");
const header = table.querySelectorAll("thead th[data-sort]")[5];
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[5]?.dataset.value ?? null);
const states = [column()];
for (let i = 0; i < 3; i++) {
  header.querySelector("button").click();
  states.push([header.getAttribute("aria-sort"), column()]);
}
return states;
"""
MAP = """
const place = document.querySelector(".map"), plot = place.querySelector(".map-plot");
const lists = () => [...place.querySelectorAll(".neighbours ol")];
const names = () => lists().map((list) => [...list.children].map((item) => item.textContent));
plot.emit("plotly_click", { points: [{ customdata: 0 }] });
const clicked = names(), heading = place.querySelector(".neighbours h3").textContent;
const search = place.querySelector("input");
search.value = "HEADPHONES";
search.dispatchEvent(new Event("input"));
const hits = [...place.querySelectorAll(".map-found button")].map((button) => button.textContent);
const select = place.querySelector("select"), coloured = {};
for (const { value } of select.options) {
  select.value = value;
  select.dispatchEvent(new Event("change"));
  const drawn = plot.data.filter((trace) => trace.hoverinfo === "text");
  coloured[value] = drawn.reduce((n, trace) => n + trace.x.length, 0);
}
const hover = plot.data[0].text[0];
return { clicked, heading, hits, coloured, hover, title: document.title, images: document.images.length };
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture
def page(runs: Path, make_run: MakeRun, tmp_path: Path) -> Path:
    space = make_space()
    for number, (model, noise) in enumerate((("bot", 2.0), (HOSTILE[0], 0.1), (HOSTILE[4], 1.0))):
        keep(make_run(f"2024-05-01-x-{number:010}", model=model, noise=noise), space)
    collected = collect_runs(runs)
    source = Source(collected, {DIGEST: space})
    return write_page(make_sections(collected), source, tmp_path / "page")[0]


def browse(page: Path, probe: str) -> tuple[Any, list[str]]:
    """Return what a probe found, and the errors that the browser logged."""
    (page.parent / "probe.js").write_text(PROBE % probe, encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    copy = page.with_name("probed.html")
    copy.write_text(
        text.replace("</body>", '<script src="probe.js" defer></script></body>'), encoding="utf-8"
    )
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [str(CHROMIUM), *OPTIONS, profile, copy.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    errors = [line for line in ran.stderr.splitlines() if "CONSOLE" in line and "Canvas2D" not in line]
    written = re.search(r'<pre id="probe">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert written, errors
    return json.loads(html.unescape(written[1])), errors


def test_sorting_goes_down_up_and_back(page: Path) -> None:
    (first, down, up, last), errors = browse(page, SORTING)
    assert not errors
    numbers = sorted(float(value) for value in first if value is not None)
    n_missing = len(first) - len(numbers)
    assert down == ["descending", [*map(str, numbers[::-1]), *[None] * n_missing]]
    assert up == ["ascending", [*map(str, numbers), *[None] * n_missing]]
    assert last == [None, first] and len(set(numbers)) > 1


def test_the_map_lists_neighbours_and_names_stay_text(page: Path) -> None:
    found, errors = browse(page, MAP)
    assert not errors
    predicted, true = found["clicked"]
    assert len(predicted) == len(true) == 10
    assert found["heading"] == f"Neighbours of {TITLES[0]} – {TITLES[1]}"
    assert len(found["hits"]) == 8 and all("🎧 headphones" in name for name in found["hits"])
    assert found["coloured"] == {
        "genre": 40,
        "artist": 40,
        "fold": 40,
        "error": 39,
    }  # one has no interactions
    assert "<script" not in found["hover"] and "<img" not in found["hover"]
    assert found["title"] == TITLE and found["images"] == 0
