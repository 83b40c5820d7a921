"""A network of nodes in one process: the peer service's parts over the twins of Kubo, room, log and catalog."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from dpm_core.artifacts import ArtifactRef, Blob, Fields, Validators
from dpm_core.cids import Cid, CidHasher
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactStored,
    BlobQuarantined,
    BlockReason,
    OriginKind,
    PeerBlocked,
    PeerEvent,
    Source,
    about,
)
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.networks import Network
from dpm_core.peers import Peers, decide_block
from dpm_core.sharing import Rule
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.broadcasting import Broadcasting
from dpm_peer.contacts import Contacts
from dpm_peer.inventories import Inventories
from dpm_peer.keeping import Keeping
from dpm_peer.membership import Membership
from dpm_peer.network_files import NetworkFiles
from dpm_peer.reaching import Reaching
from dpm_peer.room import NotAllowed
from dpm_peer.roster import Roster
from dpm_peer.sharing_out import SharingOut
from dpm_peer.shelf import Shelf
from dpm_peer.stock import Stock
from dpm_peer.swarm import Lot
from dpm_peer.table import Table
from dpm_peer.telling import Telling
from dpm_runtime.service import SystemClock
from dpm_testkit.members import drained
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_room import MemoryHomeserver
from dpm_testkit.memory_swarm import MemoryNetwork
from dpm_testkit.patience import eventually

ROOM = "!team:matrix.test"


def sha256_of(body: bytes) -> Digest:
    """The digest of a body."""
    return Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")


def mxid(name: str) -> str:
    """The Matrix id of the node that is called so."""
    return f"@{name}:matrix.test"


class FastClock(SystemClock):
    """A clock that runs ``faster`` than the machine's, and is ``ahead`` by so many seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.faster = 20.0
        self._began = super().now()

    def now(self) -> float:
        return self._began + (super().now() - self._began) * self.faster + self.ahead

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self.faster)


class MemoryRegister:
    """The node's table of peers, without a log; ``events`` are all that was recorded."""

    def __init__(self, clock: SystemClock) -> None:
        self.peers = Peers()
        self.events: list[PeerEvent] = []
        self._clock = clock

    def record(self, events: Iterable[PeerEvent]) -> None:
        for event in events:
            self.events.append(event)
            self.peers.apply([Recorded(0, self._clock.now(), event, "")])

    def harmed(self, peer: PeerId, reason: BlockReason, detail: str) -> PeerBlocked | None:
        """Shut a peer out."""
        found = self.peers.find(peer)
        event = None if found is None else decide_block(self.peers, found, reason, detail, self._clock.now())
        if event is not None:
            self.record([event])
        return event


class LittleNetwork:
    """One room, one swarm; the node of ``keeper`` keeps it."""

    def __init__(self, root: Path, rule: Rule | None = None) -> None:
        self.root = root
        self.rule = rule or Rule()
        self.key = SwarmKey(b"\x07" * 32)
        self.boxes = {name: BoxKey.make() for name in ("ann", "ben", "cat")}
        self.swarm = MemoryNetwork()
        self.walls: dict[Address, str] = {}
        """Addresses that nobody reaches, and why not."""
        self.server = MemoryHomeserver(mxid("ann"))

    def node(self, name: str) -> "LittleNode":
        """The node of ann, ben or cat, which is let in; ann's keeps the network."""
        if name != "ann" and self.server.membership(mxid(name)) != "join":
            self.server.happen("m.room.member", mxid("ann"), {"membership": "invite"}, mxid(name))
            self.server.join(mxid(name))
        return LittleNode(self, name)


