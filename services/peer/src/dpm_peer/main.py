"""peer: the networks that the node is in, as an origin for its fetchers, and what it gives to others."""

from contextlib import AsyncExitStack
from functools import partial

from dpm_core.errors import Conflict, Unavailable
from dpm_peer.factory import peering
from dpm_peer.kubo_metrics import KuboMetrics
from dpm_peer.kubo_ports import KuboPorts
from dpm_peer.orders import Orders
from dpm_peer.serving import PeerDoor
from dpm_runtime.bus_address import bus_url
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.disk import Floor
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_log import ROOM
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.peer_origin import SERVICE
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.settings import Settings
from dpm_runtime.store import DiskBlobStore

DOOR = "door"
"""What it is not ready without. A network that does not run is shown by the service, and keeps nobody waiting."""


async def serve(door: PeerDoor, orders: Orders, metrics: KuboMetrics, context: ServiceContext) -> None:
    """Be in all networks that have a folder, until the context's stop is set.

    Raises Unavailable if another process of the home does so already.
    """
    home = context.home
    context.readiness.waiting(DOOR, "not open yet")
    async with AsyncExitStack() as resources:
        try:
            resources.enter_context(OfdLock.acquire(home.run / f"{SERVICE}.lock"))
        except Conflict:
            raise Unavailable(
                f"another peer service runs on {home.root}", advice="one is enough: stop it first"
            ) from None
        floor = Floor(home.root, ROOM)
        bus = await resources.enter_async_context(
            NatsBus.open(bus_url(home), SERVICE, home.key(SERVICE), floor=floor)
        )
        store = await resources.enter_async_context(DiskBlobStore(home))
        catalog = SqliteCatalog.reader(home.catalog)
        resources.callback(catalog.close)
        ports = listening(context.settings)
        at_work = await resources.enter_async_context(
            peering(home, store, catalog, bus.log, context.clock, door, ports=ports, metrics=metrics)
        )
        orders.open(at_work.networks)
        context.readiness.ready(DOOR)
        await context.stop.wait()


def listening(settings: Settings) -> KuboPorts:
    """Where its Kubos listen, and what others are told of it."""
    return KuboPorts(settings.peer_listen, settings.peer_port_range, settings.peer_announce)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    door, orders, metrics = PeerDoor(), Orders(), KuboMetrics()
    work = partial(serve, door, orders, metrics)
    return run_service(SERVICE, work, routes=[*door.routes, *orders.routes], beside=metrics.page)
