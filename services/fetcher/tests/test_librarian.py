"""The log is folded as it comes, and nothing of that outlives its end."""

import asyncio
from collections.abc import Iterable

import pytest

from dpm_core.decisions import Recorded
from dpm_core.events import FetchRequested, FetchStarted
from dpm_fetcher import librarian
from dpm_testkit.catalog_conformance import ref, stored
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.patience import PATIENCE, soon, until
from dpm_testkit.store_samples import want


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


class Counted(MemoryCatalog):
    """A catalog that notes how many events each transaction took."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    def apply(self, events: Iterable[Recorded]) -> None:
        taken = list(events)
        self.taken.append(len(taken))
        super().apply(taken)


async def test_the_steps_of_a_fetch_are_folded_with_what_comes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librarian, "PATIENCE_SECONDS", PATIENCE)
    catalog, log = Counted(), MemoryEventLog()
    keeping = asyncio.create_task(librarian.keep(catalog, log))
    it = want()
    await log.append(it.ref.topic, FetchRequested(it, 0.0, "gateway-0"))
    await log.append(it.ref.topic, FetchStarted(it, 1, "fetcher-0"))
    await log.append(ref("wheel").topic, stored("wheel"))
    await until(lambda: catalog.position() == 3)
    assert catalog.taken == [3]
    keeping.cancel()
    await asyncio.wait({keeping})


async def test_a_step_that_nothing_comes_of_is_folded_a_little_later() -> None:
    catalog, log = Counted(), MemoryEventLog()
    keeping = asyncio.create_task(librarian.keep(catalog, log))
    it = want()
    await log.append(it.ref.topic, FetchRequested(it, 0.0, "gateway-0"))
    await until(lambda: catalog.position() == 1)
    keeping.cancel()
    await asyncio.wait({keeping})
