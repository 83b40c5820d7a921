"""One network as who looks for files in it sees it, over the memory twins of its swarm."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dpm_core.cids import CHUNK, Cid, CidHasher
from dpm_core.digests import Digest
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.multiaddrs import PeerId
from dpm_core.ports import Clock
from dpm_peer.contacts import Contacts
from dpm_peer.shelf import Shelf
from dpm_peer.swarm import Lot
from dpm_peer.table import Holder
from dpm_testkit.memory_swarm import MemoryKubo, MemoryNetwork


def shared(body: bytes, media_type: str = "text/x-wheel") -> SharedFile:
    """A file with this body, as it is advertised."""
    hasher = CidHasher()
    hasher.update(body)
    root = None if len(body) <= CHUNK else hasher.cid()
    return SharedFile(Digest(f"sha256:{hashlib.sha256(body).hexdigest()}"), len(body), root, media_type)


class MemorySharers:
    """Port Sharers of a node. ``stored`` are the lots of its own store, ``listed`` and ``shown`` what it heard of
    the files and pages of others.
    """

    def __init__(self, name: str, network: MemoryNetwork, folder: Path, clock: Clock) -> None:
        self.name = name
        self.network = network
        self.folder = folder
        self.kubo = self.swarm = network.joined("us")
        self.contacts = Contacts(self.kubo, clock)
        self.stored: dict[Cid, Lot] = {}
        self.listed: list[Holder] = []
        self.shown: list[tuple[PeerId, SharedPage]] = []
        self.shelf = Shelf(self.kubo, folder, self.stored.get, self._renew)

    def holders(self, sha256: Digest) -> Sequence[Holder]:
        """See :class:`dpm_peer.finding.Sharers`."""
        return [each for each in self.listed if each.file.sha256 == sha256]

    def sample(self, peer: PeerId) -> Sequence[SharedFile]:
        """See :class:`dpm_peer.finding.Sharers`."""
        return [each.file for each in self.listed if each.peer == peer]

    def pages(self, artifact_id: str) -> Sequence[tuple[PeerId, SharedPage]]:
        """See :class:`dpm_peer.finding.Sharers`."""
        return [each for each in self.shown if each[1].id == artifact_id]

    def member(self, name: str) -> MemoryKubo:
        """A new member that is to be connected."""
        member = self.network.joined(name)
        others = {each.id: each.addresses for each in self.network.members.values() if each is not self.kubo}
        self.contacts.want(others)
        return member

    async def holder(self, name: str, *bodies: bytes) -> MemoryKubo:
        """A new member that has these, and says so."""
        member = self.member(name)
        for body in bodies:
            await member.give(self.lot(body))
            self.says(member, shared(body))
        return member

    def says(self, member: MemoryKubo, file: SharedFile) -> None:
        """A member says that it has a file."""
        self.listed.append(Holder(member.id, file))

    async def shows(self, name: str, page: SharedPage, body: bytes) -> MemoryKubo:
        """A new member that has a page with this body, and says so."""
        member = self.member(name)
        await member.give(self.lot(body))
        self.shown.append((member.id, page))
        return member

    def lot(self, body: bytes) -> Lot:
        """A file with this body on disk."""
        hasher = CidHasher()
        hasher.update(body)
        path = self.folder / hasher.cid()
        path.write_bytes(body)
        return Lot(hasher.cid(), path, len(body), hasher.leaves())

    def close(self) -> None:
        """Close what is open on disk."""
        self.shelf.close()

    async def _renew(self) -> None:
        raise AssertionError("nothing here makes a repository anew")
