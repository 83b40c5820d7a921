"""peer: the networks that the node is in, as an origin for its fetchers, and what it gives to others."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from dpm_core.digests import Digest
from dpm_core.errors import Conflict, Unavailable
from dpm_peer.blame import Blame, Doubts, Truth
from dpm_peer.finding import Finder
from dpm_peer.network_life import Node, open_network
from dpm_peer.networks import Networks
from dpm_peer.register import Register
from dpm_peer.serving import Parts, PeerDoor
from dpm_runtime.bus_address import bus_url
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.disk import Floor
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_log import ROOM
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.peer_origin import SERVICE
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.store import DiskBlobStore

DOOR = "door"
"""What it is not ready without. A network that does not run is shown by the service, and keeps nobody waiting."""


async def serve(door: PeerDoor, context: ServiceContext) -> None:
    """Be in all networks that have a folder, until the context's stop is set.

    Raises Unavailable if another process of the home does so already.
    """
    home, clock = context.home, context.clock
    context.readiness.waiting(DOOR, "not open yet")
    async with AsyncExitStack() as resources:
        try:
            resources.enter_context(OfdLock.acquire(home.run / f"{SERVICE}.lock"))
        except Conflict:
            raise Unavailable(
                f"another peer service runs on {home.root}", advice="one is enough: stop it first"
            ) from None
        bus = await resources.enter_async_context(
            NatsBus.open(bus_url(home), SERVICE, home.key(SERVICE), floor=Floor(home.root, ROOM))
        )
        store = DiskBlobStore(home)
        resources.push_async_callback(store.close)
        catalog = SqliteCatalog.reader(home.catalog)
        resources.callback(catalog.close)
        register = Register(bus.log, clock)
        blame = Blame(register, clock)
        node = Node(home, store, catalog, bus.log, register, blame, clock)
        networks = Networks(lambda: home.network_names, partial(open_network, node), clock)
        finder = Finder(networks.living, blame, clock)
        resources.push_async_callback(finder.close)
        doubts = Doubts(partial(_truth, store), finder.asked, blame, clock)
        door.open(Parts(finder, doubts, networks.living, networks.health, networks.look))
        context.readiness.ready(DOOR)
        async with asyncio.TaskGroup() as parts:
            tasks = [
                parts.create_task(part)
                for part in (register.kept(), networks.kept(), finder.kept(), doubts.settled())
            ]
            await context.stop.wait()
            for task in tasks:
                task.cancel()


async def _truth(store: DiskBlobStore, sha256: Digest) -> Truth | None:
    """What the store has under a digest. Raises Unavailable."""
    cid = await asyncio.to_thread(store.find_sha256, sha256.hex)
    sidecar = None if cid is None else await asyncio.to_thread(store.sidecar, cid)
    return None if cid is None or sidecar is None else Truth(cid, sidecar.blob.size)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    door = PeerDoor()
    return run_service(SERVICE, partial(serve, door), routes=door.routes)
