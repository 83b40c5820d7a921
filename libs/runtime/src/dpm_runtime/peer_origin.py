"""The peer service as an origin: HTTP on its unix socket, asked for files by their sha256, and for pages.

=====================================  ==========================================================================
``GET /blobs/<sha256 in hex>?size=``   200, or 206 for ``Range: bytes=N-``, once a first byte is there; 404 at once
                                       if no peer has it. ``Dpm-Source`` says which peer, or which network
``GET /pages/<artifact id>?limit=``    the page as that peer has it to whom upstream confirmed it last: 200 once a
                                       first byte is there, 304 if ``If-None-Match`` has it, 404 if no peer has one
                                       of at most ``limit`` bytes. ``Dpm-Checked`` says when that was,
                                       ``Dpm-Kept-…`` are the fields of upstream's answer that the peer kept
``POST /doubts`` ``{"sha256": …}``     what came of it were other bytes: 204
``POST /dropped`` ``{"cids": […]}``    these blobs are about to go: 204 once no network refers to their files
=====================================  ==========================================================================
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp

from dpm_core.artifacts import CHECKED_FIELD, Validators, Want
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import OriginKind, Source
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_core.registry import to_json
from dpm_runtime import unix_http
from dpm_runtime.upstream_answer import saying_unavailable

SERVICE = "peer"
SOURCE_FIELD = "Dpm-Source"
CHECKED = "Dpm-Checked"
KEPT = "Dpm-Kept-"
BLOBS_PATH = "/blobs/"
PAGES_PATH = "/pages/"
DOUBTS_PATH = "/doubts"
DROPPED_PATH = "/dropped"

FIRST_BYTE_SECONDS = 20.0
STALL_SECONDS = 30.0
DOUBT_SECONDS = 2.0
DROP_SECONDS = 30.0

PIECE = 256 * 1024
"""Bytes that are buffered of a body."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doubted:
    """The sha256, in hex, of what came wrong."""

    sha256: str


@dataclass(frozen=True)
class Dropped:
    """Blobs whose files are about to go."""

    cids: tuple[str, ...]


class PeerOrigin:
    """Port Peers: the service that listens on ``socket``. Use as an async context manager.

    Where nobody listens there, nobody has anything.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._nobody = Source(OriginKind.PEER, SERVICE)

    async def __aenter__(self) -> "PeerOrigin":
        self._session = aiohttp.ClientSession(
            "http://peer",
            connector=aiohttp.UnixConnector(str(self._socket), limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=FIRST_BYTE_SECONDS, sock_read=STALL_SECONDS),
            read_bufsize=PIECE,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._session.close()

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        """Ask the peers for what has a sha256; see :class:`dpm_core.origins.Origin`.

        The bytes from ``offset`` on are those of the same digest whoever sends them, so ``held`` counts only where
        it is of another body: it is sent whole then. Of another size than ``want`` has it is not held.
        """
        if not self._socket.exists():
            return NotHeld(self._nobody, "this node is in no network", 404)
        if want.page_of:
            return await self._page(want, held if not offset else None)
        if want.sha256 is None:
            return NotHeld(self._nobody, "peers know files by their sha256", 404)
        etag = f'"{want.sha256}"'
        begin = 0 if held is not None and held.strong not in (None, etag) else offset
        with saying_unavailable("the peer service"):
            response = await self._session.get(
                f"{BLOBS_PATH}{want.sha256.hex}",
                params={} if want.size is None else {"size": str(want.size)},
                headers={"Range": f"bytes={begin}-"} if begin else {},
            )
        try:
            return self._read(response, want, begin, etag)
        except BaseException:
            response.close()
            raise

    def _read(self, response: aiohttp.ClientResponse, want: Want, begin: int, etag: str) -> Opened | NotHeld:
        source = Source(OriginKind.PEER, response.headers.get(SOURCE_FIELD, SERVICE))
        if response.status == 404:
            response.close()
            return NotHeld(source, "no peer has it", 404)
        if response.status != (206 if begin else 200) or response.content_length is None:
            raise Unavailable(f"the peer service answered {response.status}")
        length = begin + response.content_length
        if want.size not in (None, length):
            response.close()
            return NotHeld(source, f"peers have it with {length} bytes", 404)
        media_type = response.headers.get("Content-Type", "application/octet-stream")
        return Opened(source, begin, length, media_type, Validators(etag), _PeerStream(response))

    async def _page(self, want: Want, held: Validators | None) -> Opened | NotModified | NotHeld:
        """A page is always sent whole."""
        with saying_unavailable("the peer service"):
            response = await self._session.get(
                f"{PAGES_PATH}{want.page_of}",
                params={} if want.limit is None else {"limit": str(want.limit)},
                headers={"If-None-Match": held.etag} if held is not None and held.etag else {},
            )
        try:
            return self._read_page(response, want)
        except BaseException:
            response.close()
            raise

    def _read_page(self, response: aiohttp.ClientResponse, want: Want) -> Opened | NotModified | NotHeld:
        told = response.headers
        source = Source(OriginKind.PEER, told.get(SOURCE_FIELD, SERVICE))
        validators = Validators(told.get("ETag"), told.get("Last-Modified"))
        if response.status in (304, 404):
            response.close()
            return NotModified(source, validators) if response.status == 304 else _no_page(source)
        if response.status != 200 or response.content_length is None:
            raise Unavailable(f"the peer service answered {response.status}")
        media_type = told.get("Content-Type", "application/octet-stream")
        kept = ((name, told.get(f"{KEPT}{name}", "")) for name in want.keeps if name != CHECKED_FIELD)
        fields = (*(each for each in kept if each[1]), (CHECKED_FIELD, told.get(CHECKED, "0")))
        body = _PeerStream(response)
        return Opened(source, 0, response.content_length, media_type, validators, body, fields)

    async def doubt(self, want: Want) -> None:
        """Tell the service that wrong bytes came for ``want``. Never raises: it is told again the next time."""
        if want.sha256 is None:
            return
        with suppress(Unavailable), saying_unavailable("the peer service"):
            limit = aiohttp.ClientTimeout(DOUBT_SECONDS)
            async with self._session.post(DOUBTS_PATH, json={"sha256": want.sha256.hex}, timeout=limit):
                log.warning("peers sent other bytes", extra={"artifact": want.name})


def _no_page(source: Source) -> NotHeld:
    return NotHeld(source, "no peer has this page", 404)


class PeerReferences:
    """Port References: what the service that listens on ``socket`` gives to others.

    Where nobody listens there is no reference either: Kubo ends with the service, and forgets them as it starts.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def drop(self, cids: Sequence[Cid]) -> None:
        """See :class:`dpm_core.ports.References`."""
        if not self._socket.exists():
            return
        told = to_json(Dropped(tuple(cids)))
        status, _ = await unix_http.request(self._socket, DROPPED_PATH, told, seconds=DROP_SECONDS)
        if status != 204:
            raise Unavailable(f"the peer service answered {status}")


class _PeerStream:
    """Port Stream over an answer of the service."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with saying_unavailable("the peer service"):
            while data := await self._response.content.readany():
                yield data

    async def close(self) -> None:
        self._response.close()
