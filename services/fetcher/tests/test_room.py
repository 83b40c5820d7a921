"""Room is made by last use, from memory twins: what goes, what stays, and what the log is told."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.artifacts import Blob
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    Event,
    FetchRequested,
    FetchStarted,
)
from dpm_core.eviction import Quota
from dpm_core.ports import Holding
from dpm_fetcher.care import Care
from dpm_fetcher.room import FOR_ROOM, Room
from dpm_runtime.disk import Space
from dpm_runtime.service import SystemClock
from dpm_testkit.catalog_conformance import ref, stored
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_samples import want

NAMES = ("a", "b", "c", "d")
DISK = Space(total=10**9, free=10**9)


def sized(name: str, size: int) -> Blob:
    digest = hashlib.sha256(name.encode())
    return Blob(Cid.of_raw(digest.digest()), size, (Digest(f"sha256:{digest.hexdigest()}"),))


@dataclass
class Bench:
    """A room over memory twins; ``limit`` and ``reserve`` in bytes, ``disk`` as it is at the moment."""

    limit: int = 1000
    reserve: int = 0
    disk: Space = DISK
    log: MemoryEventLog = field(default_factory=MemoryEventLog)
    store: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)

    def __post_init__(self) -> None:
        care = Care(self.log, self.catalog, self.catalog, self.catalog, self.store, SystemClock())
        self.room = Room(care, lambda space: Quota(self.limit, reserve=self.reserve), lambda: self.disk)

    async def append(self, event: Event, name: str) -> int:
        return await self.log.append(ref(name).topic, event)

    def fold(self) -> None:
        self.catalog.apply(self.log.recorded)

    async def hold(self, name: str, size: int, used_at: float, blob: Blob | None = None) -> None:
        """An artifact that is in the store, and was last used then."""
        await self.append(stored(name, blob or sized(name, size)), name)
        self.fold()
        self.catalog.use({ref(name).id: time.time() + used_at})

    @property
    def held(self) -> set[str]:
        self.fold()
        return {name for name in NAMES if self.catalog.find(ref(name).id)}


async def three() -> Bench:
    """Three artifacts of 320 bytes each, ``b`` used longest ago, then ``c``, then ``a``."""
    bench = Bench()
    for name, used_at in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        await bench.hold(name, 320, used_at)
    return bench


async def test_what_was_used_longest_ago_goes_first_and_no_more_than_need_be() -> None:
    bench = await three()
    assert [each.cid for each in await bench.room.look()] == [sized("b", 320).cid]
    assert bench.held == {"a", "c"}
    assert bench.log.events[-1] == ArtifactEvicted(ref("b"), sized("b", 320).cid, FOR_ROOM)
    assert await bench.room.look() == []


async def test_a_store_that_is_not_too_full_loses_nothing() -> None:
    bench = await three()
    bench.limit = 1200
    assert await bench.room.look() == []


async def test_what_is_pinned_stays_though_it_was_used_longest_ago() -> None:
    bench = await three()
    await bench.append(ArtifactPinned(ref("b")), "b")
    bench.fold()
    await bench.room.look()
    assert bench.held == {"a", "b"}


async def test_a_pin_that_the_catalog_does_not_know_yet_counts_too() -> None:
    bench = await three()
    await bench.append(ArtifactPinned(ref("b")), "b")
    await bench.room.look()
    assert bench.held == {"a", "b"}


async def test_what_is_asked_for_or_fetched_right_now_stays() -> None:
    bench = await three()
    sequence = await bench.append(FetchRequested(want(name="b"), time.time() + 30, "gateway-0"), "b")
    bench.fold()
    assert await bench.room.look() != []
    assert bench.held == {"a", "b"}
    attempt = await bench.store.begin(want(name="b"))
    await attempt.start(await bench.append(FetchStarted(want(name="b"), sequence, "fetcher-0"), "b"))
    bench.limit = 600
    bench.fold()
    await bench.room.look()
    assert bench.held == {"b"}


async def test_bytes_that_two_have_go_with_both_or_stay_with_both() -> None:
    bench = await three()
    await bench.hold("d", 320, 15.0, sized("b", 320))
    await bench.append(FetchRequested(want(name="d"), time.time() + 30, "gateway-0"), "d")
    bench.fold()
    await bench.room.look()
    assert bench.held == {"a", "b", "d"}
    await bench.append(stored("d", sized("b", 320)), "d")
    bench.limit = 600
    bench.fold()
    bench.catalog.use({ref("a").id: time.time() + 100})
    await bench.room.look()
    assert bench.held == {"a"}


async def test_a_disk_that_runs_full_makes_room_though_little_is_held() -> None:
    bench = await three()
    bench.limit, bench.reserve = 10**6, 200
    bench.disk = Space(total=10**6, free=200)
    assert await bench.room.look() == []
    bench.disk = Space(total=10**6, free=199)
    await bench.room.look()
    assert bench.held == {"a", "c"}
    # its file is still there, and counts as free already
    assert await bench.room.look() == []


async def test_what_cannot_be_read_now_is_left_for_later() -> None:
    bench = await three()
    bench.log.down = True
    try:
        await bench.room.look()
    except Unavailable:
        bench.log.down = False
    await bench.room.look()
    assert bench.held == {"a", "c"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 9), st.sampled_from(NAMES)), max_size=12),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(NAMES)),
)
def test_whatever_is_held_room_is_made_and_nothing_goes_that_must_stay(
    history: list[tuple[int, int, str]], pinned: set[str], asked: set[str]
) -> None:
    asyncio.run(_room_is_made(history, pinned, asked))


async def _room_is_made(history: list[tuple[int, int, str]], pinned: set[str], asked: set[str]) -> None:
    bench = Bench(limit=600)
    for size, used_at, name in history:
        await bench.hold(name, size, float(used_at), sized(f"{name} {size}", size))
    for name in pinned:
        await bench.append(ArtifactPinned(ref(name)), name)
    for name in asked:
        await bench.append(FetchRequested(want(name=name), time.time() + 30, "gateway-0"), name)
    bench.fold()
    before: dict[str, Holding] = {each.artifacts[0]: each for each in bench.catalog.holdings()}
    too_much = bench.catalog.totals().bytes > 540
    await bench.room.look()
    bench.fold()
    after = {each.artifacts[0]: each for each in bench.catalog.holdings()}
    gone = [each for artifact_id, each in before.items() if artifact_id not in after]
    bound = {ref(name).id for name in pinned | asked}
    assert not any(each.artifacts[0] in bound for each in gone)
    if not too_much:
        assert gone == []
    free_to_go = [each for artifact_id, each in after.items() if artifact_id not in bound]
    assert not too_much or bench.catalog.totals().bytes <= 480 or free_to_go == []
    if gone:
        newest = max(each.used_at for each in gone)
        assert all(each.used_at >= newest for each in free_to_go)
