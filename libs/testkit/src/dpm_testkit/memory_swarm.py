"""The memory twins of a Kubo's repository and of its swarm."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dpm_core.cids import CHUNK, FANOUT, Cid, CidHasher, blocks_of_leaves
from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.origins import Stream
from dpm_peer.swarm import Lot

T = TypeVar("T")

PATIENCE_SECONDS = 0.05
"""How long a member waits for what does not come."""


@dataclass(frozen=True)
class _Place:
    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class MemoryNetwork:
    """All members that have the key."""

    def __init__(self) -> None:
        self.members: dict[PeerId, MemoryKubo] = {}

    def joined(self, name: str) -> "MemoryKubo":
        """A new member, connected to nobody."""
        peer = PeerId.of_ed25519(hashlib.sha256(name.encode()).digest())
        self.members[peer] = MemoryKubo(self, peer, (Address(f"/dns4/{name}.example/tcp/4001"),))
        return self.members[peer]


@dataclass
class MemoryKubo:
    """Repository and Swarm. Files are of at most FANOUT leaves. While ``down`` it answers nothing.

    ``references`` say where in whose file a leaf lies, ``copies`` are blocks that came from others (of a node: its
    links), ``nodes`` those of files that were given here.
    """

    network: MemoryNetwork
    id: PeerId
    addresses: tuple[Address, ...]
    references: dict[bytes, _Place] = field(default_factory=dict)
    copies: dict[bytes, bytes | tuple[Cid, ...]] = field(default_factory=dict)
    nodes: dict[bytes, tuple[Cid, ...]] = field(default_factory=dict)
    connected: set[PeerId] = field(default_factory=set)
    down: bool = False

    def copied(self) -> int:
        """Bytes of leaves that it has beside the files that it references."""
        return sum(len(block) for block in self.copies.values() if isinstance(block, bytes))

    async def give(self, lot: Lot) -> Cid:
        self._answers()
        try:
            body = lot.path.read_bytes()[: lot.size]
        except OSError as error:
            raise Unavailable(f"{lot.path.name} cannot be read: {error}") from None
        hasher = CidHasher()
        hasher.update(body)
        blocks = blocks_of_leaves(hasher.leaves(), len(body))
        leaves = blocks[: len(hasher.leaves())]
        assert len(leaves) <= FANOUT
        for number, leaf in enumerate(leaves):
            if leaf.hash not in self.copies:
                place = _Place(lot.path, number * CHUNK, min(CHUNK, len(body) - number * CHUNK))
                self.references.setdefault(leaf.hash, place)
        if len(blocks) > len(leaves) and blocks[-1].hash not in self.copies:
            self.nodes[blocks[-1].hash] = leaves
        return blocks[-1]

    async def drop(self, blocks: Iterable[Cid]) -> None:
        self._answers()
        for block in blocks:
            for kept in (self.references, self.copies, self.nodes):
                kept.pop(block.hash, None)

    async def reads(self, block: Cid) -> bool:
        self._answers()
        return self.links(block) is not None or self.leaf(block) is not None

    async def tree(self, root: Cid) -> tuple[Cid, ...]:
        self._answers()
        return (root, *(self.links(root) or ()))

    async def blocks(self) -> AsyncIterator[bytes]:
        self._answers()
        for block in {*self.references, *self.copies, *self.nodes}:
            yield block

    async def open(self, cid: Cid, size: int, offset: int = 0, holders: Sequence[PeerId] = ()) -> Stream:
        self._answers()
        body = _Stream(self, cid, size, offset)
        await body.begin()
        return body

    async def connect(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        self._answers()
        other = self.network.members.get(peer)
        if other is None or other.down or not set(addresses) & set(other.addresses):
            raise Unavailable(f"{peer} cannot be reached")
        self.connected.add(peer)
        other.connected.add(self.id)

    async def disconnect(self, peer: PeerId) -> None:
        self._answers()
        self.connected.discard(peer)
        self.network.members[peer].connected.discard(self.id)

    async def peers(self) -> frozenset[PeerId]:
        self._answers()
        return frozenset(self.connected)

    def links(self, node: Cid) -> tuple[Cid, ...] | None:
        """What a node here links to."""
        found = self.copies.get(node.hash, self.nodes.get(node.hash))
        return found if isinstance(found, tuple) else None

    def leaf(self, block: Cid) -> bytes | None:
        """A leaf that is here and right."""
        copy = self.copies.get(block.hash)
        if isinstance(copy, bytes):
            return copy
        place = self.references.get(block.hash)
        try:
            found = b"" if place is None else place.read()
        except OSError:
            return None
        return found if hashlib.sha256(found).digest() == block.hash else None

    def _answers(self) -> None:
        if self.down:
            raise Unavailable("it does not answer")


@dataclass
class _Stream:
    """Blocks that are not here are copied from a member that is connected, as BitSwap does."""

    reader: MemoryKubo
    cid: Cid
    size: int
    offset: int
    leaves: tuple[Cid, ...] = ()

    async def begin(self) -> None:
        if self.cid.is_raw:
            self.leaves = (self.cid,)
        else:
            found = await self._had(lambda member: member.links(self.cid))
            self.reader.copies.setdefault(self.cid.hash, found)
            self.leaves = found
        await self._leaf(self.offset // CHUNK)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        position = self.offset
        while position < self.size:
            part = (await self._leaf(position // CHUNK))[position % CHUNK :]
            yield part
            position += len(part)

    async def close(self) -> None:
        return

    async def _leaf(self, number: int) -> bytes:
        leaf = self.leaves[number]
        found = await self._had(lambda member: member.leaf(leaf))
        if leaf.hash not in self.reader.references:
            self.reader.copies.setdefault(leaf.hash, found)
        return found

    async def _had(self, look: Callable[[MemoryKubo], T | None]) -> T:
        asked = [self.reader, *(self.reader.network.members[peer] for peer in self.reader.connected)]
        for member in asked:
            if not member.down and (found := look(member)) is not None:
                return found
        await asyncio.sleep(PATIENCE_SECONDS)
        raise Unavailable("nobody has it")
