"""What fetched indexes say: facts and rendered pages, computed once per content, away from the event loop.

Facts are a cache keyed by the CID of the index, and by what it is the index of: a page with relative links
says something else under each address. Anyone may delete them.
"""

import asyncio
import ctypes
import gzip
import hashlib
import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import msgspec

from dpm_core.artifacts import ArtifactRef, Fields
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem, Fact, Page
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import BlobStore
from dpm_core.registry import from_json, to_json
from dpm_gateway.coding import Coding
from dpm_gateway.memo import Memo
from dpm_runtime import whole_file

INLINE_BYTES = 64 * 1024
"""Indexes up to this size are worked on at once: handing them over would cost more."""

KEPT_FACT_BYTES = 64 * 1024 * 1024
"""Facts that stay in memory, as JSON."""

KEPT_PAGE_BYTES = 64 * 1024 * 1024
"""Rendered pages that stay in memory."""

COMPRESSED_FROM_BYTES = 1024
"""Smaller pages fit into one packet as they are."""

LEVEL = 6
"""Of compression: index pages become a tenth, and higher levels take longer and gain nothing."""

FORMAT = 2
"""The version of the facts on disk."""

log = logging.getLogger(__name__)
V = TypeVar("V")
Args = TypeVarTuple("Args")


@dataclass(frozen=True)
class Index:
    """A fetched index: what it is of, its bytes in the store, the kept fields of upstream's answer."""

    ref: ArtifactRef
    cid: Cid
    media_type: str
    fields: Fields = ()

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


@dataclass(frozen=True)
class Facts:
    """The facts of an index by path, each still as JSON: of thousands a client wants one."""

    by_path: dict[str, msgspec.Raw]
    size: int

    @classmethod
    def read(cls, encoded: bytes) -> "Facts":
        """Raises Invalid for what is no JSON object."""
        return cls(from_json(encoded, dict[str, msgspec.Raw]), len(encoded))

    def get(self, path: str) -> Fact | None:
        """The fact of the file at ``path``. Raises Invalid if it is none."""
        raw = self.by_path.get(path)
        return None if raw is None else from_json(bytes(raw), Fact)

    def every(self) -> Iterable[Fact]:
        """All of them, one after the other. Raises Invalid for what is none."""
        return (from_json(bytes(raw), Fact) for raw in self.by_path.values())


class Desk:
    """Works on indexes for one ecosystem: reads facts from them and renders them, in a process of its own."""

    def __init__(self, ecosystem: Ecosystem, store: BlobStore, folder: Path) -> None:
        self._ecosystem = ecosystem
        self._store = store
        self._folder = folder
        self._facts: Memo[str, Facts] = Memo(KEPT_FACT_BYTES, lambda kept: kept.size)
        self._pages: Memo[tuple[str, str, Coding], Rendered] = Memo(
            KEPT_PAGE_BYTES, lambda kept: len(kept.page.body)
        )
        self._pool = _pool()

    def has_facts(self, index: Index) -> bool:
        """Whether facts of ``index`` are at hand, so that its bytes are not needed."""
        return index.key in self._facts

    def has_page(self, index: Index, variant: str, coding: Coding) -> bool:
        """Whether this page is at hand, so that the bytes of ``index`` are not needed."""
        return (index.key, variant, coding) in self._pages

    async def fact(self, index: Index, path: str) -> Fact | None:
        """What ``index`` says of the file at ``path``, or None. Raises Unavailable, Invalid."""
        return (await self._facts.get(index.key, lambda: self._load_facts(index))).get(path)

    async def every(self, index: Index) -> Iterable[Fact]:
        """All that ``index`` says, one fact after the other. Raises Unavailable, Invalid."""
        return (await self._facts.get(index.key, lambda: self._load_facts(index))).every()

    async def page(self, index: Index, variant: str, coding: Coding) -> Rendered:
        """``index`` rendered as ``variant``, in ``coding`` unless it is too small. Raises Unavailable, Invalid."""
        return await self._pages.get((index.key, variant, coding), lambda: self._render(index, variant, coding))

    async def _load_facts(self, index: Index) -> Facts:
        file = self._folder / f"{index.key}.json"
        with suppress(OSError, Invalid):
            return await asyncio.to_thread(lambda: Facts.read(file.read_bytes()))
        body = await self._body(index)
        encoded = await self._work(len(body), _facts, self._ecosystem, index.ref, index.media_type, body)
        facts = await asyncio.to_thread(Facts.read, encoded)
        if facts.by_path:
            with suppress(OSError):  # a cache: what cannot be kept is computed again
                await asyncio.to_thread(whole_file.replace, file, encoded)
        return facts

    async def _render(self, index: Index, variant: str, coding: Coding) -> Rendered:
        body = await self._body(index)
        about = (self._ecosystem, index, body)
        rendered = await self._work(len(body), _render, *about, variant, coding)
        self._facts.prepare(index.key, lambda: self._load_facts(index))  # its client will want a file next
        return rendered

    async def _work(self, size: int, work: Callable[[Unpack[Args]], V], *args: *Args) -> V:
        if size <= INLINE_BYTES:
            return work(*args)
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work, *args)
        except BrokenProcessPool as error:
            if self._pool is pool:  # who notices first
                self._pool = _pool()
            raise Unavailable("the worker for indexes died", retry_after=1.0) from error

    async def _body(self, index: Index) -> bytes:
        body = await self._store.open(index.cid)
        if body is None:
            raise Unavailable("the index has left the store", retry_after=1.0)
        try:
            parts, offset = [], 0
            while part := await body.read(offset, 1024 * 1024):
                parts.append(part)
                offset += len(part)
            return b"".join(parts)
        finally:
            body.close()

    def close(self) -> None:
        """End the worker."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _facts(ecosystem: Ecosystem, ref: ArtifactRef, media_type: str, body: bytes) -> bytes:
    return to_json({fact.path: fact for fact in ecosystem.facts(ref, media_type, body)})


def _render(ecosystem: Ecosystem, index: Index, body: bytes, variant: str, coding: Coding) -> Rendered:
    page = ecosystem.render(index.ref, index.media_type, body, variant, index.fields)
    if coding is Coding.GZIP and len(page.body) >= COMPRESSED_FROM_BYTES:
        page = replace(page, body=gzip.compress(page.body, LEVEL, mtime=0))
    else:
        coding = Coding.IDENTITY
    return Rendered(page, coding, f'"{hashlib.sha256(page.body).hexdigest()[:32]}"')


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_die_with_parent)


def _die_with_parent() -> None:
    """A worker whose gateway was killed would wait for work for ever; it also leaves Ctrl-C to its gateway."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):  # only Linux has prctl
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
