"""Headless Chromium on its debugging pipe: pages opened, used by mouse and keys, and looked at.

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
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

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
HIDDEN = """
JSON.stringify([...document.querySelectorAll('main *')].filter(e => {
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const cut = style.overflowX !== 'visible' || style.overflowY !== 'visible';
  return !e.closest('svg') && (!e.checkVisibility({contentVisibilityAuto: true})
    || (e.textContent.trim() && !box.height)
    || (cut && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1))
    || box.right > document.documentElement.clientWidth + 1);
}).map(e => `${e.tagName} ${e.id} ${e.textContent.trim().slice(0, 40)}`))
"""
"""What of a page's content is not seen, is cut off, or is wider than the page, as JSON."""
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""Pixels by which a page would have to be scrolled sideways."""


CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
"""The path of a Chromium on this machine, or None."""
KEYS = {
    **{"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "Delete": 46},
    **{"PageUp": 33, "PageDown": 34, "End": 35, "Home": 36},
    **{"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40},
}
"""The keys that have names, and their codes in Windows, which the browser asks for."""
MODIFIERS = {"Alt": 1, "Ctrl": 2, "Meta": 4, "Shift": 8}
BUTTONS = {"left": 1, "right": 2, "middle": 4}
NOTCH = 100
"""Pixels that a notch of the wheel scrolls."""
Point = tuple[float, float]
"""x and y in the window, in CSS pixels."""
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="there is no Chromium on this machine; on Debian: apt-get install chromium",
)


def axe_violations(tab: Tab) -> list[str]:
    """What axe-core finds on a page that hinders people with a disability: rule, place, advice.

    The test is skipped where the package that carries axe-core is missing.
    """
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe-core is not on this machine: pip install axe-playwright-python")
    tab.evaluate(Path(package.origin).with_name("axe.min.js").read_text() + "; 0")
    found: list[str] = tab.evaluate(
        "axe.run().then(found => found.violations.flatMap(rule => rule.nodes.map(node => "
        "`${rule.id} (${rule.impact}): ${node.target.join(' ')}: ${node.failureSummary}`)))"
    )
    return found


class Tab:
    """One page of a browser; whatever it complains of is kept.

    Attributes:
        complaints: errors, warnings, and requests to other places than the one that was opened.
        status: of the answer that gave the page; 200 for a file.
    """

    def __init__(self, pipe: _Pipe, width: int, height: int) -> None:
        self.complaints: list[str] = []
        self.status = 0
        self._pipe = pipe
        self._origin = "file:"
        self._loaded = False
        # In a window of its own it is visible, and so it draws.
        opened = pipe.ask(None, "Target.createTarget", url="about:blank", newWindow=True)
        attached = pipe.ask(None, "Target.attachToTarget", flatten=True, **opened)
        self._session = attached["sessionId"]
        pipe.listeners[self._session] = self._note
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self._ask("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels."""
        size = {"width": width, "height": height}
        self._ask("Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, mobile=False, **size)

    def open(self, page: Path | str) -> None:
        """Show a file, or the page of a server's address, and wait until it is loaded."""
        address = page.absolute().as_uri() if isinstance(page, Path) else page
        parts = urlsplit(address)
        self._origin = f"{parts.scheme}://{parts.netloc}/" if parts.netloc else "file:"
        self._loaded = False
        answer = self._ask("Page.navigate", url=address)
        assert "errorText" not in answer, f"{address}: {answer['errorText']}"
        if "loaderId" in answer:  # otherwise it is another place of the same page
            while not self._loaded:
                self._pipe.receive()

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression on the page, of a promise what it promises."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true on the page."""
        begun = time.monotonic()
        # An element or another object is true as well, which has no value here.
        while not self.evaluate(f"Promise.resolve({condition}).then(Boolean)"):
            waited = time.monotonic() - begun
            assert waited < PATIENCE_S, f"not true: {condition}; complaints: {self.complaints}"
            time.sleep(0.01)

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def keys(self, *names: str) -> None:
        """Keys such as a, Ctrl+z or Shift+Tab, one after the other."""
        for name in names:
            held, key = _parted(name)
            typed = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
            shift = held & MODIFIERS["Shift"]
            stroke = {
                "key": " " if key == "Space" else key.upper() if shift and len(key) == 1 else key,
                "code": key if key in KEYS else f"Key{key.upper()}" if key.isalpha() else "",
                "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper())),
                "modifiers": held,
            }
            types = {"text": typed} if typed and held in (0, shift) else {}
            self._ask("Input.dispatchKeyEvent", type="keyDown", **stroke, **types)
            self._ask("Input.dispatchKeyEvent", type="keyUp", **stroke)

    def click(self, selector: str, button: str = "left") -> None:
        """The middle of an element; ``button`` may be such as Shift+left."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        self.move((x, y))
        self.press((x, y), button)
        self.release((x, y), button)

    def drag(self, begin: Point, end: Point, button: str = "left") -> None:
        """Press at one place, let go at another; ``button`` may be such as Shift+right."""
        self.move(begin)
        self.press(begin, button)
        for share in (0.5, 1.0):
            between = (a + share * (b - a) for a, b in zip(begin, end, strict=True))
            self.move((next(between), next(between)), button)
        self.release(end, button)

    def move(self, to: Point, button: str = "") -> None:
        """The mouse, while a button is held or none."""
        self._mouse("mouseMoved", *to, **_pressed(button))

    def press(self, at: Point, button: str = "left") -> None:
        """A button of the mouse, and keep it."""
        self._mouse("mousePressed", *at, clickCount=1, **_pressed(button))

    def release(self, at: Point, button: str = "left") -> None:
        """A button of the mouse that was pressed."""
        self._mouse("mouseReleased", *at, clickCount=1, **_pressed(button) | {"buttons": 0})

    def wheel(self, at: Point, notches: int, held: str = "") -> None:
        """Turn the wheel, down if positive, while keys such as Ctrl are held."""
        for _ in range(abs(notches)):
            way = NOTCH if notches > 0 else -NOTCH
            keys = MODIFIERS.get(held, 0)
            self._mouse("mouseWheel", *at, deltaX=0, deltaY=way, modifiers=keys)

    def print_media(self, wanted: bool) -> None:
        """Show the page as on paper, or as on a screen."""
        self._ask("Emulation.setEmulatedMedia", media="print" if wanted else "")

    def screenshot(self, path: Path, *, window: bool = False) -> None:
        """The whole page as PNG, however long, or what the window shows of it."""
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=not window)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self, path: Path) -> None:
        """What printing the page gives, on the paper that the page asks for."""
        answer = self._ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._pipe.ask(self._session, method, **parameters)

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
            if not address.startswith((self._origin, "data:", "about:", "blob:")):
                self.complaints.append(f"the page asked for {address}")
        elif method == "Network.responseReceived" and parameters["type"] == "Document":
            self.status = parameters["response"]["status"]


class Browser(Tab):
    """One headless browser, and its first page."""

    def __init__(self, executable: str, *, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.mkdtemp(prefix="browser-")
        ours, theirs = os.pipe(), os.pipe()  # browser reads the first, writes the second
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
        super().__init__(_Pipe(write=ours[1], read=theirs[0]), width, height)

    def tab(self, *, width: int = 1280, height: int = 900) -> Tab:
        """One more page, with the same cookies."""
        return Tab(self._pipe, width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._pipe.write)  # the browser ends with its pipe
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._pipe.read)
        shutil.rmtree(self._profile, ignore_errors=True)


@dataclass
class _Pipe:
    """The browser's debugging pipe, by file descriptors; ``listeners`` by session."""

    write: int
    read: int
    listeners: dict[str, Callable[[str, dict[str, Any]], None]] = field(default_factory=dict)
    rest: bytes = b""
    number: int = 0

    def ask(self, session: str | None, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers; a session is a tab's."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def receive(self) -> dict[str, Any]:
        """The next message; what a page complains of is noted on the way."""
        parts, begun = [self.rest], time.monotonic()
        while b"\0" not in parts[-1]:
            assert time.monotonic() - begun < PATIENCE_S, "the browser does not answer"
            piece = os.read(self.read, 1 << 20)
            assert piece, "the browser ended"
            parts.append(piece)
        text, _, self.rest = b"".join(parts).partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if listener := self.listeners.get(message.get("sessionId", "")):
            listener(message.get("method", ""), message.get("params", {}))
        return message


def _parted(name: str) -> tuple[int, str]:
    """The modifiers and the key or button of a name such as Ctrl+z."""
    held, _, last = name.rpartition("+")
    if not last:  # the key + itself
        held, last = held.rstrip("+"), "+"
    return sum(MODIFIERS[each] for each in held.split("+") if each), last


def _pressed(name: str) -> dict[str, Any]:
    held, button = _parted(name) if name else (0, "none")
    return {"button": button, "buttons": BUTTONS.get(button, 0), "modifiers": held}
