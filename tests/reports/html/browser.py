"""Chromium, driven by Chrome's DevTools protocol over a pipe."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
marks = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


class Browser:
    """A tab of a browser: commands in, results out."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest = to, back, b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.errors: list[str] = []  # uncaught ones, and whatever the browser logged
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": parameters, **session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda one: one.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, fragment: str = "") -> None:
        if fragment:
            self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=page.as_uri() + fragment)
        self._until(lambda one: one.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Evaluate as if a user had acted; the value of a promise is waited for."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true, at most half a minute."""
        met = (
            f"new Promise((done) => {{ let n = 0; const timer = setInterval(() => {{ const met = {condition};"
        )
        met += " if (met || ++n > 600) { clearInterval(timer); done(Boolean(met)); } }, 50); })"
        assert self.evaluate(met), condition

    def press(self, key: str, code: int, text: str = "") -> None:
        key_event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **key_event)
        self.send("Input.dispatchKeyEvent", type="keyUp", **key_event)

    def _until(self, wanted: Any) -> dict[str, Any]:
        while True:
            while b"\0" not in self._rest:
                read = os.read(self._back, 1 << 20)
                assert read, "the browser is gone"
                self._rest += read
            text, _, self._rest = self._rest.partition(b"\0")
            message = json.loads(text)
            parameters = message.get("params", {})
            is_error = parameters.get("entry", {}).get("level") == "error"
            if is_error or message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(text.decode())
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
