"""Answers as ASGI sends them: bodies from the store, bodies still coming, pages made here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dpm_core.ecosystem import Page
from dpm_core.errors import DpmError
from dpm_gateway.conditions import not_modified, range_applies
from dpm_gateway.hangup import HungUp, unless_gone
from dpm_gateway.ranges import Span, Unsatisfiable, requested

PIECE = 256 * 1024
"""Bytes handed to the server at a time."""

log = logging.getLogger(__name__)

Headers = dict[str, str]


class CutShort(Exception):
    """The body cannot be completed: the server drops the connection, so that the client sees it is short."""


class Readable(Protocol):
    """Bytes that can be read from any offset."""

    async def read(self, offset: int, size: int) -> bytes:
        """See the ports Body and Growing."""


@dataclass(frozen=True)
class Representation:
    """What is known of a body before it is sent: length in bytes (None: unknown), type, validators."""

    length: int | None
    media_type: str
    etag: str | None
    last_modified: str | None = None
    headers: Headers = field(default_factory=dict)


class BodyResponse(Response):
    """Sends bytes as they are read, and lets go of what they come from whatever happens."""

    def __init__(
        self, status: int, headers: Headers, body: Readable, span: Span | None, release: Callable[[], None]
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        if "content-length" not in {name.lower() for name in headers}:
            del self.headers["content-length"]
        self._source = body
        self._span = span
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, until the client hangs up. Raises CutShort if the bytes stop coming."""
        try:
            with suppress(HungUp):
                await unless_gone(receive, self._send(send))
        finally:
            self._release()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._send_body(send)

    async def _send_body(self, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        offset = self._span.start if self._span else 0
        end = self._span.end if self._span else None
        while end is None or offset < end:
            try:
                data = await self._source.read(offset, PIECE if end is None else min(PIECE, end - offset))
            except DpmError as error:
                raise CutShort(str(error)) from error
            if not data:
                break
            offset += len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.sleep(0)  # neither a read from memory nor a send to nobody ever waits: others are to run
        if end is not None and offset < end:
            raise CutShort(f"{end - offset} bytes are missing")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def body_response(
    method: str,
    request: Mapping[str, str],
    about: Representation,
    body: Readable | None,
    release: Callable[[], None] = lambda: None,
) -> Response:
    """The answer to GET or HEAD for a body: 200, 206, 304 or 416 (RFC 9110, 13.2.2).

    ``request`` has header names in lower case. A Range counts for GET alone (14.2). ``release`` is called once
    nothing of ``body`` is read any more; without a body only the headers are sent, as for HEAD.
    """
    headers: Headers = {"Accept-Ranges": "bytes", **about.headers}
    if about.etag:
        headers["ETag"] = about.etag
    if about.last_modified:
        headers["Last-Modified"] = about.last_modified
    if not_modified(request, about.etag, about.last_modified):
        release()
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = about.media_type
    span: Span | None = None
    if method == "GET" and about.length is not None and range_applies(request, about.etag, about.last_modified):
        try:
            span = requested(request.get("range"), about.length)
        except Unsatisfiable:
            release()
            headers.pop("Cache-Control", None)
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{about.length}"})
    if span is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{about.length}"
        headers["Content-Length"] = str(span.length)
    elif about.length is not None:
        headers["Content-Length"] = str(about.length)
    status = 206 if span is not None else 200
    if method == "HEAD" or body is None:
        release()
        return HeadResponse(status, headers)
    if span is None and about.length is not None:
        span = Span(0, about.length)
    return BodyResponse(status, headers, body, span, release)


class HeadResponse(Response):
    """Headers as GET would have them, and no body."""

    def __init__(self, status: int, headers: Headers) -> None:
        super().__init__(status_code=status, headers=headers)
        if "content-length" not in {name.lower() for name in headers}:
            del self.headers["content-length"]


def page_response(
    method: str, request: Mapping[str, str], page: Page, etag: str | None, extra: Headers, status: int = 200
) -> Response:
    """The answer with a page that is whole in memory; with an ETag it may be 304."""
    headers = {"Content-Type": page.media_type, **dict(page.headers), **extra}
    if etag is not None:
        headers["ETag"] = etag
        if not_modified(request, etag, None):
            del headers["Content-Type"]
            return Response(status_code=304, headers=headers)
    if method == "HEAD":
        return HeadResponse(status, {**headers, "Content-Length": str(len(page.body))})
    return Response(page.body, status_code=status, headers=headers)
