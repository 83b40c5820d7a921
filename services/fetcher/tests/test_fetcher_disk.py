"""What a fetcher does about a disk that is full, and about one that fails."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from dpm_core.artifacts import Lane, Want
from dpm_core.errors import DiskFails
from dpm_core.events import ArtifactStored, FailReason, FetchFailed, FetchRequested, FetchStarted
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.transfer import ROOM_LOOKS
from dpm_fetcher.waiters import Waiters
from dpm_runtime.home import Home
from dpm_runtime.react import Done
from dpm_runtime.service import SystemClock
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.disks import failing_disk
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import soon, until
from dpm_testkit.store_samples import BODY, GOT, all_of, content, following, stored, want


class Pauses(SystemClock):
    """Real time, but nobody waits: ``pause`` is called instead."""

    def __init__(self) -> None:
        self.count = 0
        self.pause: Callable[[int], None] = lambda count: None

    async def sleep(self, seconds: float) -> None:
        self.count += 1
        self.pause(self.count)
        await asyncio.sleep(0)


class Bench:
    """A fetcher with this store, and an upstream that has the wheel."""

    def __init__(self, store: MemoryBlobStore | DiskBlobStore) -> None:
        self.log = MemoryEventLog()
        self.clock = Pauses()
        self.origin = MemoryOrigin()
        self.wheel = self.origin.has(want().url, BODY)
        self.fetcher = Fetcher(
            "fetcher-0", self.log, store, [self.origin], Lanes({Lane.BLOB: 2}, 2),
            Waiters(self.clock, lambda: True), self.clock, Limits(5.0, 30.0),
        )  # fmt: skip

    async def fetch(self, it: Want) -> None:
        """Settle a request."""
        request = await self.log.request(it)
        assert await soon(asyncio.ensure_future(self.fetcher.on_request(request))) == Done()

    def why(self) -> str:
        """What is recorded of a disk that did not take the wheel."""
        failed = self.log.events[-1]
        assert isinstance(failed, FetchFailed)
        assert failed.reason is FailReason.DISK
        assert failed.retry_after == 30.0
        return failed.detail


async def test_while_the_disk_is_full_upstream_is_not_asked() -> None:
    store = MemoryBlobStore()
    bench = Bench(store)
    store.full = True
    await bench.fetch(want())
    assert "No space left on device (free space on the node's disk, or" in bench.why()
    assert [type(event) for event in bench.log.events] == [FetchRequested, FetchFailed]
    assert bench.origin.asked == []
    store.full = False
    await bench.fetch(want())
    assert isinstance(bench.log.events[-1], ArtifactStored)


async def runs_full(bench: Bench, store: MemoryBlobStore) -> None:
    """Fetch the wheel, with a disk that is full once GOT bytes of it are here."""
    bench.wheel.waits_at = GOT
    fetching = asyncio.create_task(bench.fetch(want()))
    await until(lambda: (view := store.view(want().ref.id, 2)) and view.written == GOT)
    store.full = True
    bench.wheel.go.set()
    await soon(fetching)


async def test_a_transfer_that_finds_the_disk_full_waits_for_room() -> None:
    store = MemoryBlobStore()
    bench = Bench(store)

    def make_room(count: int) -> None:
        store.full = count < ROOM_LOOKS

    bench.clock.pause = make_room
    await runs_full(bench, store)
    assert isinstance(bench.log.events[-1], ArtifactStored)
    assert len(bench.origin.asked) == 1


async def test_where_no_room_is_made_the_transfer_ends_and_upstream_is_asked_once() -> None:
    store = MemoryBlobStore()
    bench = Bench(store)
    await runs_full(bench, store)
    assert "No space left" in bench.why()
    assert (bench.clock.count, len(bench.origin.asked)) == (ROOM_LOOKS, 1)


async def test_an_attempt_that_cannot_even_write_that_it_failed_lets_go(home: Home, store: DiskBlobStore) -> None:
    bench = Bench(store)
    bench.wheel.waits_at, bench.wheel.breaks_after = GOT, GOT + 1
    fetching = asyncio.create_task(bench.fetch(want()))
    await until(lambda: (view := store.view(want().ref.id, 2)) and view.written == GOT)
    (home.incoming / want().ref.id / "2" / ".state.json").mkdir()  # in the way of the next state
    bench.origin.down = bench.log.down = True
    bench.wheel.go.set()
    await until(lambda: (view := store.view(want().ref.id, 2)) and not view.locked)
    bench.log.down = False
    await soon(fetching)
    assert isinstance(bench.log.events[-1], FetchFailed)


@pytest.mark.real
async def test_a_disk_that_fails_keeps_nothing_and_everybody_gets_the_right_bytes(tmp_path: Path) -> None:
    with failing_disk(tmp_path / "disk", mib=32) as disk:
        home = Home(disk.folder)
        home.prepare()
        async with DiskBlobStore(home) as store:
            held = await stored(store, 3, BODY[:GOT], "held")
            disk.lose_all_behind(store.path(held.cid))
            bench = Bench(store)
            for _ in range(2):
                await bench.fetch(want())
                assert "Input/output error (look at the health of the node's disk" in bench.why()
                token = len(bench.log.events) - 1
                assert isinstance(bench.log.events[token - 1], FetchStarted)
                growing = await following(store, token)
                assert await all_of(growing) == BODY
                growing.close()
            assert await content(store, held.cid) == BODY[:GOT]
            assert list(store.cids()) == [held.cid]


async def test_a_disk_that_fails_is_not_waited_for() -> None:
    store = MemoryBlobStore()
    bench = Bench(store)

    def broken() -> None:
        if bench.origin.asked:
            raise DiskFails("cannot write what was fetched: Input/output error", retry_after=30.0, lasting=True)

    store.require_room = broken  # type: ignore[method-assign]
    await bench.fetch(want())
    assert "Input/output error" in bench.why()
    assert (bench.clock.count, len(bench.origin.asked)) == (0, 1)
