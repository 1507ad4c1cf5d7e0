"""The page on paper and without scripts, in a real browser driven by Chrome's DevTools protocol over a pipe."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reports.html.page import Source, write_page
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from tests.reports.conftest import HOSTILE, MakeRun
from tests.reports.html.runs_made import DIGEST, keep, keep_inspection, make_space

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SCREEN = {"height": 1047, "deviceScaleFactor": 1, "mobile": False}
WIDTHS = (375, 900, 1600)
PAPER_WIDTH = 718  # CSS pixels of A4 less margins of 1 cm
WIDE = """
[...document.querySelectorAll("section.table, figure, .card, h1, h2, h3, p, ul")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.scrollWidth > one.clientWidth + 1)
  .map((one) => `${one.tagName} ${one.id} ${one.scrollWidth}`)
"""
ACROSS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, innerWidth]"
SHOWN = """
(() => {
  const area = (one) => { const { width, height } = one.getBoundingClientRect(); return width * height; };
  const all = (selector) => [...document.querySelectorAll(selector)].map(area);
  return {
    tables: all("section.table table"), pictures: all("figure svg"), map: all("figure[id$='-map'] svg"),
    interactive: all(".map"), buttons: document.querySelectorAll("button").length,
  };
})()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


class Browser:
    """A tab of a browser: commands in, results out."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest = to, back, b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": parameters, **session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda one: one.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path) -> None:
        self.send("Page.navigate", url=page.as_uri())
        self._until(lambda one: one.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _until(self, wanted: Any) -> dict[str, Any]:
        while True:
            while b"\0" not in self._rest:
                read = os.read(self._back, 1 << 20)
                assert read, "the browser is gone"
                self._rest += read
            text, _, self._rest = self._rest.partition(b"\0")
            message = json.loads(text)
            if wanted(message):
                return message


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser that listens on its descriptor 3 and answers on 4."""
    (its_in, to), (back, its_out) = os.pipe(), os.pipe()
    shell = f'exec 3<&{its_in} 4>&{its_out}; exec "$@"'
    chromium = [str(CHROMIUM), *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    with open(profile.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(
            ["bash", "-c", shell, "-", *chromium], pass_fds=(its_in, its_out), stdout=log, stderr=log
        )
    os.close(its_in)
    os.close(its_out)
    try:
        tab = Browser(to, back)
        yield tab
    finally:
        os.close(to)
        os.close(back)
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def page(runs: Path, make_run: MakeRun, tmp_path: Path) -> Path:
    space = make_space()
    for number, (model, noise) in enumerate((("bot", 2.0), (HOSTILE[0], 0.1), (HOSTILE[4], 1.0))):
        run = make_run(f"2024-05-01-x-{number:010}", model=model, noise=noise)
        keep(run, space)
        keep_inspection(run, space)
    collected = collect_runs(runs)
    return write_page(make_sections(collected), Source(collected, {DIGEST: space}), tmp_path / "page")[0]


def test_on_paper_nothing_is_cut_off_and_no_screen_is_too_narrow(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        across = []
        for width in WIDTHS:
            tab.send("Emulation.setDeviceMetricsOverride", width=width, **SCREEN)
            tab.open(page)
            across.append(tab.evaluate(ACROSS))
        printed = tab.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        tab.send("Emulation.setEmulatedMedia", media="print")
        tab.send("Emulation.setDeviceMetricsOverride", width=PAPER_WIDTH, **SCREEN)
        wide, shown = tab.evaluate(WIDE), tab.evaluate(SHOWN)
        tab.evaluate('document.querySelector("section.table").style.width = "900px"')
        widened = tab.evaluate(WIDE)
    assert [inner for *_, inner in across] == [*WIDTHS]
    assert all(needed <= there for needed, there, _ in across)
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1
    assert wide == [] and widened  # the second by our own hand
    assert all(shown["map"]) and not any(shown["interactive"])  # on paper the map is its picture


def test_without_scripts_tables_and_pictures_are_there(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        tab.open(page)
        scripted = tab.evaluate(SHOWN)
        tab.send("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(page)
        bare = tab.evaluate(SHOWN)
    assert scripted["buttons"] and all(scripted["interactive"]) and not any(scripted["map"])
    assert not bare["buttons"] and not any(bare["interactive"])
    assert len(bare["map"]) == 1 and all(bare["map"])
    assert len(bare["tables"]) > 5 and all(area > 1000 for area in bare["tables"])
    assert len(bare["pictures"]) > 5 and all(area > 1000 for area in bare["pictures"])
