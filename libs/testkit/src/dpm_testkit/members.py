"""A member of a private swarm as tests see it, in memory or with a real Kubo."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dpm_core.cids import CidHasher
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.origins import Stream
from dpm_peer.swarm import Lot, Repository, Swarm


@dataclass(frozen=True)
class Member:
    """``folder`` is where its files lie; ``addresses`` where others reach it."""

    id: PeerId
    addresses: Sequence[Address]
    folder: Path
    repository: Repository
    swarm: Swarm

    def keeps(self, body: bytes) -> Lot:
        """Write a file with this body, and describe it."""
        hasher = CidHasher()
        hasher.update(body)
        path = self.folder / hasher.cid()
        path.write_bytes(body)
        return Lot(hasher.cid(), path, len(body), hasher.leaves())

    async def gives(self, body: bytes) -> Lot:
        """Keep it and give it to the swarm."""
        lot = self.keeps(body)
        assert await self.repository.give(lot) == lot.cid
        return lot

    async def gets(self, lot: Lot, offset: int = 0) -> bytes:
        """All of a file of another member, from an offset."""
        return await drained(await self.swarm.open(lot.cid, lot.size, offset))

    async def meets(self, other: "Member") -> None:
        """Connect to another member."""
        await self.swarm.connect(other.id, other.addresses)

    async def blocks(self) -> set[bytes]:
        """The sha256 of every block in its repository."""
        return {block async for block in self.repository.blocks()}


async def drained(stream: Stream) -> bytes:
    """All that comes, and the stream closed. Raises Unavailable if it does not all come."""
    try:
        return b"".join([part async for part in stream])
    finally:
        await stream.close()
