"""The page in a real browser, from disk: navigation, folding, sorting, playing, map and keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports.html.browser import Browser, browser, marks
from tests.reports.html.runs_made import TITLES

SORTING = """
(() => {
  const table = document.querySelector("#g1-overlap section.table table");
  const header = table.querySelectorAll("thead th[data-sort]")[5];
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[5]?.dataset.value ?? null);
  const states = [column()];
  for (let i = 0; i < 3; i++) {
    header.querySelector("button").click();
    states.push([header.getAttribute("aria-sort"), column()]);
  }
  return states;
})()
"""
MAP = """
(() => {
  const place = document.querySelector(".map"), plot = place.querySelector(".map-plot");
  const lists = () => [...place.querySelectorAll(".neighbours ol")];
  const names = () => lists().map((list) => [...list.querySelectorAll("button")].map((item) => item.textContent));
  plot.emit("plotly_click", { points: [{ customdata: 0 }] });
  const clicked = names(), heading = place.querySelector(".neighbours h4").textContent;
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
})()
"""
PLAYING = "!document.querySelector('audio').paused && document.querySelector('audio').duration > 1.9"
PLAYER = """
[
  document.querySelector(".playing").textContent, document.querySelectorAll(".play[aria-current]").length,
  document.querySelector("audio").src.split("/").at(-1), document.querySelectorAll("audio").length,
]
"""
OPEN = "[...document.querySelectorAll('details.part')].filter((one) => one.open).map((one) => one.id)"
FOCUSED = "document.activeElement.closest('th, summary, .play')?.outerHTML ?? ''"

pytestmark = marks


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.fixture
def tab(started: Browser, page: Path) -> Iterator[Browser]:
    """The page, just opened; errors that the browser logs fail the test."""
    started.open(page)
    yield started
    assert not started.errors


def test_navigation_unfolds_and_marks_the_part_that_is_shown(tab: Browser, page: Path) -> None:
    first, map_loaded = tab.evaluate(OPEN), tab.evaluate("typeof Plotly !== 'undefined'")
    links = tab.evaluate("[...document.querySelectorAll('nav a')].map((a) => [a.textContent, a.hash])")
    tab.evaluate("document.querySelector('nav a[href$=failures]').click()")
    tab.wait("document.querySelector('nav a[aria-current]').hash === '#g1-failures'")
    after = tab.evaluate(OPEN)
    top = tab.evaluate("document.querySelector('#g1-failures').getBoundingClientRect().top")
    stuck = tab.evaluate("document.querySelector('nav').getBoundingClientRect().top")
    tab.evaluate("document.querySelector('#g1-failures > summary').click()")
    folded = tab.evaluate(OPEN)
    tab.open(page, "#g1-settings")
    linked = tab.evaluate(OPEN)
    assert (
        first == ["g1-overlap", "g1-ranking"] and not map_loaded
    )  # the map waits until its part is unfolded
    assert [name for name, _ in links] == [
        "Summary",
        *("Overlap", "Ranking", "Training", "Models compared", "Failures"),
        *("What factors mean", "What the network responds to", "Map", "Settings"),
    ]
    assert after == [*first, "g1-failures"] and folded == first and linked == [*first, "g1-settings"]
    assert stuck == 0 and 0 < top < 100  # below the navigation, which sticks to the top


def test_sorting_goes_down_up_and_back(tab: Browser) -> None:
    first, down, up, last = tab.evaluate(SORTING)
    numbers = sorted(float(value) for value in first if value is not None)
    n_missing = len(first) - len(numbers)
    assert down == ["descending", [*map(str, numbers[::-1]), *[None] * n_missing]]
    assert up == ["ascending", [*map(str, numbers), *[None] * n_missing]]
    assert last == [None, first] and len(set(numbers)) > 1


def test_the_map_lists_and_plays_tracks_and_names_stay_text(tab: Browser) -> None:
    title = tab.evaluate("document.title")
    tab.evaluate("document.querySelector('#g1-map > summary').click()")
    tab.wait("document.querySelector('.map').dataset.shown === 'yes'")
    found = tab.evaluate(MAP)
    tab.wait(PLAYING)
    playing = tab.evaluate(PLAYER)
    tab.evaluate("document.querySelector('.map .neighbours li .play').click()")
    tab.wait(PLAYING)
    neighbour = tab.evaluate(PLAYER)
    tab.evaluate("document.querySelector('.map-plot').scrollIntoView({ block: 'center' })")
    before = tab.evaluate("scrollY")
    tab.send("Input.dispatchMouseEvent", type="mouseWheel", x=300, y=300, deltaX=0, deltaY=-200)
    tab.wait(f"scrollY < {before}")  # the page scrolls, where the map does not take the wheel
    predicted, true = found["clicked"]
    assert len(predicted) == len(true) == 10
    assert found["heading"] == f"▶ Neighbours of {TITLES[0]} – {TITLES[1]}"
    assert len(found["hits"]) == 8 and all("🎧 headphones" in name for name in found["hits"])
    assert found["coloured"] == {
        "genre": 40,
        "artist": 40,
        "fold": 40,
        "error": 39,
    }  # one has no interactions
    assert "<script" not in found["hover"] and "<img" not in found["hover"]
    assert (
        found["title"] == title
        and found["images"] == 0
        and title.startswith("music – 2024-05-01 – cs-keras ")
    )
    assert playing == [f"{TITLES[0]} – {TITLES[1]}", 1, "t00.wav", 1]
    assert neighbour[0] == predicted[0] and neighbour[1:] == [1, neighbour[2], 1]


def test_tables_play_from_the_moment_they_name(tab: Browser) -> None:
    tab.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    links = "[...document.querySelectorAll('#{} .play')].map((one) => one.hash)"
    failures, meanings, responses = (
        tab.evaluate(links.format(part))
        for part in ("g1-failures", "g1-what-factors-mean", "g1-what-the-network-responds-to")
    )
    tab.evaluate("document.querySelector('#g1-failures .play').click()")
    tab.wait(PLAYING)
    tab.evaluate("document.querySelector('#g1-failures .play').click()")
    tab.wait("document.querySelector('audio').paused")
    assert len(failures) == 19 and not any(failures)
    assert len(meanings) == 4 * 2 * 3 and not any(meanings)
    assert responses[:4] == ["#t=61.0", "#t=61.5", "", ""]  # filter 3: tracks 2 and 3, and two on average


def test_the_keyboard_sorts_folds_and_plays(tab: Browser) -> None:
    tab.evaluate("document.querySelector('#g1-overlap th button').focus()")
    tab.press("Enter", 13, "\r")
    sort = tab.evaluate("document.querySelector('#g1-overlap th[data-sort]').getAttribute('aria-sort')")
    tab.evaluate("document.querySelector('#g1-overlap > summary').focus()")
    tab.press("Enter", 13, "\r")
    folded = tab.evaluate(OPEN)
    tab.press("Tab", 9)
    following = tab.evaluate(FOCUSED)
    tab.evaluate("document.querySelector('#g1-failures > summary').focus()")
    tab.press("Enter", 13, "\r")
    for _ in range(12):  # the region that scrolls, the headers, and the first track
        tab.press("Tab", 9)
        if 'class="play"' in tab.evaluate(FOCUSED):
            break
    tab.press("Enter", 13, "\r")
    tab.wait(PLAYING)
    assert sort == "ascending" and folded == ["g1-ranking"] and "Ranking" in following


def test_pictures_fit_a_telephone(tab: Browser) -> None:
    tab.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    widths = tab.evaluate(
        "[...document.querySelectorAll('figure')].map((one) => Math.max(one.scrollWidth, one.offsetWidth))"
    )
    page = tab.evaluate("document.documentElement.scrollWidth")
    tab.send("Emulation.clearDeviceMetricsOverride")
    assert page <= 390 and len(widths) > 5 and max(widths) < 390