class LittleNode:
    """A node. What it ``held`` in its store, log and catalog, and its Kubo, outlast :meth:`running`."""

    def __init__(self, circle: LittleNetwork, name: str) -> None:
        self.name, self.user = name, mxid(name)
        self.circle = circle
        self.folder = circle.root / name
        self.files = NetworkFiles(self.folder / "kept")
        self.kubo = circle.swarm.joined(name)
        self.log = MemoryEventLog()
        self.catalog = MemoryCatalog()
        self.held: dict[Cid, Lot] = {}
        self.clock = FastClock()
        self.register = MemoryRegister(self.clock)
        self.network = Network(
            name="team",
            room=ROOM,
            homeserver="https://matrix.test/",
            user=self.user,
            device="one",
            token="secret",
            keepers={mxid("ann"): circle.boxes["ann"].public.hex()},
            box=circle.boxes[name].public.hex(),
            box_secret=circle.boxes[name].private.hex(),
            rule=circle.rule,
        )
        self.key = circle.key
        self.starts = 1
        self.started = asyncio.Event()
        self._server = circle.server
        for folder in ("ipfs", "store"):
            (self.folder / folder).mkdir(parents=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["LittleNode"]:
        """The parts that live as long as the service."""
        self.table, self.stock = Table(self.folder / "team.sqlite"), Stock(self.folder / "stock.sqlite")
        self.inventories = Inventories(self.folder / "inventory")
        self.shelf = Shelf(self.kubo, self.folder / "ipfs", self._describe, self._renew)
        self.contacts = Contacts(self.kubo, self.clock)
        room = self._server.room(self.user)
        self.broadcasting = Broadcasting(room, self.clock, pace=0.001)
        self.telling = Telling(
            self.network, self.key, stock=self.stock, inventories=self.inventories, shelf=self.shelf,
            broadcasting=self.broadcasting, identity=self._identity, clock=self.clock,
            reach=lambda: self.reaching.found(),
        )  # fmt: skip
        self.sharing = SharingOut(
            self.network.rule, stock=self.stock, inventories=self.inventories, shelf=self.shelf,
            telling=self.telling, catalog=self.catalog, events=self.log, clock=self.clock, up=self._up,
        )  # fmt: skip
        self.membership = Membership(
            self.network, self.key, room=room, swarm=self.kubo, shelf=self.shelf, contacts=self.contacts,
            table=self.table, register=self.register, clock=self.clock, folder=self.folder / "fetched",
            harmed=self.register.harmed, keep=self._keep, heard_self=self.telling.heard_self,
        )  # fmt: skip
        self.files.folder.mkdir(exist_ok=True)
        self.reaching = Reaching(self.membership.peers, self.telling.hasten, self.clock, self._dial)
        self.keeping = Keeping(self.membership, room, self.files, self.register, self.clock)
        self.roster = Roster(self.membership, room, self.register, self._identity, self.clock)
        parts = (
            self.membership.run(), self.sharing.run(), self.broadcasting.run(), self.contacts.kept(),
            self.keeping.run(), self.reaching.run(),
        )  # fmt: skip
        lives = [asyncio.ensure_future(each) for each in parts]
        try:
            yield self
        finally:
            for life in lives:
                life.cancel()
            ended = await asyncio.gather(*lives, return_exceptions=True)
            for each in (self.table, self.stock, self.shelf):
                each.close()
        for how in ended:
            if not isinstance(how, asyncio.CancelledError | NotAllowed):  # who was kicked can say nothing more
                raise AssertionError(f"a part of {self.name}'s node ended") from how

    async def stores(
        self,
        body: bytes,
        key: str = "",
        source: OriginKind = OriginKind.UPSTREAM,
        *,
        page: bool = False,
        fields: Fields = (),
    ) -> Digest:
        """It holds this now, as a wheel or as a page."""
        hasher = CidHasher()
        hasher.update(body)
        path = self.folder / "store" / hasher.cid()
        path.write_bytes(body)
        lot = self.held[hasher.cid()] = Lot(hasher.cid(), path, len(body), hasher.leaves())
        sha256 = sha256_of(body)
        await self.tells(
            ArtifactStored(
                ref=_ref(key or sha256.hex),
                name=key or "a wheel",
                blob=Blob(lot.cid, lot.size, (sha256,)),
                media_type="application/zip",
                validators=Validators('"tag"'),
                source=Source(source, "somebody"),
                seconds=0.1,
                vouched=not page,
                fresh_for=600.0 if page else None,
                fields=fields,
            )
        )
        return sha256

    async def evicts(self, body: bytes, key: str = "") -> None:
        """It holds this no longer, and what others may have of it goes before the file."""
        lot = next(lot for lot in self.held.values() if lot.path.read_bytes() == body)
        await self.shelf.forget([lot.cid])
        del self.held[lot.cid]
        lot.path.unlink()
        await self.lets_go(body, key)

    async def lets_go(self, body: bytes, key: str = "") -> None:
        """Log and catalog have the artifact no longer."""
        hasher = CidHasher()
        hasher.update(body)
        await self.tells(ArtifactEvicted(_ref(key or sha256_of(body).hex), hasher.cid(), "to make room"))

    def kubo_starts_anew(self) -> None:
        """It answers again, and has lost all that it had."""
        for each in (self.folder / "ipfs").iterdir():
            each.unlink()
        for kept in (self.kubo.references, self.kubo.copies, self.kubo.nodes):
            kept.clear()
        self.kubo.down = False
        self.starts += 1
        self.started.set()

    def loses(self, name: str) -> None:
        """While it does not run, a file of its service is lost."""
        for each in self.folder.glob(f"{name}*"):
            each.unlink()

    async def tells(self, event: ArtifactStored | ArtifactEvicted | BlobQuarantined) -> None:
        """Its log and its catalog know of this."""
        topic = about(event)
        assert topic is not None
        sequence = await self.log.append(topic, event)
        self.catalog.apply([self.log.recorded[sequence - 1]])

    async def gets(self, sha256: Digest) -> bytes:
        """What the others give for a digest, as soon as one of them that may be asked does."""

        async def got() -> bytes | None:
            for holder in self.membership.holders(sha256):
                with suppress(Unavailable):
                    await self.contacts.reach(holder.peer)
                    return await drained(await self.kubo.open(holder.file.cid, holder.file.size))
            return None

        return await eventually(got)

    def who_has(self, sha256: Digest) -> set[PeerId]:
        """The peers that may be asked for it."""
        return {each.peer for each in self.membership.holders(sha256)}

    async def _dial(self, address: Address) -> str | None:
        return self.circle.walls.get(address)

    def _describe(self, cid: Cid) -> Lot | None:
        return self.inventories.describe(cid) or self.held.get(cid)

    async def _renew(self) -> None:
        self.kubo_starts_anew()

    async def _identity(self) -> tuple[PeerId, tuple[Address, ...]]:
        if self.kubo.down:
            raise Unavailable("it does not answer")
        return self.kubo.id, self.kubo.addresses

    async def _up(self, after: int) -> int:
        while self.starts <= after or self.kubo.down:
            await self.started.wait()
            self.started.clear()
        return self.starts

    async def _keep(self, network: Network, key: SwarmKey | None) -> None:
        self.network = replace(network)
        if key is not None:
            self.key = key
            self.telling.take(network, key)
        await self.sharing.reconsider(network.rule)


def _ref(key: str) -> ArtifactRef:
    return ArtifactRef("pypi", "https://index.example/", key)
