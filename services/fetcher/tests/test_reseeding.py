"""A log that was lost is told again what lies in the store: over the log in memory, and a real catalog."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dpm_core.cids import Cid, cid_of
from dpm_core.commands import Repair, Repaired, Selection
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactEvicted, ArtifactPinned, ArtifactStored, FetchRequested
from dpm_core.eviction import Quota
from dpm_core.ports import Entry
from dpm_fetcher import librarian
from dpm_fetcher.care import Care
from dpm_fetcher.collector import Collector
from dpm_fetcher.operator import Operator
from dpm_fetcher.reseeding import UNKNOWN, Reseeder
from dpm_fetcher.room import Room
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_runtime.catalog_listing import Listing
from dpm_runtime.disk import Space
from dpm_runtime.home import Home
from dpm_runtime.lost_log import FormerCatalog, forget_sequences
from dpm_testkit.clock import LeapingClock
from dpm_testkit.memory_log import MemoryEventLog, MemoryTap
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import until
from dpm_testkit.store_samples import BODY, SMALL, stored, want

PAGE, NEWER = SMALL[::-1], SMALL[::-1][:500]


class Node:
    """A store, and one log after another."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.clock = LeapingClock(0.005)
        self.store = MemoryBlobStore(self.clock.now)
        self.on_disk: Callable[[], list[Cid]] = lambda: list(self.store.blobs)

    @asynccontextmanager
    async def log(self) -> AsyncIterator["Life"]:
        """A new log, and the catalog that is folded from it; lost at the end."""
        life = Life(self)
        folding = asyncio.create_task(librarian.keep(life.catalog, life.log))
        try:
            yield life
        finally:
            folding.cancel()
            life.catalog.close()
            forget_sequences(self.home)


class Life:
    """The life of one log."""

    def __init__(self, node: Node) -> None:
        self.log = MemoryEventLog()
        self.catalog = SqliteCatalog.writer(node.home.catalog)
        kept = SqliteCare(self.catalog)
        care = Care(self.log, self.catalog, kept, kept, node.store, node.clock)
        room = Room(care, lambda space: Quota(10**9), lambda: Space(10**12, 10**12))
        self.uses = kept
        self.operator = Operator(care, Listing(self.catalog), room, Collector(care, node.store, MemoryTap()))
        self.reseeder = Reseeder(care, node.store, node.on_disk, self.operator, FormerCatalog(node.home))
        self.said: list[str] = []
        self._node = node

    async def fetched(self, name: str, body: bytes) -> None:
        """An artifact goes its whole way."""
        token = len(self.log.events) + 1
        blob = await stored(self._node.store, token, body, name)
        about = self._node.store.sidecars[blob.cid].artifacts[want(name=name).ref.id]
        self._node.store.attempts.clear()
        sequence = await self.log.append(about.ref.topic, replace(about.stored(blob), stored_at=None))
        await until(lambda: self.catalog.position() >= sequence)

    async def repair(self) -> Repaired:
        return await self.reseeder.repair(Repair(), self.said.append)

    def entry(self, name: str) -> Entry | None:
        return self.catalog.find(want(name=name).ref.id)

    def held(self, name: str) -> Entry:
        entry = self.entry(name)
        assert entry is not None
        return entry


@pytest.fixture
def node(home: Home) -> Node:
    return Node(home)


async def test_what_was_held_is_held_again_as_it_was(node: Node) -> None:
    names = ("wheel", "sdist", "copy")
    async with node.log() as first:
        for name, body in zip(names, (BODY, SMALL, SMALL), strict=True):
            await first.fetched(name, body)
        before = {name: first.held(name) for name in names}
    async with node.log() as second:
        assert not any(map(second.entry, names))
        done = await second.repair()
        assert (done.blobs, done.told, done.known, done.busy, done.bad) == (2, 3, 0, (), ())
        for name, entry in before.items():
            again = second.held(name)
            assert again.stored_at <= entry.stored_at  # the time of the file, just before that of its event
            assert replace(again, token=0, stored_at=0, checked_at=0) == replace(
                entry, token=0, stored_at=0, checked_at=0
            )
        assert {event.source.name for event in second.log.events if isinstance(event, ArtifactStored)} == {
            "upstream.example"
        }
        repeated = await second.repair()
        assert (repeated.told, repeated.known) == (0, 3)
        assert len(second.log.events) == 3


