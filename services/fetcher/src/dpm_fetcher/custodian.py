"""The fetcher that holds the catalog's lock: it folds, notes last uses, keeps the store within its bounds, and
does what the operator asks. The others stand by for it.
"""

import asyncio
import logging

from starlette.applications import Starlette

from dpm_core.commands import Check, Collect, Repair, Selection
from dpm_core.errors import Conflict, Unavailable
from dpm_core.registry import ReaderTooOld
from dpm_core.taps import MISMATCH, MISREAD
from dpm_fetcher import collector, librarian, room, stock, uses
from dpm_fetcher.care import Care
from dpm_fetcher.check import Checker
from dpm_fetcher.collector import Collector
from dpm_fetcher.commands import Command, commands_app
from dpm_fetcher.operator import Operator
from dpm_fetcher.quarantine import Quarantine
from dpm_fetcher.reseeding import Reseeder
from dpm_fetcher.room import Room
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_runtime.catalog_listing import Listing
from dpm_runtime.disk import Space
from dpm_runtime.lost_log import FormerCatalog
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.peer_origin import SERVICE, PeerReferences
from dpm_runtime.quota import quota_of
from dpm_runtime.service import ServiceContext
from dpm_runtime.serving import serving_on_socket
from dpm_runtime.store import DiskBlobStore

LOOK_SECONDS = 5.0
"""Between two looks at how full the store is, and at what is left over."""

CATALOG = "catalog"
"""What a fetcher is not ready without: that it keeps the catalog, or that another one does."""

LOG = "log"
"""What it is not ready without, too: that this version can read all of it."""

STANDBY_SECONDS = 1.0
"""Between two looks whether the lock is free, or the catalog can be used again."""

log = logging.getLogger(__name__)


async def keep(context: ServiceContext, bus: NatsBus, store: DiskBlobStore) -> None:
    """Be the custodian, or stand by, for ever.

    At an event that only a newer version can read it lets go of the catalog for good, and is not ready any more.
    """
    context.readiness.waiting(CATALOG, "not opened yet")
    while True:
        try:
            catalog = SqliteCatalog.writer(context.home.catalog)
        except Conflict:
            context.readiness.ready(CATALOG)
            await context.clock.sleep(STANDBY_SECONDS)
            continue
        except (Unavailable, OSError) as error:
            log.error("the catalog cannot be opened", extra={"why": str(error)})
            context.readiness.waiting(CATALOG, str(error))
            await context.clock.sleep(STANDBY_SECONDS)
            continue
        try:
            await _keep(context, bus, store, catalog)
        except* ReaderTooOld as errors:
            why = "; ".join(str(each) for each in errors.exceptions)
            log.error("the log cannot be folded any further", extra={"why": why})
            context.readiness.waiting(LOG, why)
        except* Unavailable as errors:
            why = "; ".join(str(each) for each in errors.exceptions)
            log.error("the catalog is opened again", extra={"why": why})
            context.readiness.waiting(CATALOG, why)
        finally:
            catalog.close()
        if LOG in context.readiness.waits_for:
            await asyncio.Event().wait()  # a newer fetcher may take the catalog, this one never again
        await context.clock.sleep(STANDBY_SECONDS)


async def _keep(context: ServiceContext, bus: NatsBus, store: DiskBlobStore, catalog: SqliteCatalog) -> None:
    """Raises an ExceptionGroup as soon as one of its parts fails."""
    kept = SqliteCare(catalog)
    care = Care(bus.log, catalog, kept, kept, store, context.clock)
    space_of = context.home.blobs
    making_room = Room(care, lambda space: quota_of(context.settings, space), lambda: Space.of(space_of))
    collecting = Collector(care, store, bus.tap, PeerReferences(context.home.socket(SERVICE)))
    listing = Listing(catalog)
    operator = Operator(care, listing, making_room, collecting)
    quarantine = Quarantine(store, bus.log, bus.tap, context.clock)
    checker = Checker(quarantine, kept, store.cids, listing.cids)
    reseeder = Reseeder(care, store, store.cids, operator, FormerCatalog(context.home))
    # httptools would send chunks even to a client of HTTP/1.0
    serving = serving_on_socket(_commands(operator, checker, reseeder), context.home.commands, http="h11")
    async with serving, asyncio.TaskGroup() as parts:
        context.readiness.ready(CATALOG)
        parts.create_task(librarian.keep(catalog, bus.log))
        parts.create_task(stock.tell(catalog, bus.log.end, context.home.blobs, context.clock))
        parts.create_task(uses.note(bus.tap, kept, context.clock))
        parts.create_task(quarantine.listen(MISMATCH))
        parts.create_task(quarantine.listen(MISREAD))
        parts.create_task(room.keep(making_room, LOOK_SECONDS))
        parts.create_task(collector.keep(collecting, LOOK_SECONDS))


def _commands(operator: Operator, checker: Checker, reseeder: Reseeder) -> Starlette:
    return commands_app(
        [
            Command("pin", Selection, operator.pin),
            Command("unpin", Selection, operator.unpin),
            Command("evict", Selection, operator.evict),
            Command("collect", Collect, operator.collect),
            Command("check", Check, checker.check),
            Command("repair", Repair, reseeder.repair),
        ]
    )
