"""The browser of the tests, against a small server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from tests.browser import CHROMIUM, Browser, axe_violations, needs_browser

pytestmark = [pytest.mark.slow, needs_browser]

PAGE = b"""<!doctype html><title>t</title><link rel="icon" href="data:,">
<body style="margin: 0; height: 2000px"><button style="position: fixed; left: 40px; top: 60px">
Go</button><input style="position: fixed; left: 200px; top: 60px"><script>
const seen = [];
const held = e => ['alt', 'ctrl', 'meta', 'shift'].filter(k => e[k + 'Key']).join('+');
for (const kind of ['mousedown', 'mousemove', 'mouseup', 'wheel', 'keydown', 'keyup', 'click'])
  addEventListener(kind, e => seen.push([kind, e.clientX ?? e.code,
    e.clientY ?? e.key, e.deltaY ?? e.buttons ?? e.keyCode, held(e)]));
addEventListener('contextmenu', e => e.preventDefault());
const taken = () => seen.splice(0);
</script>"""


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/secret" and "seen=yes" not in self.headers.get("Cookie", ""):
            self.send_response(403)
            body = b"not yours"
        elif self.path == "/enter":
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Set-Cookie", "seen=yes")
            body = b""
        else:
            self.send_response(200)
            body = PAGE
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(str(CHROMIUM), width=640, height=480) as opened:
        yield opened


def test_the_mouse_and_the_keys_do_what_a_hand_does(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.drag((10, 20), (30, 60), "Shift+right")
    assert browser.evaluate("taken()") == [
        ["mousemove", 10, 20, 0, ""],
        ["mousedown", 10, 20, 2, "shift"],
        ["mousemove", 20, 40, 2, "shift"],
        ["mousemove", 30, 60, 2, "shift"],
        ["mouseup", 30, 60, 0, "shift"],
    ]
    browser.wheel((100, 100), -2, "Ctrl")
    browser.wait("seen.length === 2")
    assert browser.evaluate("taken()") == 2 * [["wheel", 100, 100, -100, "ctrl"]]
    browser.keys("Ctrl+z", "Shift+Delete", "+")
    assert [row[1:] for row in browser.evaluate("taken()") if row[0] == "keydown"] == [
        ["KeyZ", "z", 90, "ctrl"],
        ["Delete", "Delete", 46, "shift"],
        ["", "+", 43, ""],
    ]
    browser.click("button")
    assert browser.evaluate("taken()")[-1][0] == "click"
    browser.click("input")
    browser.keys(*"a b", "Shift+C", "ArrowLeft", "Backspace")
    assert browser.evaluate("document.querySelector('input').value") == "a C"
    assert browser.text("button") == "Go" and browser.complaints == []


def test_it_waits_for_what_comes_and_says_what_did_not(
    browser: Browser, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.open(address)
    browser.evaluate("setTimeout(() => { window.there = true; }, 50), 0")
    browser.wait("window.there && document.body")
    monkeypatch.setattr("tests.browser.PATIENCE_S", 0.1)
    with pytest.raises(AssertionError, match=r"not true: window\.never"):
        browser.wait("window.never")


def test_two_tabs_share_their_cookies_and_each_keeps_its_complaints(address: str) -> None:
    with Browser(str(CHROMIUM)) as first:
        first.open(f"{address}/secret")
        assert first.status == 403 and first.text("body") == "not yours"
        first.complaints.clear()  # the browser notes a 403 as an error
        first.open(f"{address}/enter")
        assert first.status == 200 and first.evaluate("location.pathname") == "/"
        second = first.tab()
        second.open(f"{address}/secret")
        assert second.status == 200
        second.evaluate("fetch('http://127.0.0.1:9/').catch(() => 0)")
        second.evaluate("new Promise(drawn => requestAnimationFrame(drawn))")
        first.evaluate("new Promise(drawn => requestAnimationFrame(drawn))")
        assert "the page asked for http://127.0.0.1:9/" in second.complaints
        assert first.complaints == []


def test_the_window_is_photographed_at_its_size(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "long.html"
    page.write_bytes(PAGE)
    browser.open(page)
    browser.resize(320, 200)
    browser.screenshot(tmp_path / "window.png", window=True)
    browser.screenshot(tmp_path / "page.png")
    sizes = [cv2.imread(str(tmp_path / name)).shape[:2] for name in ("window.png", "page.png")]
    assert sizes == [(200, 320), (2000, 320)]


def test_axe_names_the_field_without_a_label(browser: Browser, address: str) -> None:
    browser.open(address)
    found = axe_violations(browser)
    assert any(line.startswith("label (critical): input:") for line in found), found
    assert not any("button" in line for line in found)
