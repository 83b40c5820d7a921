"""What an operator may ask of the store: over the log in memory, and a real catalog."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_core.artifacts import Blob
from dpm_core.commands import Collect, Selection
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactEvicted, ArtifactPinned, ArtifactUnpinned, FetchRequested
from dpm_core.eviction import Quota
from dpm_fetcher import librarian
from dpm_fetcher.care import Care
from dpm_fetcher.collector import Collector
from dpm_fetcher.operator import ASKED_FOR, Operator
from dpm_fetcher.room import Room
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_runtime.catalog_listing import Listing
from dpm_runtime.disk import Space
from dpm_testkit.catalog_conformance import ref
from dpm_testkit.catalog_conformance import stored as stored_event
from dpm_testkit.clock import LeapingClock
from dpm_testkit.memory_log import MemoryEventLog, MemoryTap
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import soon, until, wait_on
from dpm_testkit.store_samples import BODY, SMALL, stored, want

BODIES = {"wheel": BODY, "sdist": SMALL, "page": SMALL[::-1]}


class Bench:
    """An operator of a store that holds BODIES."""

    def __init__(self, folder: Path) -> None:
        self.log = MemoryEventLog()
        self.files = MemoryBlobStore()
        self.catalog = SqliteCatalog.writer(folder)
        kept = SqliteCare(self.catalog)
        care = Care(self.log, self.catalog, kept, kept, self.files, LeapingClock(0.005))
        room = Room(care, lambda space: Quota(10**9), lambda: Space(10**12, 10**12))
        collector = Collector(care, self.files, MemoryTap())
        self.operator = Operator(care, Listing(self.catalog), room, collector)
        self.said: list[str] = []

    async def fill(self) -> None:
        for number, (name, body) in enumerate(BODIES.items(), start=1):
            blob = await stored(self.files, number, body, name)
            await self.append(name, blob)

    async def append(self, name: str, blob: Blob) -> None:
        sequence = await self.log.append(ref(name).topic, stored_event(name, blob))
        await until(lambda: self.catalog.position() >= sequence)

    @property
    def held(self) -> set[str]:
        return {name for name in BODIES if self.catalog.find(ref(name).id)}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    folding = asyncio.create_task(librarian.keep(bench.catalog, bench.log))
    await bench.fill()
    yield bench
    folding.cancel()
    bench.catalog.close()


def called(*names: str) -> Selection:
    return Selection(names)


async def test_a_pin_is_recorded_once_and_known_when_the_command_is_done(bench: Bench) -> None:
    changed = await bench.operator.pin(called("wheel-1.0"), bench.said.append)
    assert [item.name for item in changed.done] == ["wheel-1.0"]
    assert ArtifactPinned(ref("wheel")) in bench.log.events
    entry = bench.catalog.find(ref("wheel").id)
    assert entry is not None and entry.pinned
    again = await bench.operator.pin(called("wheel-1.0"), bench.said.append)
    assert [passed.why for passed in again.passed] == ["it is pinned already"]
    await bench.operator.unpin(called("wheel-1.0"), bench.said.append)
    assert bench.log.events[-1] == ArtifactUnpinned(ref("wheel"))


async def test_artifacts_are_selected_by_pattern_by_id_and_by_ecosystem(bench: Bench) -> None:
    listing = Listing(bench.catalog)

    def names(selection: Selection) -> list[str]:
        return [item.name for item in listing.select(selection)]

    assert names(called("*-1.0")) == ["page-1.0", "sdist-1.0", "wheel-1.0"]
    assert names(called("?dist-1.0", ref("page").id, "sdist*")) == ["sdist-1.0", "page-1.0"]
    assert names(called("[ws]*")) == []
    assert names(Selection(("*",), "oci")) == []


async def test_what_nobody_holds_cannot_be_pinned(bench: Bench) -> None:
    with pytest.raises(Unavailable, match="nothing that is held is called ghost or spectre"):
        await bench.operator.pin(called("ghost", "spectre"), bench.said.append)


async def test_what_is_being_fetched_is_pinned_once_that_is_over(bench: Bench) -> None:
    asked = FetchRequested(want(name="wheel"), bench.operator._care.clock.now() + 20, "gateway-0")
    await bench.log.append(ref("wheel").topic, asked)
    pinning = asyncio.create_task(bench.operator.pin(called("wheel-1.0"), bench.said.append))
    await wait_on(pinning)
    assert not any(isinstance(event, ArtifactPinned) for event in bench.log.events)
    assert (await soon(pinning)).done


async def test_what_is_evicted_by_name_is_a_miss_and_what_is_pinned_stays(bench: Bench) -> None:
    await bench.operator.pin(called("page-1.0"), bench.said.append)
    changed = await bench.operator.evict(called("sdist-1.0", "page-1.0"), bench.said.append)
    assert [item.name for item in changed.done] == ["sdist-1.0"]
    assert [(passed.item.name, passed.why) for passed in changed.passed] == [("page-1.0", "it is pinned")]
    assert bench.held == {"wheel", "page"}


async def test_a_dry_run_says_what_would_go_and_changes_nothing(bench: Bench) -> None:
    before = len(bench.log.events)
    collected = await bench.operator.collect(Collect(down_to=0, dry_run=True), bench.said.append)
    assert {item.name for item in collected.evicted} == {"wheel-1.0", "sdist-1.0", "page-1.0"}
    assert collected.freed == sum(map(len, BODIES.values()))
    assert len(bench.log.events) == before
    assert bench.held == set(BODIES)


async def test_room_is_made_down_to_what_was_asked_and_the_files_are_gone_then(bench: Bench) -> None:
    await bench.operator.pin(called("page-1.0"), bench.said.append)
    collected = await bench.operator.collect(Collect(down_to=len(SMALL)), bench.said.append)
    assert {item.name for item in collected.evicted} == {"wheel-1.0", "sdist-1.0"}
    assert collected.freed == len(BODY) + len(SMALL)
    assert bench.held == {"page"}
    assert set(bench.files.blobs.values()) == {BODIES["page"]}
    reasons = {event.reason for event in bench.log.events if isinstance(event, ArtifactEvicted)}
    assert reasons == {ASKED_FOR}
    assert len(bench.said) == 1


async def test_there_is_nothing_to_collect_in_a_store_with_room(bench: Bench) -> None:
    collected = await bench.operator.collect(Collect(), bench.said.append)
    assert (collected.evicted, collected.leftovers, collected.freed) == ((), (), 0)
    assert bench.held == set(BODIES)
