"""One network at work: its Kubo, its room, its files, and what is done with them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, Unavailable
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.multiaddrs import PeerId
from dpm_core.networks import Network
from dpm_core.ports import Clock, EventLog
from dpm_core.swarm_keys import SwarmKey
from dpm_peer import kubo_program
from dpm_peer.blame import Blame
from dpm_peer.broadcasting import Broadcasting
from dpm_peer.contacts import Contacts
from dpm_peer.inventories import Inventories
from dpm_peer.keeping import Keeping
from dpm_peer.kubo_daemon import Kubo, KuboPlace
from dpm_peer.kubo_metrics import KuboMetrics
from dpm_peer.kubo_ports import KuboPorts
from dpm_peer.kubo_swarm import KuboRepository, KuboSwarm, Patience
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.membership import Membership
from dpm_peer.network_files import NetworkFiles
from dpm_peer.pacing import SLOWEST_SECONDS
from dpm_peer.reaching import Reaching
from dpm_peer.register import Register
from dpm_peer.room import NotAllowed
from dpm_peer.roster import Roster
from dpm_peer.sharing_out import SharingOut
from dpm_peer.shelf import Shelf
from dpm_peer.stock import Stock
from dpm_peer.stream_giving import Giving
from dpm_peer.stream_taking import Taking
from dpm_peer.swarm import Lot
from dpm_peer.table import Holder, Table
from dpm_peer.telling import Telling
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore

PATIENCE = Patience(first_byte=10.0, stall=10.0, connect=5.0)
"""What is expected of members. A fetcher expects more, and waits shorter where it has an upstream."""

LOADED_SECONDS = 5.0
"""For so long the log is waited for before the others are heard: it knows who is shut out."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """What all networks of a node share. ``pace``: seconds from one message in a room to the next, at most."""

    home: Home
    store: DiskBlobStore
    catalog: SqliteCatalog
    events: EventLog
    register: Register
    blame: Blame
    clock: Clock
    pace: float = SLOWEST_SECONDS
    ports: KuboPorts = field(default_factory=KuboPorts)
    metrics: KuboMetrics = field(default_factory=KuboMetrics)


class NetworkLife:
    """Port Living: a network that :func:`open_network` has opened. ``works`` are what goes on in it."""

    def __init__(
        self,
        membership: Membership,
        keeping: Keeping,
        roster: Roster,
        register: Register,
        works: Sequence[Coroutine[Any, Any, None]],
    ) -> None:
        self.name = membership.name
        self.swarm = membership.swarm
        self.shelf = membership.shelf
        self.contacts = membership.contacts
        self.keeping = keeping
        self.roster = roster
        self._membership = membership
        self._register = register
        self._works = works

    def holders(self, sha256: Digest) -> Sequence[Holder]:
        """See :class:`dpm_peer.finding.Sharers`."""
        return self._membership.holders(sha256)

    def sample(self, peer: PeerId) -> Sequence[SharedFile]:
        """See :class:`dpm_peer.finding.Sharers`."""
        return self._membership.sample(peer)

    def pages(self, artifact_id: str) -> Sequence[tuple[PeerId, SharedPage]]:
        """See :class:`dpm_peer.finding.Sharers`."""
        return self._membership.pages(artifact_id)

    def present(self) -> dict[str, int]:
        """See :class:`dpm_peer.networks.Living`."""
        return self.roster.present()

    async def run(self) -> None:
        """See :class:`dpm_peer.networks.Living`."""
        loaded = asyncio.ensure_future(self._register.loaded.wait())
        try:
            await asyncio.wait({loaded}, timeout=LOADED_SECONDS)
        finally:
            loaded.cancel()
        await until_one_ends(self._works)

    def close(self) -> None:
        """Begin nothing that was not begun."""
        for work in self._works:
            work.close()


@asynccontextmanager
async def open_network(node: Node, name: str) -> AsyncIterator[NetworkLife]:
    """The network of this name, with a Kubo that runs. Raises Invalid, TooNew, Unavailable, OSError."""
    home, clock = node.home, node.clock
    files = NetworkFiles(home.networks / name)
    network, key = files.network(), files.key()
    if network.name != name:
        raise Invalid(f"the folder {name} holds the network {network.name}: they are to be called the same")
    home.peers.mkdir(mode=0o700, exist_ok=True)
    inventories = Inventories(home.peers / f"{name}.inventories")
    async with AsyncExitStack() as resources:
        table, stock = Table(home.peers / f"{name}.sqlite"), Stock(home.peers / f"{name}.stock.sqlite")
        resources.callback(table.close)
        resources.callback(stock.close)
        kubo = await resources.enter_async_context(_kubo(node, files, name))
        account = Account(network.homeserver, network.user, network.device, network.token, network.ca)
        link = await resources.enter_async_context(MatrixLink.open(network.homeserver, clock, account))
        room = MatrixRoom(link, network.room, clock)
        streams = Taking(kubo.rpc, home.kubo_socket(name), files.key, lambda: kubo.starts)
        swarm = KuboSwarm(kubo.rpc, PATIENCE, streams)

        def describe(cid: Cid) -> Lot | None:
            return inventories.describe(cid) or stored(node.store, cid)

        shelf = Shelf(KuboRepository(kubo.rpc), home.kubo(name), describe, kubo.renew)
        resources.callback(shelf.close)
        broadcasting, contacts = Broadcasting(room, clock, pace=node.pace), Contacts(swarm, clock)
        telling = Telling(
            network, key, stock=stock, inventories=inventories, shelf=shelf, broadcasting=broadcasting,
            identity=kubo.rpc.identity, clock=clock, reach=lambda: reaching.found(),
        )  # fmt: skip
        sharing = SharingOut(
            network.rule, stock=stock, inventories=inventories, shelf=shelf, telling=telling,
            catalog=node.catalog, events=node.events, clock=clock,
            up=lambda starts: kubo.up(after=starts, seconds=None),
        )  # fmt: skip
        changed = asyncio.Event()

        async def keep(now: Network, new_key: SwarmKey | None) -> None:
            try:
                await asyncio.to_thread(files.keep, now, new_key)
            except OSError as error:
                raise Unavailable(f"what has changed in {name} cannot be kept: {error}") from None
            if new_key is not None:
                telling.take(now, new_key)
                await kubo.restart()
            changed.set()

        membership = Membership(
            network, key, room=room, swarm=swarm, shelf=shelf, contacts=contacts, table=table,
            register=node.register, clock=clock, folder=home.peers / f"{name}.fetched",
            harmed=node.blame.harmed, keep=keep, heard_self=telling.heard_self,
        )  # fmt: skip

        async def share_by_the_rule() -> None:
            while True:
                await changed.wait()
                changed.clear()
                await sharing.reconsider(membership.rule)

        reaching = Reaching(membership.peers, telling.hasten, clock)
        giving = Giving(shelf.holds, describe, files.key).run(
            kubo.rpc, lambda starts: kubo.up(after=starts), clock
        )
        keeping = Keeping(membership, room, files, node.register, clock)
        roster = Roster(membership, room, node.register, kubo.rpc.identity, clock)
        works = (
            contacts.kept(), broadcasting.run(), membership.run(), sharing.run(), share_by_the_rule(),
            keeping.run(), reaching.run(), giving,
        )  # fmt: skip
        life = NetworkLife(membership, keeping, roster, node.register, works)
        resources.callback(life.close)
        yield life


def stored(store: DiskBlobStore, cid: Cid) -> Lot | None:
    """A blob of the store as it is given to others, None if the store has it not. Raises Unavailable."""
    sidecar = store.sidecar(cid)
    if sidecar is None or not store.has(cid):
        return None
    leaves = tuple(map(bytes.fromhex, sidecar.leaves)) or (cid.hash,)
    return Lot(cid, store.path(cid), sidecar.blob.size, leaves)


@asynccontextmanager
async def _kubo(node: Node, files: NetworkFiles, name: str) -> AsyncIterator[Kubo]:
    """The network's Kubo, once it answers."""
    home = node.home
    doorplate = node.ports.of(files.ports)
    place = KuboPlace(
        program=str(kubo_program.find()),
        repository=home.kubo(name),
        identity=files.identity,
        swarm_key=files.swarm_key,
        api=home.kubo_socket(name),
        log=home.logs / f"ipfs-{name}.log",
        listen=doorplate.listen,
        announce=doorplate.announce,
    )
    async with Kubo(place).running() as kubo:
        await kubo.up()
        with node.metrics.of(name, kubo.rpc.metrics):
            yield kubo


async def until_one_ends(works: Sequence[Coroutine[Any, Any, None]]) -> NoReturn:
    """Do all of these, until one fails; the others are cancelled then.

    Raises what that raised, out of its group if it was in one: what says that all is over rather than what does
    not.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    errors = [_first(error) for task in done if (error := task.exception()) is not None]
    raise next((error for error in errors if isinstance(error, NotAllowed)), errors[0])


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
