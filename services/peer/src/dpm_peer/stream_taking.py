"""Files taken from one member by a stream of libp2p: each MiB is checked against the CID before it is passed."""

import asyncio
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp

from dpm_core.cids import CHUNK, Cid
from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import PeerId
from dpm_core.origins import Stream
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_rpc import KuboRpc
from dpm_peer.kubo_tree import leaves
from dpm_peer.stream_giving import PATH, PROTOCOL, admission

SHUNNED_SECONDS = 60.0
"""A member whose stream failed is not asked by one for so long."""

_LONGEST_SOCKET = 100
_BROKEN = (aiohttp.ClientError, OSError, EOFError, ValueError)


class Taking:
    """The streams of one Kubo. ``socket`` is a path beside which each member gets one that Kubo forwards to it.

    ``starts`` says how often Kubo has started: it has forgotten all of that then.
    """

    def __init__(self, rpc: KuboRpc, socket: Path, key: Callable[[], SwarmKey], starts: Callable[[], int]) -> None:
        self._rpc = rpc
        self._socket = socket
        self._key = key
        self._starts = starts
        self._numbers = itertools.count()
        self._ways: dict[tuple[int, PeerId], asyncio.Task[Path]] = {}
        self._shunned: dict[PeerId, float] = {}

    async def open(self, peer: PeerId, cid: Cid, size: int, offset: int, *, first: float, stall: float) -> Stream:
        """The file from ``offset`` on, whose first part has come and is right.

        Raises Unavailable here or while it is read: the member does not give it so, or gives other bytes. It has
        ``first`` seconds for the first part, and ``stall`` for each more.
        """
        if self._shunned.get(peer, 0.0) > time.monotonic():
            raise Unavailable(f"a stream from {peer} has just failed")

        def failed() -> None:
            self._shunned[peer] = time.monotonic() + SHUNNED_SECONDS

        taken = _Taken(self._rpc, cid, size, offset, stall, failed)
        try:
            async with asyncio.timeout(first):
                await taken.begin(await self._way(peer), admission(self._key()))
        except TimeoutError:
            await taken.close()
            failed()
            raise Unavailable(f"{peer} gave nothing by a stream in {first:g} s") from None
        except BaseException:
            await taken.close()
            raise
        return taken

    async def _way(self, peer: PeerId) -> Path:
        """The socket behind which the member is. Raises Unavailable."""
        started = self._starts()
        for stale in [each for each in self._ways if each[0] != started]:
            del self._ways[stale]
        task = self._ways.get((started, peer))
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._ways[started, peer] = asyncio.create_task(self._forwarded(peer))
        return await asyncio.shield(task)

    async def _forwarded(self, peer: PeerId) -> Path:
        path = self._socket.with_name(f"{self._socket.stem}-{next(self._numbers)}{self._socket.suffix}")
        if len(str(path)) > _LONGEST_SOCKET:
            raise Unavailable("the home's path is too long for streams")
        path.unlink(missing_ok=True)
        await self._rpc.forward_from(PROTOCOL, path, peer)
        return path


class _Taken:
    """Port Stream: the body, leaf by leaf."""

    def __init__(
        self, rpc: KuboRpc, cid: Cid, size: int, offset: int, stall: float, failed: Callable[[], None]
    ) -> None:
        self._rpc = rpc
        self._cid = cid
        self._size = size
        self._offset = offset
        self._stall = stall
        self._failed = failed
        self._session: aiohttp.ClientSession | None = None
        self._begun = b""

    async def begin(self, way: Path, shown: str) -> None:
        """Ask, and have the first part. Raises Unavailable."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(way)),
            headers={"Authorization": shown},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=CHUNK,
        )
        self._parts = self._verified(self._session)
        self._begun = await anext(self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._begun
        self._begun = b""
        async for part in self._parts:
            yield part

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _verified(self, session: aiohttp.ClientSession) -> AsyncIterator[bytes]:
        number, skip = divmod(self._offset, CHUNK)
        position = number * CHUNK
        expected = leaves(self._rpc, self._cid, self._size, number, seconds=self._stall)
        headers = {"Range": f"bytes={position}-"} if position else {}
        try:
            async with session.get(f"http://member{PATH}{self._cid}", headers=headers) as answer:
                if answer.status != (206 if position else 200):
                    raise Unavailable(f"a stream was answered with {answer.status}")
                while position < self._size:
                    async with asyncio.timeout(self._stall):
                        leaf = await anext(expected)
                        part = await answer.content.readexactly(min(CHUNK, self._size - position))
                    if hashlib.sha256(part).digest() != leaf.hash:
                        raise Unavailable("a stream brought other bytes than those of the CID")
                    position += len(part)
                    yield part[skip:] if skip else part
                    skip = 0
        except (*_BROKEN, StopAsyncIteration, TimeoutError) as error:
            self._failed()
            raise Unavailable(f"a stream broke off: {error!r}") from None
        except Unavailable:
            self._failed()
            raise
