"""What fetched indexes say: facts and rendered pages, computed once per content, away from the event loop.

Facts are a cache keyed by the CID of the index, and by what it is the index of: a page with relative links
says something else under each address. Anyone may delete them.
"""

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dpm_core.artifacts import ArtifactRef, Fields
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem, Fact, Page
from dpm_core.errors import Unavailable
from dpm_core.ports import BlobStore, Entry
from dpm_gateway import fact_files
from dpm_gateway.coding import Coding
from dpm_gateway.fact_table import Damaged, Table, encode
from dpm_gateway.memo import Memo
from dpm_gateway.worker import Worker, handed

INLINE_BYTES = 64 * 1024
"""Indexes up to this size are worked on at once: handing them over would cost more."""

PACKED_BYTES = 4 * 1024
"""The same of indexes that are files: they are packed as a rule, and many times larger than they look."""

KEPT_FACT_BYTES = 64 * 1024 * 1024
"""Facts that stay in memory: of large indexes where each is, and not what it says."""

KEPT_PAGE_BYTES = 64 * 1024 * 1024
"""Rendered pages that stay in memory."""

COMPRESSED_FROM_BYTES = 1024
"""Smaller pages fit into one packet as they are."""

NICE = 5
"""By how much the reading of large indexes stands back for clients (nice(2))."""

LEVEL = 6
"""Of compression: index pages become a tenth, and higher levels take longer and gain nothing."""

FORMAT = 3
"""The version of the facts on disk."""

