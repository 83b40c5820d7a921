"""An origin that is this node itself: what is held under one name is to be had under another one, too."""

from collections.abc import AsyncIterator
from dataclasses import replace

from dpm_core.artifacts import Validators, Want, authority, peers_checked_at
from dpm_core.dates import http_date
from dpm_core.digests import Digest, answers
from dpm_core.errors import Unavailable, Untrusted
from dpm_core.events import OriginKind, Source
from dpm_core.origins import Opened
from dpm_core.ports import BlobStore, Body, Catalog, Entry

PIECE = 1024 * 1024
"""Bytes read at a time."""


class HeldOrigin:
    """Port Origin for wants that copy what is held."""

    def __init__(self, catalog: Catalog, store: BlobStore) -> None:
        self._catalog = catalog
        self._store = store

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened:
        """The bytes that are held under the name that ``want`` copies, with what is known of them.

        Raises Unavailable if none are, or if they are not those that ``want`` asks for: what was held is out of
        date, and so is who asks.
        """
        entry = self._catalog.find(want.copies)
        if entry is None or not answers(entry.blob.digests, want.digests):
            raise Unavailable(f"what {want.name} is to be a copy of is not held any more", retry_after=1.0)
        try:
            body = await self._store.open(entry.blob.cid)
        except Untrusted as error:
            raise Unavailable(str(error), lasting=True) from error
        if body is None:
            raise Unavailable(f"what {want.name} is to be a copy of has left the store", lasting=True)
        return Opened(
            _source(want, entry),
            offset,
            body.size,
            entry.media_type,
            replace(entry.validators, last_modified=self._date(want, entry)),
            _HeldStream(body, offset),
            entry.fields,
        )

    def _date(self, want: Want, entry: Entry) -> str:
        """The Last-Modified of the copy: a second after that of what it takes the place of, or later.

        Clients that have the one before would take an equal date for it, though upstream has changed twice in a
        second, and an earlier one comes from a mirror that is behind.
        """
        before = self._catalog.find(want.ref.id)
        if before is None:
            return http_date(int(entry.modified))
        same = before.blob.cid == entry.blob.cid
        return http_date(int(before.modified if same else max(entry.modified, before.modified + 1)))


def _source(want: Want, entry: Entry) -> Source:
    """Who gave what is copied; which peer it was is said of the copied one."""
    kind = OriginKind.UPSTREAM if peers_checked_at(entry.fields) is None else OriginKind.PEER
    return Source(kind, authority(want.url) if kind is OriginKind.UPSTREAM else "peers")


class _HeldStream:
    """Port Stream over a body of the store."""

    def __init__(self, body: Body, offset: int) -> None:
        self._body = body
        self._offset = offset

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._body.read(self._offset, PIECE):
                self._offset += len(data)
                yield data
        except Untrusted as error:
            raise Unavailable(str(error), lasting=True) from error

    async def close(self) -> None:
        self._body.close()
