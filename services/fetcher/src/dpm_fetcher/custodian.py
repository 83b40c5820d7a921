"""The fetcher that holds the catalog's lock: it folds, notes last uses, and keeps the store within its bounds.

The others stand by for it.
"""

import asyncio
import logging

from dpm_core.errors import Conflict, Unavailable
from dpm_core.eviction import Quota, default_limit, default_reserve
from dpm_fetcher import collector, librarian, room, stock, uses
from dpm_fetcher.collector import Collector
from dpm_fetcher.room import Care, Room
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_runtime.disk import Space
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.service import ServiceContext
from dpm_runtime.settings import Settings
from dpm_runtime.store import DiskBlobStore

LOOK_SECONDS = 5.0
"""Between two looks at how full the store is, and at what is left over."""

STANDBY_SECONDS = 1.0
"""Between two looks whether the lock is free, or the catalog can be used again."""

log = logging.getLogger(__name__)


def quota_of(settings: Settings, space: Space) -> Quota:
    """What the settings allow on a disk; what they leave open follows from its size."""
    return Quota(
        default_limit(space.total) if settings.store_bytes is None else settings.store_bytes,
        settings.evict_from_percent / 100,
        settings.evict_to_percent / 100,
        default_reserve(space.total) if settings.reserve_bytes is None else settings.reserve_bytes,
    )


async def keep(context: ServiceContext, bus: NatsBus, store: DiskBlobStore) -> None:
    """Be the custodian, or stand by, for ever. Raises ReaderTooOld."""
    while True:
        try:
            catalog = SqliteCatalog.writer(context.home.catalog)
        except Conflict:
            await context.clock.sleep(STANDBY_SECONDS)
            continue
        except (Unavailable, OSError) as error:
            log.error("the catalog cannot be opened", extra={"why": str(error)})
            await context.clock.sleep(STANDBY_SECONDS)
            continue
        try:
            await _keep(context, bus, store, catalog)
        except* Unavailable as errors:
            log.error("the catalog is opened again", extra={"why": [str(each) for each in errors.exceptions]})
        finally:
            catalog.close()
        await context.clock.sleep(STANDBY_SECONDS)


async def _keep(context: ServiceContext, bus: NatsBus, store: DiskBlobStore, catalog: SqliteCatalog) -> None:
    """Raises an ExceptionGroup as soon as one of its parts fails."""
    kept = SqliteCare(catalog)
    care = Care(bus.log, catalog, kept, kept, store, context.clock)
    space_of = context.home.blobs
    making_room = Room(care, lambda space: quota_of(context.settings, space), lambda: Space.of(space_of))
    async with asyncio.TaskGroup() as parts:
        parts.create_task(librarian.keep(catalog, bus.log))
        parts.create_task(stock.tell(catalog, bus.log.end, context.home.blobs, context.clock))
        parts.create_task(uses.note(bus.tap, kept, context.clock))
        parts.create_task(room.keep(making_room, LOOK_SECONDS))
        parts.create_task(collector.keep(Collector(care, store, bus.tap), LOOK_SECONDS))
