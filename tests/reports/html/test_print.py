"""The page on paper, on screens of three widths and without scripts, in a real browser."""

import base64
import re
from pathlib import Path

from tests.reports.html.browser import browser, marks

SCREEN = {"height": 1047, "deviceScaleFactor": 1, "mobile": False}
WIDTHS = (390, 800, 1400)
PAPER_WIDTH = 718  # CSS pixels of A4 less margins of 1 cm
WIDE = """
[...document.querySelectorAll("section.table, figure, .card, h1, h2, h3, p, ul")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.scrollWidth > one.clientWidth + 1)
  .map((one) => `${one.tagName} ${one.id} ${one.scrollWidth}`)
"""
UNFOLD = "document.querySelectorAll('details').forEach((one) => (one.open = true))"
ACROSS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, innerWidth]"
CUT = """
[...document.querySelectorAll("table caption")]
  .filter((one) => one.getBoundingClientRect().right > one.closest(".scroll").getBoundingClientRect().right + 1)
  .map((one) => one.textContent)
"""
SHOWN = """
(() => {
  const area = (one) => { const { width, height } = one.getBoundingClientRect(); return width * height; };
  const all = (selector) => [...document.querySelectorAll(selector)].map(area);
  return {
    tables: all("section.table table"), pictures: all("figure svg"), notes: all("ul.notes"),
    map: all("figure[id$='-tracks'] svg"),
    interactive: all(".map"), buttons: document.querySelectorAll("button").length,
  };
})()
"""

pytestmark = marks


def test_on_paper_nothing_is_cut_off_and_no_screen_is_too_narrow(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        across, cut = [], []
        for width in WIDTHS:
            tab.send("Emulation.setDeviceMetricsOverride", width=width, **SCREEN)
            tab.open(page)
            tab.evaluate(UNFOLD)
            across.append(tab.evaluate(ACROSS))
            cut += tab.evaluate(CUT)
        printed = tab.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        tab.open(page)
        tab.send("Emulation.setEmulatedMedia", media="print")
        tab.send("Emulation.setDeviceMetricsOverride", width=PAPER_WIDTH, **SCREEN)
        wide, shown = tab.evaluate(WIDE), tab.evaluate(SHOWN)
        tab.evaluate('document.querySelector("section.table").style.width = "900px"')
        widened = tab.evaluate(WIDE)
    assert [inner for *_, inner in across] == [*WIDTHS]
    assert all(needed <= there for needed, there, _ in across)
    assert cut == []  # titles of tables wrap
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1
    assert wide == [] and widened  # the second by our own hand
    assert all(shown["map"]) and not any(shown["interactive"])  # on paper the map is its picture
    assert all(all(shown[name]) for name in ("tables", "pictures", "notes"))  # and nothing is folded


def test_without_scripts_tables_and_pictures_are_there(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        tab.open(page)
        tab.evaluate(UNFOLD)
        tab.wait("document.querySelector('.map').dataset.shown === 'yes'")
        scripted = tab.evaluate(SHOWN)
        tab.send("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(page)
        tab.evaluate(UNFOLD)
        bare = tab.evaluate(SHOWN)
    assert scripted["buttons"] and all(scripted["interactive"]) and not any(scripted["map"])
    assert not bare["buttons"] and not any(bare["interactive"])
    assert len(bare["map"]) == 1 and all(bare["map"])
    assert len(bare["tables"]) > 5 and all(area > 1000 for area in bare["tables"])
    assert len(bare["pictures"]) > 5 and all(area > 1000 for area in bare["pictures"])
