"""fetcher: gets what gateways ask for, and keeps the store and the catalog."""

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

from dpm_core.artifacts import Lane
from dpm_core.errors import Unavailable
from dpm_core.registry import ReaderTooOld
from dpm_fetcher import custodian
from dpm_fetcher.copying import HeldOrigin
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.hedge import Pace
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.sources import Peering
from dpm_fetcher.waiters import Waiters
from dpm_runtime.bus_address import bus_url
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.credentials import Credentials
from dpm_runtime.disk import Floor, Space
from dpm_runtime.doorway import Doorway
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_log import ROOM
from dpm_runtime.peer_origin import SERVICE as PEERS
from dpm_runtime.peer_origin import PeerOrigin
from dpm_runtime.quota import quota_of
from dpm_runtime.react import react
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.settings import Settings
from dpm_runtime.store import DiskBlobStore
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.ways import Ways
from dpm_runtime.wire import Deadlines

SERVICE = "fetcher"

AT_ONCE = 1_000
"""Requests in hand at once; most of them wait for a lane, which costs little."""

SWEEP_SECONDS = 15.0

READINESS_SECONDS = 0.2
"""How old what is said of the bus may be."""

TOO_NEW_SECONDS = 10.0
"""After a request that this version cannot read, until it takes others again."""

log = logging.getLogger(__name__)


async def serve(doorway: Doorway, context: ServiceContext) -> None:
    """Fetch until the context's stop is set, and ask upstreams about clients who come to the ``doorway``."""
    settings, home = context.settings, context.home
    async with AsyncExitStack() as resources:
        bus = await resources.enter_async_context(
            NatsBus.open(bus_url(home), SERVICE, home.key(SERVICE), floor=Floor(home.root, ROOM))
        )
        store = DiskBlobStore(home, floor=quota_of(settings, Space.of(home.blobs)).floor)
        resources.push_async_callback(store.close)
        catalog = SqliteCatalog.reader(home.catalog)
        resources.callback(catalog.close)
        known = settings.upstreams
        upstream = await resources.enter_async_context(
            UpstreamOrigin(
                _deadlines(settings),
                named=[*settings.allow_private, *known.token_servers()],
                credentials=Credentials(known.places()),
                handed=doorway.handed,
                auth_hosts=known.auth_hosts(),
                ways=Ways.of(settings),
                queries=doorway.queries,
            )
        )
        peers = await resources.enter_async_context(PeerOrigin(home.socket(PEERS)))
        doorway.open(upstream, known.private(), settings.may_ask)
        waiters = Waiters(context.clock, lambda: bus.connected)
        lanes = Lanes(
            {Lane.INDEX: settings.index_lane, Lane.BLOB: settings.blob_lane}, settings.transfers_per_host
        )
        resources.enter_context(lanes.observed())
        fetcher = Fetcher(
            f"{SERVICE}-{context.number}",
            bus.log,
            store,
            [upstream],
            lanes,
            waiters,
            context.clock,
            Limits(settings.index_seconds, settings.stall_seconds, settings.unsized_limit_bytes),
            peering=Peering(peers, _pace(settings)),
            copying=HeldOrigin(catalog, store),
        )
        async with asyncio.TaskGroup() as parts:
            tasks = [
                parts.create_task(part)
                for part in (
                    _take_requests(context, bus, fetcher),
                    custodian.keep(context, bus, store),
                    waiters.listen(bus.tap),
                    _sweep(context, store),
                    _watch_readiness(context, bus),
                )
            ]
            await context.stop.wait()
            for task in tasks:
                task.cancel()


async def _take_requests(context: ServiceContext, bus: NatsBus, fetcher: Fetcher) -> None:
    """For ever. A request that only a newer fetcher can read is left to it, and said until this one ends."""
    while True:
        try:
            await react(bus.log, fetcher.on_request, at_once=AT_ONCE)
        except ReaderTooOld as error:
            log.error("a fetch request is left to a newer fetcher", extra={"why": error.what})
            context.readiness.waiting("requests", error.what)
            await context.clock.sleep(TOO_NEW_SECONDS)


def _deadlines(settings: Settings) -> Deadlines:
    return Deadlines(settings.connect_seconds, settings.first_byte_seconds, settings.stall_seconds)


def _pace(settings: Settings) -> Pace:
    return Pace(settings.peer_first_byte_seconds, settings.peer_rate_bytes, settings.peer_least_bytes)


async def _sweep(context: ServiceContext, store: DiskBlobStore) -> None:
    while True:
        try:
            if swept := await store.sweep(context.clock.now()):
                log.info("swept attempts that are over", extra={"folders": swept})
        except Unavailable as error:
            log.warning("attempts that are over stay for now", extra={"why": error.what})
        await context.clock.sleep(SWEEP_SECONDS)


async def _watch_readiness(context: ServiceContext, bus: NatsBus) -> None:
    while True:
        if bus.connected:
            context.readiness.ready("bus")
        else:
            context.readiness.waiting("bus", bus.reason)
        await context.clock.sleep(READINESS_SECONDS)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    doorway = Doorway()
    return run_service(SERVICE, partial(serve, doorway), routes=doorway.routes)
