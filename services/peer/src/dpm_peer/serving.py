"""What the service answers on its socket, beside health and metrics: files and pages of others, for its fetchers.

:mod:`dpm_runtime.peer_origin` says what the requests are, and makes them.
"""

import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, Unavailable
from dpm_core.origins import Stream
from dpm_core.registry import from_json
from dpm_peer.blame import Doubts
from dpm_peer.finding import Finder, Sharers
from dpm_peer.page_finding import PAGE_LIMIT, Current, PageFinder, tag
from dpm_runtime.hangup import HungUp, unless_gone
from dpm_runtime.meters import counter
from dpm_runtime.peer_origin import (
    BLOBS_PATH,
    CHECKED,
    DOUBTS_PATH,
    DROPPED_PATH,
    KEPT,
    PAGES_PATH,
    SOURCE_FIELD,
    Doubted,
    Dropped,
)

NETWORKS_PATH = "/networks"

_RANGE = re.compile(r"bytes=([0-9]{1,18})-\Z")
_ID = re.compile(r"[0-9a-f]{32}\Z")
_SIZE = re.compile(r"[0-9]{1,18}\Z")

log = logging.getLogger(__name__)
_asked = counter(
    "dpm.peer.asked",
    "{request}",
    "files and pages that peers were asked for",
    outcome="`given`: a first byte came; `nobody`: no peer has it, or gives it; `left`: it did not come in time",
)
_received = counter("dpm.peer.received", "By", "bytes that came from peers")


@dataclass(frozen=True)
class Parts:
    """What answers come from: ``networks`` that are open, the ``health`` of all, and ``look`` for new ones."""

    finder: Finder
    pages: PageFinder
    doubts: Doubts
    networks: Callable[[], Iterable[Sharers]]
    health: Callable[[], Mapping[str, object]] = dict
    look: Callable[[], None] = lambda: None


class PeerDoor:
    """The service's side of its socket. Nobody has anything before ``open``."""

    def __init__(self) -> None:
        self._parts: Parts | None = None

    def open(self, parts: Parts) -> None:
        """From now on answer out of these."""
        self._parts = parts

    @property
    def routes(self) -> list[BaseRoute]:
        """What the service's socket answers beside health and metrics."""
        return [
            Route(f"{BLOBS_PATH}{{sha256}}", _Given(self._blob), methods=["GET"]),
            Route(f"{PAGES_PATH}{{artifact_id}}", _Given(self._page), methods=["GET"]),
            Route(DOUBTS_PATH, self._doubts, methods=["POST"]),
            Route(DROPPED_PATH, self._dropped, methods=["POST"]),
            Route(NETWORKS_PATH, self._networks, methods=["GET", "POST"]),
        ]

    async def _blob(self, request: Request) -> "_Answer | None":
        """The file from a peer. Raises Invalid."""
        sha256, size, offset = _wanted(request)
        found = None if self._parts is None else await self._parts.finder.open(sha256, size, offset)
        if found is None:
            return None
        length = found.file.size
        headers = {"content-length": str(length - offset), "content-type": found.file.media_type}
        if offset:
            headers["content-range"] = f"bytes {offset}-{length - 1}/{length}"
        return _Answer(206 if offset else 200, {**headers, SOURCE_FIELD: found.source}, found.body)

    async def _page(self, request: Request) -> "_Answer | None":
        """The page as a peer has it. Raises Invalid."""
        artifact_id, limit = _wanted_page(request)
        held = request.headers.get("if-none-match")
        found = None if self._parts is None else await self._parts.pages.open(artifact_id, limit, held)
        if found is None:
            return None
        page = found.page
        headers = {"etag": tag(page), CHECKED: str(page.checked_at)}
        if page.validators.last_modified:
            headers["last-modified"] = page.validators.last_modified
        if isinstance(found, Current):
            return _Answer(304, headers)
        headers |= {"content-length": str(page.file.size), "content-type": page.file.media_type}
        headers |= {f"{KEPT}{name}": value for name, value in page.fields}
        return _Answer(200, {**headers, SOURCE_FIELD: found.source}, found.body)

    async def _doubts(self, request: Request) -> Response:
        try:
            sha256 = Digest(f"sha256:{from_json(await request.body(), Doubted).sha256}")
        except Invalid as error:
            return _refusal(error)
        if self._parts is not None:
            self._parts.doubts.raised(sha256)
        return Response(status_code=204)

    async def _dropped(self, request: Request) -> Response:
        """Answers once no network references the blobs any more: their files may go then."""
        try:
            cids = [Cid(each) for each in from_json(await request.body(), Dropped).cids]
        except Invalid as error:
            return _refusal(error)
        if self._parts is None:
            return JSONResponse({"error": "the networks are not open yet"}, 503)
        failed: list[str] = []
        for network in self._parts.networks():
            try:
                await network.shelf.forget(cids)
            except Unavailable as error:
                failed.append(f"{network.name}: {error}")
        if failed:
            return JSONResponse({"error": "; ".join(failed)}, 503)
        return Response(status_code=204)

    async def _networks(self, request: Request) -> Response:
        """How each network does; POST: look first whether one has come or gone, which is seen a moment later."""
        if self._parts is None:
            return JSONResponse({})
        if request.method == "POST":
            self._parts.look()
        return JSONResponse(self._parts.health())


