"""``python -m preprocess review``: the page where a person looks at a cohort and corrects it."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import uvicorn

from preprocess.console.settings import Settings, bounds
from preprocess.review.contents import Contents
from preprocess.review.corrections import Corrections
from preprocess.review.doubts import doubts
from preprocess.review.server import Entrance, review_app
from preprocess.storage.names import check_name

HOST = "127.0.0.1"
COHORT = "cohort"
GRACE_S = 5
"""For requests that are under way when the page is ended."""


@dataclass(frozen=True, kw_only=True)
class ReviewSettings(Settings):
    """Where the page is, and who uses it."""

    port: Annotated[int, bounds(0, 65535)] = 0
    """Of this machine, on which the page is served; 0 takes a free one."""
    by: str = "reviewer"
    """Who decides, as review.jsonl has it: a letter or a number, for the cohort holds no names of
    persons."""


def review(
    cohort: Path,
    *,
    runs: Path | None = None,
    reader: str | None = None,
    settings: ReviewSettings,
) -> None:
    """Open a page in which a person looks at the cines of a cohort and corrects what is known.

    It is for this machine alone. Every decision is saved at once, in review.jsonl and in the
    cohort; Ctrl-C ends the page. `ingest` and `propagate` keep what was decided.

    Args:
        cohort: the cohort folder.
        runs: a study of this cohort: where its folds contradict the labels, cines come first.
        reader: keep this reader's boxes apart, in readers/NAME.jsonl, and show no others': for
            `preprocess agreement`. A letter or a number.

    Raises:
        ValueError: it is no cohort, or is open in another review.

    Examples:
        python -m preprocess review cohort
        python -m preprocess review cohort --runs runs
        python -m preprocess review cohort --reader B
    """
    if reader is not None:
        check_name(reader, "a reader")
        if reader == COHORT:
            raise ValueError(
                f"{COHORT!r} is what `preprocess agreement` calls who drew the cohort's own boxes. "
                "Give the reader another name, such as B."
            )
        if runs is not None:
            raise ValueError(
                "--runs would tell the second reader where the first one's boxes are doubted. "
                "Leave it out with --reader."
            )
    corrections = Corrections(cohort, reader=reader, by=reader or settings.by)
    try:
        # A second reader must not learn from doubts what the first one drew.
        found = doubts(corrections.cohort, runs) if reader is None else {}
        contents = Contents(corrections, found)
        contents.warm_up()
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((HOST, settings.port))
            except OSError as problem:
                raise ValueError(
                    f"port {settings.port} cannot be used ({problem.strerror}). Give another "
                    "--port, or leave it out."
                ) from None
            listening.listen()  # who follows the address at once waits, and is not refused
            port = listening.getsockname()[1]
            entrance = Entrance(lambda: print(f"For another browser: {address()}", flush=True))

            def address() -> str:
                return f"http://{HOST}:{port}/?token={entrance.token}"

            print(f"{contents.standing()} Open this address in a browser on this machine:")
            print(f"\n    {address()}\n")
            print(
                f"From another one: ssh -L {port}:{HOST}:{port} NAME-OF-THIS-MACHINE, and the same "
                "address there. Ctrl-C ends the page; every decision is saved already.",
                flush=True,
            )
            config = uvicorn.Config(
                review_app(contents, entrance),
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=GRACE_S,
            )
            with suppress(KeyboardInterrupt):  # that is how it is ended
                uvicorn.Server(config).run(sockets=[listening])
        print(f"\n{contents.standing()}")
        print(f"Wrote {corrections.path}" + (f" and {cohort}." if reader is None else "."))
        following = "summary" if reader is None else "agreement"
        print(f"Next: python -m preprocess {following} {cohort}")
    finally:
        corrections.close()
