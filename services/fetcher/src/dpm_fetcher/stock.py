"""What the node holds and how far its catalog is: told by the fetcher that keeps the catalog, and by no other."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from dpm_core.errors import DpmError
from dpm_core.ports import Catalog, Clock, Totals
from dpm_runtime.meters import Kind, observed

LOOK_SECONDS = 10.0
"""Between two looks at the catalog: with a million artifacts one takes a tenth of a second."""

_artifacts = observed("dpm.store.artifacts", Kind.GAUGE, "{artifact}", "artifacts that are held")
_blobs = observed("dpm.store.blobs", Kind.GAUGE, "{blob}", "blobs that are held; several artifacts may share one")
_size = observed("dpm.store.size", Kind.GAUGE, "By", "bytes of all blobs that are held")
_behind = observed("dpm.catalog.behind", Kind.GAUGE, "{event}", "events of the log that the catalog lags behind")
_usage = observed(
    "system.filesystem.usage",
    Kind.GAUGE,
    "By",
    "the file system that the blob store is on",
    system__filesystem__state="`used`, `free`, or `reserved` for root",
)

log = logging.getLogger(__name__)


async def tell(catalog: Catalog, end: Callable[[], Awaitable[int]], store: Path, clock: Clock) -> None:
    """Show them until cancelled; what cannot be found out stays as it was.

    ``end`` gives the sequence of the log's last event, ``store`` is the folder of the blobs.
    """
    totals, behind = Totals(0, 0, 0), 0
    with ExitStack() as shown:
        shown.enter_context(_artifacts.by(lambda: [(totals.artifacts, {})]))
        shown.enter_context(_blobs.by(lambda: [(totals.blobs, {})]))
        shown.enter_context(_size.by(lambda: [(totals.bytes, {})]))
        shown.enter_context(_behind.by(lambda: [(behind, {})]))
        shown.enter_context(_usage.by(lambda: _used(store)))
        while True:
            try:
                totals = await asyncio.to_thread(catalog.totals)
                # the position after the end: what comes in between must not look like a lag
                last = await end()
                behind = max(0, last - await asyncio.to_thread(catalog.position))
            except DpmError as error:
                log.debug("cannot say what is held: %s", error)
            await clock.sleep(LOOK_SECONDS)


def _used(store: Path) -> list[tuple[float, dict[str, str]]]:
    try:
        of = os.statvfs(store)
    except OSError:
        return []
    blocks = {"used": of.f_blocks - of.f_bfree, "free": of.f_bavail, "reserved": of.f_bfree - of.f_bavail}
    return [(count * of.f_frsize, {"system.filesystem.state": state}) for state, count in blocks.items()]
