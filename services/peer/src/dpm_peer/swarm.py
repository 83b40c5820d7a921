"""The ports to a network's Kubo: a repository of references to our blobs, and the swarm that they are given to."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dpm_core.cids import Cid, blocks_of_leaves
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.origins import Stream


@dataclass(frozen=True)
class Lot:
    """A blob of ours as it is given to a swarm: where its bytes lie, its size, and the sha256 of each MiB."""

    cid: Cid
    path: Path
    size: int
    leaves: tuple[bytes, ...]

    @property
    def blocks(self) -> tuple[Cid, ...]:
        """All blocks of it, leaves first, the root last. Raises Invalid if leaves and size do not fit."""
        return blocks_of_leaves(self.leaves, self.size)


class Repository(Protocol):
    """What this node's Kubo can give to others: blocks that it references in our files, and what it fetched.

    All methods raise Unavailable if it does not answer in time.
    """

    async def give(self, lot: Lot) -> Cid:
        """Reference the lot's file, and return the CID that its bytes have: it is the caller's to compare.

        What the repository has already of it stays as it is. Raises Unavailable also if the file cannot be read.
        """

    async def drop(self, blocks: Iterable[Cid]) -> None:
        """Remove these blocks; those that are not there are passed over."""

    async def reads(self, block: Cid) -> bool:
        """Whether the block is there, and its bytes are right where it lies."""

    async def tree(self, root: Cid) -> tuple[Cid, ...]:
        """The blocks that belong to a root, itself the first, as far as those that are here tell.

        Waits, for a while, until none of them is wanted of others any more.
        """

    def blocks(self) -> AsyncIterator[bytes]:
        """The sha256 of every block that is here, in no order."""


class Swarm(Protocol):
    """Members of a network, and what they have. All methods raise Unavailable."""

    async def open(self, cid: Cid, size: int, offset: int = 0, holders: Sequence[PeerId] = ()) -> Stream:
        """The bytes of a file of ``size`` bytes from ``offset``, from whichever connected members have them.

        ``holders`` are those of which that is known: it may be quicker then, and never takes more than that.
        Returns when the first has come. Each part matches the CID; that the CID is that of the wanted file is for
        the caller to check. Raises Unavailable here or while it is read: nobody has it, or bytes have ceased to
        come, for the seconds that the swarm was made with. It never ends early without an error. To close it
        is to want it no more.
        """

    async def connect(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """Be connected to a member, at one of these addresses or one that is known of it; returns once that is so.

        Raises Unavailable if it is not reached in time, or is no member.
        """

    async def disconnect(self, peer: PeerId) -> None:
        """Hang up on a member; nothing if it is not connected."""

    async def peers(self) -> frozenset[PeerId]:
        """The ids of those that are connected now."""