async def test_nothing_is_told_to_a_log_that_lacks_nothing(node: Node) -> None:
    async with node.log() as life:
        await life.fetched("wheel", BODY)
        await life.fetched("copy", BODY)
        await life.operator.evict(Selection((want(name="copy").ref.id,)), life.said.append)
        before = len(life.log.events)
        done = await life.repair()
        assert (done.told, done.known, done.evicted) == (0, 1, 1)
        assert len(life.log.events) == before
        assert isinstance(life.log.events[-1], ArtifactEvicted)


@pytest.mark.parametrize("newer_first", [True, False])
async def test_of_two_pages_of_one_name_the_newer_counts_whichever_is_found_first(
    node: Node, newer_first: bool
) -> None:
    async with node.log() as first:
        await first.fetched("page", PAGE)
        await first.fetched("page", NEWER)
    cids = [cid_of([NEWER]), cid_of([PAGE])]
    async with node.log() as second:
        for cid in cids if newer_first else cids[::-1]:
            node.on_disk = lambda cid=cid: [cid]  # type: ignore[misc]
            second.reseeder._on_disk = node.on_disk
            await second.repair()
        assert second.held("page").blob.cid == cid_of([NEWER])


async def test_what_nobody_can_name_is_told_of_and_the_rest_is_mended(node: Node) -> None:
    async with node.log() as first:
        await first.fetched("wheel", BODY)
        await first.fetched("sdist", SMALL)
    lost = cid_of([SMALL])
    del node.store.sidecars[lost]
    async with node.log() as second:
        done = await second.repair()
        assert (done.told, [(bad.cid, bad.why) for bad in done.bad]) == (1, [(lost, UNKNOWN)])
        assert second.said == [f"{lost}: {UNKNOWN}"]
        assert second.entry("wheel") and not second.entry("sdist")


async def test_what_is_being_fetched_is_named_if_that_takes_too_long(node: Node) -> None:
    async with node.log() as first:
        await first.fetched("wheel", BODY)
    async with node.log() as second:
        asked = FetchRequested(want(), node.clock.now() + 10_000, "gateway-0")
        await second.log.append(want().ref.topic, asked)
        done = await second.repair()
        assert (done.told, done.busy) == (0, ("wheel",))


async def test_pins_and_last_uses_outlive_the_log(node: Node) -> None:
    async with node.log() as first:
        for name, body in (("wheel", BODY), ("sdist", SMALL)):
            await first.fetched(name, body)
        await first.operator.pin(Selection(("wheel",)), first.said.append)
        first.uses.use({want(name="sdist").ref.id: node.clock.now() + 99})
        order = [holding.cid for holding in first.uses.holdings()]
    async with node.log() as second:
        done = await second.repair()
        assert done.pinned == 1
        assert second.held("wheel").pinned and not second.held("sdist").pinned
        assert second.log.events[-1] == ArtifactPinned(want().ref)
        assert [holding.cid for holding in second.uses.holdings()] == order
        assert not FormerCatalog(node.home).read()
    async with node.log() as third:  # lost again
        await third.repair()
        assert third.held("wheel").pinned


async def test_without_a_bus_it_says_so_and_goes_on_where_it_was_when_asked_again(node: Node) -> None:
    async with node.log() as first:
        await first.fetched("wheel", BODY)
    async with node.log() as second:
        second.log.down = True
        with pytest.raises(Unavailable):
            await second.repair()
        second.log.down = False
        assert (await second.repair()).told == 1
