"""Folds the log into the catalog: one fetcher of a node does, whichever holds the catalog's lock."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

from dpm_core.decisions import Recorded
from dpm_core.fold import is_folded
from dpm_core.ports import Catalog, EventLog
from dpm_core.registry import type_of
from dpm_runtime.meters import counter

BATCH = 500
"""Events a transaction takes at most; while fewer come they are folded at once."""

PATIENCE_SECONDS = 0.1
"""A transaction for each step of a fetch would be two too many: those steps that change nothing wait so long."""

log = logging.getLogger(__name__)
_folded = counter(
    "dpm.catalog.folded",
    "{event}",
    "events folded into the catalog; a new catalog folds all of the log again",
    event="their type: `artifact-stored`, `blob-quarantined`, …",
)


async def keep(catalog: Catalog, events: EventLog) -> None:
    """Fold everything from the catalog's position on, for ever.

    Raises ReaderTooOld at an event that this version cannot read: folding on would make the catalog wrong.
    """
    async for batch in _batches(events.follow(None, after=catalog.position())):
        await asyncio.to_thread(catalog.apply, batch)
        for kind, count in Counter(type_of(recorded.event).name for recorded in batch).items():
            _folded.add(count, {"event": kind})


async def _batches(events: AsyncIterator[Recorded]) -> AsyncIterator[list[Recorded]]:
    """What has come since the last batch was taken; at least one event each.

    Requests and beginnings, of which a catalog says nothing, wait for what comes of them, but not for long.
    """
    queue: asyncio.Queue[Recorded] = asyncio.Queue(maxsize=BATCH)

    async def fill() -> None:
        async for recorded in events:
            await queue.put(recorded)

    filling, first = asyncio.create_task(fill()), asyncio.ensure_future(queue.get())
    try:
        while True:
            await asyncio.wait({first, filling}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                filling.result()
                return
            batch = [first.result()]
            folded = is_folded(batch[0].event)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while len(batch) < BATCH and not (folded and queue.empty()):
                        batch.append(await queue.get())
                        folded = folded or is_folded(batch[-1].event)
            yield batch
            first = asyncio.ensure_future(queue.get())
    finally:
        filling.cancel()
        first.cancel()
