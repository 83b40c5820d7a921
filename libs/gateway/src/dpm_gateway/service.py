"""The composition root that all gateways share: an ecosystem and the ports become a serving process."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from dpm_core.ecosystem import Ecosystem
from dpm_core.ports import Tap
from dpm_core.registry import ReaderTooOld
from dpm_core.taps import WAITING, Waiting
from dpm_gateway.app import create_app
from dpm_gateway.bulletin import Bulletin
from dpm_gateway.doorkeeper import Doorkeeper
from dpm_gateway.doubts import Doubts
from dpm_gateway.facts import Desk
from dpm_gateway.flights import Flights
from dpm_gateway.handler import Handler
from dpm_gateway.kit import Kit, Policy, Witness
from dpm_gateway.marks import Marks
from dpm_gateway.small_blobs import SmallBlobs
from dpm_runtime.bus_address import bus_url
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.disk import Floor, Space
from dpm_runtime.doorway import FetchersDoor
from dpm_runtime.files_limit import files_limit
from dpm_runtime.mounted import MountedBlobStore
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.peer_origin import SERVICE as PEERS
from dpm_runtime.porter import Limits, Porter
from dpm_runtime.quota import quota_of
from dpm_runtime.server_tls import ServerTls
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.serving import serving, tcp_listeners
from dpm_runtime.settings import Settings
from dpm_runtime.store import DiskBlobStore
from dpm_runtime.tokens import TokenBook
from dpm_runtime.tunnel import Tunnels

TELL_SECONDS = 5.0
"""Between two words to fetchers about who still waits."""

TELL_USES_SECONDS = 10.0
"""Between two words to fetchers about what was served."""

READINESS_SECONDS = 0.5
"""Between two looks at the bus and the mount."""

EAGER_SECONDS = 0.05
"""Between two looks while something is waited for: a start is not to take longer than it must."""

OWN_FILES = 1024
"""Open files that the process needs beside those for its clients, and for clients who are about to be gone."""

log = logging.getLogger(__name__)


def run_gateway(
    name: str, build: Callable[[Settings], Ecosystem], witness: Callable[[Settings], Witness] | None = None
) -> int:
    """Run the gateway of the ecosystem ``name`` in this process until it is stopped; returns its exit status.

    ``build`` makes the ecosystem of a node with given settings, and ``witness`` who vouches for indexes of peers;
    they may raise Invalid, which ends the service.
    """

    async def serve(context: ServiceContext) -> None:
        settings = context.settings
        await serve_gateway(context, build(settings), None if witness is None else witness(settings))

    return run_service(f"{GATEWAYS}{name}", serve)


async def serve_gateway(context: ServiceContext, ecosystem: Ecosystem, witness: Witness | None = None) -> None:
    """Serve ``ecosystem`` on its port until the context is stopped. Raises Invalid, Unavailable at the start."""
    name, settings, home = context.name, context.settings, context.home
    section = settings.ecosystem(ecosystem.name)
    tls = ServerTls.of(settings)
    async with AsyncExitStack() as resources:
        listeners = tcp_listeners(
            f"{ecosystem.name}_port", settings.listen, section.port, shared=settings.replicas.get(name, 1) > 1
        )
        for listener in listeners:
            resources.callback(listener.close)
        # what could not be kept is not asked for: no event is spent on it
        floor = quota_of(settings, Space.of(home.root)).floor
        bus = await resources.enter_async_context(
            NatsBus.open(bus_url(home), name, home.key(name), floor=Floor(home.root, floor))
        )
        doubts = Doubts(bus.tap)
        resources.push_async_callback(doubts.close)
        disk = DiskBlobStore(home, mismatch=doubts.about)
        resources.push_async_callback(disk.close)
        mounted = MountedBlobStore(home, disk) if settings.fuse else None
        if mounted is not None:
            resources.callback(mounted.close)
        store = SmallBlobs(disk if mounted is None else mounted, disk.has)
        catalog = SqliteCatalog.reader(home.catalog)
        resources.callback(catalog.close)
        bulletin = Bulletin()
        flights = Flights(
            f"{name}-{context.number}",
            bus.log,
            store,
            bulletin,
            context.clock,
            claim_seconds=settings.claim_seconds,
            request_seconds=settings.request_seconds,
        )
        resources.push_async_callback(flights.close)
        resources.enter_context(flights.observed())
        desk = Desk(ecosystem, store, home.facts)
        resources.callback(desk.close)
        marks = Marks(flights.gateway, context.clock)
        resources.push_async_callback(marks.tell, bus.tap)
        policy = Policy(settings.stale_seconds)
        door = FetchersDoor(home)
        doorkeeper = Doorkeeper(ecosystem, TokenBook(home), door, context.clock)
        kit = Kit(
            ecosystem, catalog, store, flights, desk, marks, doorkeeper, door, context.clock, policy,
            networked=home.socket(PEERS).exists, witness=witness,
        )  # fmt: skip
        handler = Handler(kit)
        resources.push_async_callback(handler.close)
        hosts = {*settings.allow_hosts, *settings.listen}
        tunnels = Tunnels(
            section.tunnels(),
            settings.allow_private,
            connect_seconds=settings.connect_seconds,
            idle_seconds=settings.client_stall_seconds,
        )
        for task in (
            _read_log(context, bulletin, bus, ecosystem.name, catalog.position()),
            _tell_waiting(bus.tap, flights),
            _tell_uses(bus, marks),
            _watch_readiness(context, bus, mounted),
        ):
            await resources.enter_async_context(_background(task, context))
        porter = Porter(
            Limits(
                connections=settings.client_connections,
                files=max(files_limit() // 2, files_limit() - OWN_FILES),
                head_seconds=settings.client_head_seconds,
                stall_seconds=settings.client_stall_seconds,
            )
        )
        resources.enter_context(porter.observed())
        # Entered last, so that requests under way end before what they wait on.
        await resources.enter_async_context(
            serving(
                create_app(handler, hosts=hosts, tunnels=tunnels),
                listeners,
                porter=porter,
                tls=tls,
                date_header=True,
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )
        scheme = "http" if tls is None else "https"
        context.announce(http=[_address(scheme, listener) for listener in listeners])
        await context.stop.wait()
        context.readiness.waiting("end", "it takes no more requests, and ends when those under way are answered")


def _address(scheme: str, listener: socket.socket) -> str:
    """The URL for clients of this machine; another one has a name of its own for it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


