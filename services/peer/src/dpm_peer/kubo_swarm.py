"""The ports to a network's Kubo over its RPC."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from dpm_core.cids import CHUNK, Cid, cid_of_folder
from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.origins import Stream
from dpm_peer.kubo_rpc import CALL_SECONDS, KuboRpc, Refused
from dpm_peer.kubo_tree import leaves
from dpm_peer.stream_taking import Taking
from dpm_peer.swarm import Lot

SLOWEST_BYTES_A_SECOND = 10_000_000
"""A file that is given is read and hashed by Kubo, at 500 MB/s where nothing else goes on."""

FOLDERS = 256
"""So many folders of Kubo's own may lie about."""

WANTED_SECONDS = 5.0
"""Kubo takes back its wants a third of a second after the last reader has gone."""

AT_ONCE_BYTES = 2 * CHUNK
"""Of more than so many the first block is asked for alone: Kubo asks for ten, which come together if slowly."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Patience:
    """How long others may take, in seconds: to send the first byte, to send any more, to be connected."""

    first_byte: float = 20.0
    stall: float = 10.0
    connect: float = 5.0


class KuboRepository:
    """Repository over Kubo's RPC.

    Kubo puts each file that it adds into a folder, under its CID, and leaves that behind: 4 KiB of disk. These are
    hidden here, and removed many at once, since no file can be added while a block is removed.
    """

    def __init__(self, rpc: KuboRpc) -> None:
        self.rpc = rpc
        self._folders: dict[bytes, Cid] = {}

    async def give(self, lot: Lot) -> Cid:
        """See :class:`dpm_peer.swarm.Repository`."""
        seconds = CALL_SECONDS + lot.size / SLOWEST_BYTES_A_SECOND
        cid, tree_bytes = await self.rpc.add(lot.path, lot.size, seconds=seconds)
        folder = cid_of_folder(cid, cid, tree_bytes)
        self._folders[folder.hash] = folder
        if len(self._folders) >= FOLDERS:
            await self.drop(())
        return cid

    async def drop(self, blocks: Iterable[Cid]) -> None:
        """See :class:`dpm_peer.swarm.Repository`."""
        folders, self._folders = self._folders, {}
        await self.rpc.remove((*blocks, *folders.values()))

    async def reads(self, block: Cid) -> bool:
        """See :class:`dpm_peer.swarm.Repository`."""
        try:
            await self.rpc.block(block)
        except Refused:
            return False
        return True

    async def tree(self, root: Cid) -> tuple[Cid, ...]:
        """See :class:`dpm_peer.swarm.Repository`."""
        found: list[Cid] = []
        level = [root]
        while level:
            found += level
            below: list[Cid] = []
            for node in (each for each in level if not each.is_raw):
                try:
                    below += await self.rpc.links(node)
                except Refused:  # it never came, and so nothing below it
                    continue
            level = below
        await self._wanted_no_more(frozenset(found))
        return tuple(found)

    async def blocks(self) -> AsyncIterator[bytes]:
        """See :class:`dpm_peer.swarm.Repository`."""
        async for block in self.rpc.blocks():
            if block not in self._folders:
                yield block

    async def _wanted_no_more(self, blocks: frozenset[Cid]) -> None:
        deadline = time.monotonic() + WANTED_SECONDS
        while time.monotonic() < deadline and blocks & await self.rpc.wants():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class KuboSwarm:
    """Swarm over Kubo's RPC."""

    rpc: KuboRpc
    patience: Patience = Patience()
    streams: Taking | None = None

    async def open(self, cid: Cid, size: int, offset: int = 0, holders: Sequence[PeerId] = ()) -> Stream:
        """See :class:`dpm_peer.swarm.Swarm`. What one has, or is one block, comes by a stream if it can."""
        patience = self.patience
        if self.streams is not None and holders and (len(holders) == 1 or size <= CHUNK):
            holder, first = random.choice(holders), patience.first_byte / 2
            with suppress(Unavailable):
                return await self.streams.open(holder, cid, size, offset, first=first, stall=patience.stall)
        if size - offset <= AT_ONCE_BYTES:
            return await self._cat(cid, size, offset)
        number, skip = divmod(offset, CHUNK)
        try:
            async with asyncio.timeout(patience.first_byte):
                leaf = await anext(leaves(self.rpc, cid, size, number, seconds=patience.first_byte))
                block = await self.rpc.block(leaf, seconds=patience.first_byte)
        except (TimeoutError, StopAsyncIteration):
            raise Unavailable(f"nobody gave a byte of {cid} in {patience.first_byte:g} s") from None
        return _LeafFirst(block[skip:], partial(self._cat, cid, size, offset + len(block) - skip))

    async def _cat(self, cid: Cid, size: int, offset: int) -> Stream:
        patience = self.patience
        return await self.rpc.cat(cid, offset, size - offset, first=patience.first_byte, stall=patience.stall)

    async def connect(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """See :class:`dpm_peer.swarm.Swarm`."""
        await self.rpc.connect(peer, addresses, seconds=self.patience.connect)

    async def disconnect(self, peer: PeerId) -> None:
        """See :class:`dpm_peer.swarm.Swarm`."""
        if peer in await self.peers():
            await self.rpc.disconnect(peer)

    async def peers(self) -> frozenset[PeerId]:
        """See :class:`dpm_peer.swarm.Swarm`."""
        return await self.rpc.peers()


class _LeafFirst:
    """Port Stream: a block that has come, and then the rest."""

    def __init__(self, begun: bytes, rest: Callable[[], Awaitable[Stream]]) -> None:
        self._begun = begun
        self._rest = rest
        self._body: Stream | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._begun
        self._body = await self._rest()
        async for part in self._body:
            yield part

    async def close(self) -> None:
        """Want it no more."""
        if self._body is not None:
            await self._body.close()
