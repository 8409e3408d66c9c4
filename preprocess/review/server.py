"""The server of the review's page: one reader, one cohort, this machine alone.

The address that is printed holds a token that opens the page once; a cookie keeps it open. Other
hosts, other names of this host and other sites get nothing, and the page loads nothing from
elsewhere.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from preprocess.cohort.frames import Frames
from preprocess.cohort.reviews import state_from_json
from preprocess.review.contents import Contents
from preprocess.review.corrections import ConflictError, UnfinishedError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
LARGEST_BODY = 4 << 20
"""Bytes of a decision: some 30 000 boxes."""
NOT_OPEN = (
    "This page opens with the address that `preprocess review` printed, once. To open it in "
    "another browser, use the newest address in that terminal."
)


class Entrance:
    """Who may see the page: the browser that came with the token, from then on by its cookie.

    Attributes:
        token: the next one that opens the page.
    """

    def __init__(self, opened: Callable[[], None]) -> None:
        """``opened`` is called when a token was used; there is another one then."""
        self.token = secrets.token_urlsafe(24)
        self._opened = opened
        self._cookie = secrets.token_urlsafe(24)

    def admits(self, request: Request) -> bool:
        """Whether a request comes from a browser that was let in."""
        given = request.cookies.get(_cookie_name(request), "")
        return secrets.compare_digest(given.encode(), self._cookie.encode())

    def exchange(self, request: Request) -> Response:
        """The cookie for the token; a wrong one gets nothing."""
        given = request.query_params["token"]
        if secrets.compare_digest(given.encode(), self.token.encode()):
            self.token = secrets.token_urlsafe(24)
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(
                _cookie_name(request), self._cookie, httponly=True, samesite="strict"
            )
            self._opened()
            return response
        return RedirectResponse("/", 303) if self.admits(request) else _refused()


def review_app(contents: Contents, entrance: Entrance) -> Starlette:
    """The page and its interface as an ASGI application."""

    async def guard(
        request: Request, proceed: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if request.url.path == "/" and "token" in request.query_params:
            response = entrance.exchange(request)
        elif not entrance.admits(request):
            response = _refused()
        else:
            response = await proceed(request)
        response.headers.update(HEADERS)
        return response

    def page(request: Request) -> Response:
        return _package_file("preprocess.review", "review.html")

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        package = "preprocess.console" if name == "page.css" else "preprocess.review"
        return _package_file(package, name)

    def cohort(request: Request) -> Response:
        return JSONResponse(contents.overview())

    def sequence(request: Request) -> Response:
        return JSONResponse(contents.sequence(_known(request)))

    def frames(request: Request) -> Response:
        stored = contents.corrections.frames(_known(request))
        little_endian = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
        return StreamingResponse(
            _one_by_one(little_endian),
            media_type="application/octet-stream",
            headers={"Content-Length": str(stored.nbytes)},
        )

    def decide(sequence_id: str, sent: Mapping[str, Any]) -> Response:
        try:
            state = state_from_json(sequence_id, sent["state"])
            revision, accepted = sent["revision"], sent["accepted"] is True
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as problem:
            return _problem(422, f"The page sent what is no decision ({problem}). Reload it.")
        try:
            contents.corrections.decide(sequence_id, revision, accepted=accepted, state=state)
        except ConflictError:
            answer = {
                "error": "This sequence was changed in another page meanwhile. What is shown now "
                "is the newest; repeat your last change if it is still needed.",
                "sequence": contents.sequence(sequence_id),
            }
            return JSONResponse(answer, status_code=409)
        except ValueError as problem:
            return _problem(422, str(problem))
        except UnfinishedError as problem:
            return _problem(
                507,
                f"This decision is in review.jsonl, but the cohort's own files could not be "
                f"written: {problem}. Make room; the next decision writes them as well.",
            )
        except OSError as problem:
            said = problem.strerror or str(problem)
            return _problem(507, f"The decision could not be written: {said}. It is not saved.")
        return JSONResponse(contents.sequence(sequence_id))

    async def save(request: Request) -> Response:
        sequence_id = _known(request)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY:
                return _problem(413, "A decision of so many boxes is not taken.")
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError) as problem:
            return _problem(422, f"The page sent what is no JSON ({problem}). Reload it.")
        return await run_in_threadpool(decide, sequence_id, sent)

    def _known(request: Request) -> str:
        sequence_id: str = request.path_params["sequence_id"]
        if sequence_id not in contents.corrections.sequences:
            raise HTTPException(404, "There is no such sequence in this cohort.")
        return sequence_id

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/cohort", cohort),
            Route("/api/sequences/{sequence_id}", sequence),
            Route("/api/sequences/{sequence_id}", save, methods=["PUT"]),
            Route("/api/sequences/{sequence_id}/frames", frames),
            Route("/{name}", file),
        ],
        exception_handlers={ValueError: _damaged},
        middleware=[
            # A name that leads to this machine by somebody else's name server is not its own.
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(BaseHTTPMiddleware, dispatch=guard),
        ],
    )


async def _one_by_one(frames: Frames) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame.tobytes()


def _cookie_name(request: Request) -> str:
    # A browser sends the cookies of all ports of a host.
    return f"review-{request.url.port}"


def _package_file(package: str, name: str) -> Response:
    ending = name.rpartition(".")[2]
    known = {each.name for each in files(package).iterdir()}
    if ending not in MEDIA_TYPES or name not in known:
        return PlainTextResponse("There is no such file.", status_code=404)
    return Response((files(package) / name).read_bytes(), media_type=MEDIA_TYPES[ending])


def _refused() -> Response:
    return PlainTextResponse(NOT_OPEN, status_code=403)


def _damaged(_: Request, problem: Exception) -> Response:
    """Frames that cannot be read; the sentence says which."""
    return _problem(500, str(problem))


def _problem(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status)