@asynccontextmanager
async def _background(work: Awaitable[None], context: ServiceContext) -> AsyncIterator[None]:
    """Keep a task running; if it fails the service ends, for its supervisor to start anew."""

    def ended(task: "asyncio.Future[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a part of the service failed", exc_info=error)
            context.stop.set()

    task = asyncio.ensure_future(work)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _read_log(context: ServiceContext, bulletin: Bulletin, bus: NatsBus, ecosystem: str, after: int) -> None:
    try:
        await bulletin.read(bus.log, ecosystem, after=after)
    except ReaderTooOld as error:  # hits go on
        log.error("the log cannot be read any further", extra={"why": error.what})
        context.readiness.waiting("log", error.what)


async def _tell_waiting(tap: Tap, flights: Flights) -> None:
    while True:
        await asyncio.sleep(TELL_SECONDS)
        if artifacts := tuple(flights.waiting()):
            await tap.tell(WAITING, Waiting(flights.gateway, artifacts))


async def _tell_uses(bus: NatsBus, marks: Marks) -> None:
    there = True
    while True:
        await asyncio.sleep(TELL_USES_SECONDS)
        before, there = there, bus.connected
        if before and there:  # of a bus that has just come back the fetchers may not hear yet
            await marks.tell(bus.tap)


async def _watch_readiness(context: ServiceContext, bus: NatsBus, mounted: MountedBlobStore | None) -> None:
    """A gateway that has no bus or no mount still serves hits, and says what it waits for."""
    while True:
        conditions = [("bus", bus.connected, bus.reason)]
        if mounted is not None:
            conditions.append(("mount", await mounted.mounted(), "the file system does not answer"))
        for condition, well, reason in conditions:
            if well:
                context.readiness.ready(condition)
            else:
                context.readiness.waiting(condition, reason)
        await asyncio.sleep(EAGER_SECONDS if context.readiness.waits_for else READINESS_SECONDS)
