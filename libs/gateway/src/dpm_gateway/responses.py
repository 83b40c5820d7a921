"""Answers as ASGI sends them: bodies from the store, bodies still coming, pages made here."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dpm_core.ecosystem import Page
from dpm_core.errors import DpmError
from dpm_gateway.coding import Coding
from dpm_gateway.conditions import not_modified, precondition_failed, range_applies
from dpm_gateway.ranges import Span, Unsatisfiable, requested
from dpm_runtime.hangup import HungUp, unless_gone
from dpm_runtime.mounted_files import LoadedBody
from dpm_runtime.outlet import EXTENSION, Outlet

PIECE = 256 * 1024
"""Bytes handed to the server at a time."""

log = logging.getLogger(__name__)

Headers = dict[str, str]

Piece: TypeAlias = Span | bytes | None
"""What an answer's body is put together from: bytes of the source, bytes made here, or (None) all of the source
up to its end, wherever that is."""


class CutShort(Exception):
    """The body cannot be completed: the server drops the connection, so that the client sees it is short."""


class Readable(Protocol):
    """Bytes that can be read from any offset."""

    async def read(self, offset: int, size: int) -> bytes:
        """See the ports Body and Growing."""


@runtime_checkable
class Pourable(Protocol):
    """Bytes that can go out without passing through here."""

    async def pour(self, outlet: Outlet, offset: int, size: int) -> int:
        """Send up to ``size`` bytes from ``offset``; returns how many went, the others are to be read."""


@dataclass(frozen=True)
class Representation:
    """What is known of a body before it is sent: length in bytes (None: unknown), type, validators.

    ``mutable``: other bytes may get an earlier date.
    """

    length: int | None
    media_type: str
    etag: str | None
    last_modified: str | None = None
    headers: Headers = field(default_factory=dict)
    mutable: bool = False


class BodyResponse(Response):
    """Sends bytes as they are read, and lets go of what they come from whatever happens."""

    def __init__(
        self, status: int, headers: Headers, body: Readable, pieces: Sequence[Piece], release: Callable[[], None]
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        if "content-length" not in {name.lower() for name in headers}:
            del self.headers["content-length"]
        self._source = body
        self._pieces = pieces
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, until the client hangs up. Raises CutShort if the bytes stop coming."""
        try:
            with suppress(HungUp):
                await unless_gone(scope, receive, self._send(send, scope.get("extensions", {}).get(EXTENSION)))
        finally:
            self._release()

    async def _send(self, send: Send, outlet: Outlet | None) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            if isinstance(piece, bytes):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            else:
                await self._send_bytes(send, outlet, piece)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_bytes(self, send: Send, outlet: Outlet | None, span: Span | None) -> None:
        offset = span.start if span else 0
        end = span.end if span else None
        if outlet and span and span.length > PIECE and isinstance(self._source, Pourable):
            try:
                offset += await self._source.pour(outlet, offset, span.length)
            except ConnectionError as error:
                raise HungUp from error
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


def body_response(
    method: str,
    request: Mapping[str, str],
    about: Representation,
    body: Readable | None,
    release: Callable[[], None] = lambda: None,
) -> Response:
    """The answer to GET or HEAD for a body: 200, 206, 304, 412 or 416 (RFC 9110, 13.2.2).

    ``request`` has header names in lower case. A Range counts for GET alone (14.2). ``release`` is called once
    nothing of ``body`` is read any more; without a body only the headers are sent, as for HEAD.
    """
    headers: Headers = {"Accept-Ranges": "bytes", **about.headers}
    if about.etag:
        headers["ETag"] = about.etag
    if about.last_modified:
        headers["Last-Modified"] = about.last_modified
    if precondition_failed(request, about.etag, about.last_modified):
        release()
        headers.pop("Cache-Control", None)
        return Response(status_code=412, headers=headers)
    if not_modified(request, about.etag, about.last_modified, exactly=about.mutable):
        release()
        return Response(status_code=304, headers=headers)
    spans: tuple[Span, ...] = ()
    if method == "GET" and about.length is not None and range_applies(request, about.etag, about.last_modified):
        try:
            spans = requested(request.get("range"), about.length)
        except Unsatisfiable:
            release()
            headers.pop("Cache-Control", None)
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{about.length}"})
    pieces = _pieces(about, spans, headers)
    status = 206 if spans else 200
    if method == "HEAD" or body is None:
        release()
        return HeadResponse(status, headers)
    if isinstance(body, LoadedBody) and body.size <= PIECE:  # nothing to wait for, nor to watch the client for
        data = b"".join(_loaded(body, piece) for piece in pieces)
        release()
        return Response(data, status_code=status, headers=headers)
    return BodyResponse(status, headers, body, pieces, release)


def _loaded(body: LoadedBody, piece: Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    return body.part(0, body.size) if piece is None else body.part(piece.start, piece.end)


def _pieces(about: Representation, spans: Sequence[Span], headers: Headers) -> Sequence[Piece]:
    """What the body is put together from; ``headers`` is told what kind of body that makes."""
    headers["Content-Type"] = about.media_type
    if about.length is None:
        return (None,)
    if not spans:
        headers["Content-Length"] = str(about.length)
        return (Span(0, about.length),)
    if len(spans) == 1:
        headers["Content-Range"] = _content_range(spans[0], about.length)
        headers["Content-Length"] = str(spans[0].length)
        return spans
    # RFC 9110, 14.6; the line break before a boundary belongs to it (RFC 2046, 5.1.1)
    boundary = secrets.token_hex(16)
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    pieces: list[Span | bytes] = []
    for span in spans:
        head = f"Content-Type: {about.media_type}\r\nContent-Range: {_content_range(span, about.length)}"
        pieces += [f"\r\n--{boundary}\r\n{head}\r\n\r\n".encode("latin-1"), span]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    length = sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)
    headers["Content-Length"] = str(length)
    return pieces


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span.start}-{span.end - 1}/{size}"


class HeadResponse(Response):
    """Headers as GET would have them, and no body."""

    def __init__(self, status: int, headers: Headers) -> None:
        super().__init__(status_code=status, headers=headers)
        if "content-length" not in {name.lower() for name in headers}:
            del self.headers["content-length"]


def page_response(
    method: str,
    request: Mapping[str, str],
    page: Page,
    etag: str | None,
    extra: Headers,
    status: int = 200,
    coding: Coding | None = None,
    last_modified: str | None = None,
) -> Response:
    """The answer with a page that is whole in memory; with an ETag it may be 304 or 412.

    ``coding`` is what the page's bytes are in, None if no request could have had them in another.
    """
    headers = {**dict(page.headers), **extra}
    if coding is not None:
        headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
    if etag is not None:
        headers["ETag"] = etag
        if last_modified is not None:
            headers["Last-Modified"] = last_modified
        if precondition_failed(request, etag, last_modified):
            return Response(status_code=412, headers={"ETag": etag})
        if not_modified(request, etag, last_modified, exactly=True):
            return Response(status_code=304, headers=headers)
    headers["Content-Type"] = page.media_type
    if coding is Coding.GZIP:
        headers["Content-Encoding"] = coding.value
    size = len(page.body)
    if method == "HEAD":
        return HeadResponse(status, {**headers, "Content-Length": str(size)})
    if size <= PIECE:
        return Response(page.body, status_code=status, headers=headers)
    # what is sent at once is copied for each client that does not take it
    body = LoadedBody(page.body)
    return BodyResponse(status, {**headers, "Content-Length": str(size)}, body, (Span(0, size),), body.close)
