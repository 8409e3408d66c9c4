"""A review as a person begins it: the command in a process of its own, and who asks its server."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)")


@dataclass
class Answer:
    """What the server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Review:
    """A review that is being served.

    Attributes:
        process: of the command.
        port: of its page.
        token: that opens the page once.
    """

    process: subprocess.Popen[str]
    port: int
    token: str
    cookie: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; ``body`` is sent as JSON, or as it is if it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = body if isinstance(body, bytes) else json.dumps(body)
        given = {"Cookie": self.cookie, **(headers or {})}
        connection.request(method, path, None if body is None else sent, given)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def enter(self) -> None:
        """Open the page with the token, as a browser does."""
        answer = self.ask(f"/?token={self.token}")
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]

    def sequence(self, sequence_id: str) -> dict[str, Any]:
        answer = self.ask(f"/api/sequences/{sequence_id}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def save(
        self, sequence: Mapping[str, Any], *, accepted: bool = False, **changes: Any
    ) -> Answer:
        """Save a sequence as it was answered, with changes of its state."""
        decision = {
            "revision": sequence["revision"],
            "accepted": accepted,
            "state": {**sequence["state"], **changes},
        }
        return self.ask(f"/api/sequences/{sequence['id']}", method="PUT", body=decision)

    def end(self) -> str:
        """Ctrl-C; what it said after its address."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=60)
        return said


@contextmanager
def reviewed(cohort: Path, *arguments: str) -> Iterator[Review]:
    """``preprocess review`` until the block ends; its page is served when it begins."""
    command = [sys.executable, "-m", "preprocess", "review", str(cohort), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = ""
    try:
        while not (found := ADDRESS.search(said)):
            line = process.stdout.readline()
            assert line, f"the review ended: {said}"
            said += line
        yield Review(process, int(found[1]), found[2])
    finally:
        process.kill()
        process.wait()
