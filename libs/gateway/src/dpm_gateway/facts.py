"""What fetched indexes say: facts and rendered pages, computed once per content, away from the event loop.

Facts are a cache keyed by the CID of the index, and by what it is the index of: a page with relative links
says something else under each address. Anyone may delete them.
"""

import asyncio
import ctypes
import hashlib
import logging
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from dpm_core.artifacts import ArtifactRef
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem, Fact, Page
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import BlobStore
from dpm_core.registry import from_json, to_json
from dpm_gateway.memo import Memo
from dpm_runtime import whole_file

INLINE_BYTES = 64 * 1024
"""Indexes up to this size are worked on at once: handing them over would cost more."""

KEPT_INDEXES = 256
"""Indexes whose facts stay in memory."""

KEPT_PAGE_BYTES = 64 * 1024 * 1024
"""Rendered pages that stay in memory."""

log = logging.getLogger(__name__)
V = TypeVar("V")
Args = TypeVarTuple("Args")


@dataclass(frozen=True)
class Index:
    """A fetched index: what it is of, and its bytes in the store."""

    ref: ArtifactRef
    cid: Cid
    media_type: str

    @property
    def key(self) -> str:
        """Names what can be read from it, in a cache."""
        about = hashlib.sha256(f"{self.ref.id}\0{self.media_type}".encode()).hexdigest()[:16]
        return f"{self.cid}-{about}"


@dataclass(frozen=True)
class Rendered:
    """A page with the strong ETag of its own bytes."""

    page: Page
    etag: str


@dataclass(frozen=True)
class _Facts:
    facts: tuple[Fact, ...]


class Desk:
    """Works on indexes for one ecosystem: reads facts from them and renders them, in a process of its own."""

    def __init__(self, ecosystem: Ecosystem, store: BlobStore, folder: Path) -> None:
        self._ecosystem = ecosystem
        self._store = store
        self._folder = folder
        self._facts: Memo[str, dict[str, Fact]] = Memo(KEPT_INDEXES)
        self._pages: Memo[tuple[str, str], Rendered] = Memo(KEPT_PAGE_BYTES, lambda kept: len(kept.page.body))
        self._pool = _pool()

    async def fact(self, index: Index, path: str) -> Fact | None:
        """What ``index`` says of the file at ``path``, or None. Raises Unavailable, Invalid."""
        return (await self._facts.get(index.key, lambda: self._load_facts(index))).get(path)

    async def page(self, index: Index, variant: str) -> Rendered:
        """``index`` rendered as ``variant``. Raises Unavailable, Invalid."""
        return await self._pages.get((index.key, variant), lambda: self._render(index, variant))

    async def _load_facts(self, index: Index) -> dict[str, Fact]:
        file = self._folder / f"{index.key}.json"
        with suppress(OSError, Invalid):
            return await asyncio.to_thread(lambda: _by_path(file.read_bytes()))
        body = await self._body(index)
        encoded = await self._work(len(body), _facts, self._ecosystem, index.ref, index.media_type, body)
        with suppress(OSError):  # a cache: what cannot be kept is computed again
            await asyncio.to_thread(whole_file.replace, file, encoded)
        return await asyncio.to_thread(_by_path, encoded)

    async def _render(self, index: Index, variant: str) -> Rendered:
        body = await self._body(index)
        return await self._work(len(body), _render, self._ecosystem, index.ref, index.media_type, body, variant)

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


def _by_path(encoded: bytes) -> dict[str, Fact]:
    return {fact.path: fact for fact in from_json(encoded, _Facts).facts}


def _facts(ecosystem: Ecosystem, ref: ArtifactRef, media_type: str, body: bytes) -> bytes:
    return to_json(_Facts(tuple(ecosystem.facts(ref, media_type, body))))


def _render(ecosystem: Ecosystem, ref: ArtifactRef, media_type: str, body: bytes, variant: str) -> Rendered:
    page = ecosystem.render(ref, media_type, body, variant)
    return Rendered(page, f'"{hashlib.sha256(page.body).hexdigest()[:32]}"')


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_die_with_parent)


def _die_with_parent() -> None:
    """A worker whose gateway was killed would wait for work for ever; it also leaves Ctrl-C to its gateway."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):  # only Linux has prctl
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
