"""The log is folded as it comes, and nothing of that outlives its end."""

import asyncio

from dpm_fetcher import librarian
from dpm_testkit.catalog_conformance import ref, stored
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.patience import soon, until


async def test_events_are_folded_as_they_come_and_no_task_is_left_behind() -> None:
    catalog, log = MemoryCatalog(), MemoryEventLog()
    before = asyncio.all_tasks()
    keeping = asyncio.create_task(librarian.keep(catalog, log))
    for count, name in enumerate(("wheel", "sdist"), start=1):
        await log.append(ref(name).topic, stored(name))
        await until(lambda count=count: catalog.position() == count)  # type: ignore[misc]
    keeping.cancel()
    await asyncio.wait({keeping})
    left = asyncio.all_tasks() - before
    await soon(asyncio.gather(*left, return_exceptions=True))
    assert all(task.cancelled() for task in left)