@dataclass(frozen=True)
class _Answer:
    """What is answered; the first byte of its body has come."""

    status: int
    headers: Mapping[str, str]
    body: Stream | None = None


class _Given:
    """An ASGI application, since it is to stop looking when nobody waits for the answer any more.

    ``find`` says what a request is answered, None: nobody has it; it raises Invalid for one that means nothing.
    """

    def __init__(self, find: Callable[[Request], Coroutine[Any, Any, _Answer | None]]) -> None:
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            found = await unless_gone(scope, receive, self._find(Request(scope)))
        except Invalid as error:
            await _refusal(error)(scope, receive, send)
            return
        except HungUp:
            _asked.add(1, {"outcome": "left"})
            return
        _asked.add(1, {"outcome": "nobody" if found is None else "given"})
        if found is None or found.body is None:
            status, headers = (404, {}) if found is None else (found.status, found.headers)
            await Response(status_code=status, headers=headers)(scope, receive, send)
            return
        try:
            with suppress(HungUp):
                await unless_gone(scope, receive, _sent(found, found.body, send))
        except Unavailable as error:  # short of its length: the server hangs up
            source = found.headers[SOURCE_FIELD]
            log.info("what a peer gives breaks off", extra={"source": source, "why": error.what})
        finally:
            await found.body.close()


async def _sent(answer: _Answer, body: Stream, send: Send) -> None:
    """Send the answer. Raises Unavailable if it breaks off."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    async for part in body:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        _received.add(len(part))
    await send({"type": "http.response.body", "body": b""})


def _wanted(request: Request) -> tuple[Digest, int | None, int]:
    """Digest, size and offset. Raises Invalid."""
    sha256 = Digest(f"sha256:{request.path_params['sha256']}")
    size = request.query_params.get("size")
    span = request.headers.get("range")
    begins = _RANGE.match(span) if span else None
    if (size is not None and not _SIZE.match(size)) or (span and begins is None):
        raise Invalid("size is a number, and a range says from which byte on")
    offset = int(begins[1]) if begins else 0
    if size is not None and offset and offset >= int(size):
        raise Invalid("a range begins before the end")
    return sha256, None if size is None else int(size), offset


def _wanted_page(request: Request) -> tuple[str, int]:
    """The artifact's id, and the limit in bytes. Raises Invalid."""
    artifact_id, limit = request.path_params["artifact_id"], request.query_params.get("limit")
    if not _ID.match(artifact_id) or (limit is not None and not _SIZE.match(limit)):
        raise Invalid("a page is called by the id of its artifact, and a limit is a number")
    return artifact_id, PAGE_LIMIT if limit is None else int(limit)


def _refusal(error: Invalid) -> Response:
    return JSONResponse({"error": str(error)}, 400)
