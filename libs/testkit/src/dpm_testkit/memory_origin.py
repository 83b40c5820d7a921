"""The memory twins of origins: upstream, and peers."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dpm_core.artifacts import CHECKED_FIELD, Fields, Validators, Want
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import OriginKind, Source
from dpm_core.origins import NotHeld, NotModified, Opened


@dataclass
class Held:
    """What a memory origin has under a URL, and how it sends it.

    With ``breaks_after`` (bytes) the body breaks off there, once; ``go`` must be set before bytes behind
    ``waits_at`` are sent. With ``for_strangers`` whoever shows no credentials gets that status instead. ``tells``
    is what it says that the body's digest is, where a want looks for that. ``modified`` is its Last-Modified.
    A page of peers was ``checked_at`` (seconds since the epoch).
    """

    body: bytes
    breaks_after: int | None = None
    waits_at: int | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    length: int | None = None
    media_type: str = "application/octet-stream"
    fields: Fields = ()
    for_strangers: int | None = None
    tells: Digest | None = None
    modified: str | None = None
    checked_at: int = 0

    @property
    def validators(self) -> Validators:
        """A strong ETag of the body, and its date."""
        return Validators(f'"{hashlib.sha256(self.body).hexdigest()[:16]}"', self.modified)


class MemoryOrigin:
    """An Origin over a dict of URLs. ``asked`` lists each (URL, offset).

    ``down`` makes it unavailable; ``fails`` are raised by the next requests, one by each, before it answers again,
    and ``fails_at`` by all requests for a URL.
    """

    def __init__(self, kind: OriginKind = OriginKind.UPSTREAM, name: str = "memory") -> None:
        self.source = Source(kind, name)
        self.held: dict[str, Held] = {}
        self.asked: list[tuple[str, int]] = []
        self.down = False
        self.fails: list[Unavailable] = []
        self.fails_at: dict[str, Unavailable] = {}

    def has(self, url: str, body: bytes) -> Held:
        """Put ``body`` under ``url``."""
        self.held[url] = Held(body)
        return self.held[url]

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        """See :class:`dpm_core.origins.Origin`."""
        self.asked.append((want.url, offset))
        if self.down:
            raise Unavailable(f"{self.source.name} is down")
        if self.fails:
            raise self.fails.pop(0)
        if want.url in self.fails_at:
            raise self.fails_at[want.url]
        item = self.held.get(want.url)
        if item is None:
            return NotHeld(self.source, "it has no such thing", 404)
        if item.for_strangers and not want.whose:
            return NotHeld(self.source, "it is not for strangers", item.for_strangers)
        digest = item.tells if want.digest_field else None
        if not offset and ((held and held.etag == item.validators.etag) or (digest and digest in digests)):
            return NotModified(self.source, item.validators)
        if offset and held and held.strong and held.strong != item.validators.etag:
            offset = 0
        length = len(item.body) if item.length is None else item.length
        kept = tuple((name, value) for name, value in item.fields if name in want.keeps)
        stream = _MemoryStream(item, offset)
        return Opened(self.source, offset, length, item.media_type, item.validators, stream, kept, digest)


class MemoryPeers(MemoryOrigin):
    """Peers over a dict of URLs, and one of ``pages`` by artifacts' ids. ``doubted`` is what they were told of."""

    def __init__(self, name: str = "peer") -> None:
        super().__init__(OriginKind.PEER, name)
        self.doubted: list[Want] = []
        self.pages: dict[str, Held] = {}

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        """See :class:`dpm_core.origins.Peers`."""
        if not want.page_of:
            return await super().open(want, offset, held, digests)
        self.asked.append((want.page_of, offset))
        if self.down:
            raise Unavailable(f"{self.source.name} is down")
        page = self.pages.get(want.page_of)
        if page is None or (want.limit is not None and len(page.body) > want.limit):
            return NotHeld(self.source, "no peer has this page", 404)
        validators = Validators(f'"{hashlib.sha256(page.body).hexdigest()}-{page.checked_at}"', page.modified)
        if not offset and held is not None and held.etag == validators.etag:
            return NotModified(self.source, validators)
        kept = tuple((name, value) for name, value in page.fields if name in want.keeps)
        fields = (*kept, (CHECKED_FIELD, str(page.checked_at)))
        body = _MemoryStream(page, 0)
        return Opened(self.source, 0, len(page.body), page.media_type, validators, body, fields)

    async def doubt(self, want: Want) -> None:
        """See :class:`dpm_core.origins.Peers`."""
        self.doubted.append(want)


@dataclass
class _MemoryStream:
    item: Held
    offset: int

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stops = sorted(
            {stop for stop in (self.item.breaks_after, self.item.waits_at, len(self.item.body)) if stop}
        )
        position = self.offset
        for stop in stops:
            if stop <= position:
                continue
            yield self.item.body[position:stop]
            position = stop
            if stop == self.item.breaks_after:
                self.item.breaks_after = None
                raise Unavailable("it broke off")
            if stop == self.item.waits_at:
                await self.item.go.wait()

    async def close(self) -> None:
        return
