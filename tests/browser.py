"""Headless Chromium on its debugging pipe: enough of it to open a page and ask what is seen there.

Messages are JSON that ends in NUL, written to the browser's descriptor 3 and read from 4: no
port, no driver and no package (Chrome DevTools Protocol).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 60.0

FIGURES = """
JSON.stringify([...document.querySelectorAll('main svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const ink = [...svg.querySelectorAll('path, rect, image, use, text')]
    .filter(e => e.getBoundingClientRect().width + e.getBoundingClientRect().height > 0).length;
  const visible = getComputedStyle(svg).visibility;
  return [svg.getAttribute('aria-label'), box.width, box.height, ink, visible];
}))
"""
"""Each figure's name, width, height, marks that cover anything, and visibility, as JSON."""
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""Pixels by which a page would have to be scrolled sideways."""


CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
"""The path of a Chromium on this machine, or None."""
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="there is no Chromium on this machine; on Debian: apt-get install chromium",
)


class Browser:
    """One headless browser with one page; whatever the page complains of is kept."""

    def __init__(self, executable: str, *, width: int = 1280, height: int = 900) -> None:
        self.complaints: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="browser-")
        ours, theirs = os.pipe(), os.pipe()  # browser reads the first, writes the second
        self._write, self._read = ours[1], theirs[0]
        self._process = subprocess.Popen(
            [
                *("/bin/bash", "-c", f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}', "bash", executable),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--hide-scrollbars", "--remote-debugging-pipe", "--no-first-run"),
                *(f"--user-data-dir={self._profile}", f"--window-size={width},{height}"),
            ],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._rest = b""
        self._number = 0
        self._loaded = False
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def open(self, page: Path) -> None:
        """Show a file and wait until it is loaded."""
        self._loaded = False
        self._ask("Page.navigate", url=page.absolute().as_uri())
        while not self._loaded:
            self._receive()

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression on the page, of a promise what it promises."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self._ask(
                "Input.dispatchKeyEvent",
                **{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, **text},
            )

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG, however long."""
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self, path: Path) -> None:
        """What printing the page gives, on the paper that the page asks for."""
        answer = self._ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(answer["data"]))

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._write)  # the browser ends with its pipe
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        """The next message; what the page complains of is noted on the way."""
        parts, begun = [self._rest], time.monotonic()
        while b"\0" not in parts[-1]:
            assert time.monotonic() - begun < PATIENCE_S, "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser ended"
            parts.append(piece)
        text, _, self._rest = b"".join(parts).partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        self._loaded |= method == "Page.loadEventFired"
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            address = parameters["request"]["url"]
            if not address.startswith(("file:", "data:", "about:")):
                self.complaints.append(f"the page asked for {address}")