TRIES = 2
"""Facts that were damaged are computed again, and then are right unless the disk fails."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Index:
    """A fetched index: what it is of, its bytes in the store, the kept fields of upstream's answer.

    ``modified`` is its Last-Modified, None if that is not known; it makes no difference to what is read from it.
    """

    ref: ArtifactRef
    cid: Cid
    media_type: str
    fields: Fields = ()
    modified: str | None = field(default=None, compare=False)

    def matches(self, entry: Entry) -> bool:
        """Whether it is what the catalog has under its name."""
        return entry.blob.cid == self.cid and entry.media_type == self.media_type and entry.fields == self.fields

    @property
    def key(self) -> str:
        """Names what can be read from it, in a cache."""
        about = [str(FORMAT), self.ref.id, self.media_type, *(f"{name}: {value}" for name, value in self.fields)]
        return f"{self.cid}-{hashlib.sha256(chr(0).join(about).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Rendered:
    """A page in a coding, with the strong ETag of its own bytes."""

    page: Page
    coding: Coding
    etag: str


class Desk:
    """Works on indexes for one ecosystem: reads facts from them and renders them, in processes of its own."""

    def __init__(self, ecosystem: Ecosystem, store: BlobStore, folder: Path) -> None:
        self._ecosystem = ecosystem
        self._store = store
        self._folder = folder
        self._facts: Memo[str, Table] = Memo(KEPT_FACT_BYTES, lambda kept: kept.weight)
        self._pages: Memo[tuple[str, str, Coding], Rendered] = Memo(
            KEPT_PAGE_BYTES, lambda kept: len(kept.page.body)
        )
        self._worker = Worker()
        self._patient = Worker(nice=NICE)
        """For what takes seconds: nobody else's page waits for it, nor do clients for the processor."""

    def has_facts(self, index: Index) -> bool:
        """Whether facts of ``index`` are at hand, so that its bytes are not needed."""
        return index.key in self._facts

    def is_read(self, index: Index) -> bool:
        """Whether its facts need not be computed: they are in memory, or on disk."""
        return index.key in self._facts or self._file(index).exists()

    async def read(self, index: Index) -> None:
        """Have its facts at hand. Raises Unavailable, Invalid, Untrusted."""
        await self._table(index)

    def has_page(self, index: Index, variant: str, coding: Coding) -> bool:
        """Whether this page is at hand, so that the bytes of ``index`` are not needed."""
        return (index.key, variant, coding) in self._pages

    async def fact(self, index: Index, path: str) -> Fact | None:
        """What ``index`` says of the file at ``path``, or None. Raises Unavailable, Invalid."""
        for _ in range(TRIES):
            table = await self._table(index)
            try:
                return table.get(path)
            except (Damaged, OSError):
                self._forget(index)
        raise _damaged()

    def prepare(self, index: Index) -> None:
        """Have the facts of ``index`` at hand: whoever got it will want a file next."""
        self._facts.prepare(index.key, lambda: self._load_facts(index))

    async def every(self, index: Index) -> Iterable[Fact]:
        """All that ``index`` says, one after the other and in no order. Raises Unavailable, Invalid."""
        return self._all(index, await self._table(index))

    def _all(self, index: Index, table: Table) -> Iterable[Fact]:
        try:
            yield from table
        except (Damaged, OSError) as error:
            self._forget(index)
            raise _damaged() from error

    async def _table(self, index: Index) -> Table:
        return await self._facts.get(index.key, lambda: self._load_facts(index))

    def _forget(self, index: Index) -> None:
        """What is kept of it on disk is not what was written."""
        log.warning("facts on disk were damaged, and are computed again", extra={"index": index.key})
        self._facts.forget(index.key)
        fact_files.discard(self._file(index))

    def _file(self, index: Index) -> Path:
        return self._folder / f"{index.key}{fact_files.SUFFIX}"

    async def page(self, index: Index, variant: str, coding: Coding) -> Rendered:
        """``index`` rendered as ``variant``, in ``coding`` unless it is too small. Raises Unavailable, Invalid."""
        return await self._pages.get((index.key, variant, coding), lambda: self._render(index, variant, coding))

    async def _load_facts(self, index: Index) -> Table:
        file = self._file(index)
        if (kept := await asyncio.to_thread(fact_files.load, file)) is not None:
            return kept
        body = await self.body(index)
        packed = self._ecosystem.names_files(index.ref)
        here = _size(body) <= (PACKED_BYTES if packed else INLINE_BYTES)
        about = (self._ecosystem, index, None if here else file)
        if here:
            encoded = _facts(b"".join(body), *about)
        else:
            async with handed(body) as path:
                encoded = await (self._patient if packed else self._worker).run(_facts, path, *about)
        if encoded is None:
            if (kept := await asyncio.to_thread(fact_files.load, file)) is None:
                raise Unavailable("the facts of an index have gone", retry_after=1.0)
            return kept
        table = Table.of(encoded)
        if here and table:
            await asyncio.to_thread(fact_files.keep, file, encoded)
        return table

    async def _render(self, index: Index, variant: str, coding: Coding) -> Rendered:
        body = await self.body(index)
        about = (self._ecosystem, index, variant, coding)
        if _size(body) <= INLINE_BYTES:
            rendered = _render(b"".join(body), *about)
        else:
            async with handed(body) as path:
                rendered = await self._worker.run(_render, path, *about)
        self.prepare(index)
        return rendered

    async def body(self, index: Index) -> Sequence[bytes]:
        """Its bytes, in parts. Raises Unavailable, Untrusted."""
        body = await self._store.open(index.cid)
        if body is None:
            raise Unavailable("the index has left the store", retry_after=1.0)
        try:
            parts, offset = [], 0
            while part := await body.read(offset, 1024 * 1024):
                parts.append(part)
                offset += len(part)
            return parts
        finally:
            body.close()

    def close(self) -> None:
        """End the workers."""
        self._worker.close()
        self._patient.close()


def _damaged() -> Unavailable:
    return Unavailable("the facts of an index were damaged on disk", retry_after=1.0)


def _size(body: Sequence[bytes]) -> int:
    return sum(map(len, body))


def _facts(body: bytes | Path, ecosystem: Ecosystem, index: Index, file: Path | None) -> bytes | None:
    """The table of an index, None if it is in ``file`` now; one without facts is never written."""
    facts = list(ecosystem.facts(index.ref, index.media_type, _read(body)))
    encoded = encode(facts)
    return None if facts and file is not None and fact_files.keep(file, encoded) else encoded


def _render(body: bytes | Path, ecosystem: Ecosystem, index: Index, variant: str, coding: Coding) -> Rendered:
    page = ecosystem.render(index.ref, index.media_type, _read(body), variant, index.fields)
    if coding is Coding.GZIP and len(page.body) >= COMPRESSED_FROM_BYTES:
        page = replace(page, body=gzip.compress(page.body, LEVEL, mtime=0))
    else:
        coding = Coding.IDENTITY
    return Rendered(page, coding, f'"{hashlib.sha256(page.body).hexdigest()[:32]}"')


def _read(body: bytes | Path) -> bytes:
    return body if isinstance(body, bytes) else body.read_bytes()
