"""What a fetcher does about a want that is a copy of what is held under another name."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.dates import read_date
from dpm_core.digests import Digest
from dpm_core.events import ArtifactStored, Event, FailReason, FetchFailed
from dpm_fetcher.copying import HeldOrigin
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.waiters import Waiters
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.clock import QuickClock
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_samples import content

URL = "http://upstream.example/Release"
NEW = b"what upstream has now"


def _want(key: str) -> Want:
    ref = ArtifactRef("made-up", "http://upstream.example/", key)
    return Want(ref, key, URL, Lane.INDEX, fresh_for=300.0, keeps=("link",))


NEWEST = _want("Release#newest")


def copy_of(body: bytes) -> Want:
    """What is shown, to be a copy of the newest if that has these bytes."""
    digest = Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")
    return replace(_want("Release"), digests=(digest,), copies=NEWEST.ref.id)


class Bench:
    """A fetcher whose upstream has the newest."""

    def __init__(self, store: MemoryBlobStore | DiskBlobStore) -> None:
        self.log = MemoryEventLog()
        self.store = store
        self.catalog = MemoryCatalog()
        self.origin = MemoryOrigin()
        self.lanes = Lanes({Lane.INDEX: 1}, 1, patience=0.1)
        clock = QuickClock()
        self.fetcher = Fetcher(
            "fetcher-0", self.log, store, [self.origin], self.lanes, Waiters(clock, lambda: True), clock,
            Limits(5.0, 30.0), copying=HeldOrigin(self.catalog, store),
        )  # fmt: skip

    async def upstream_has(self, body: bytes) -> None:
        """The newest is fetched, and the catalog knows of it."""
        self.origin.has(URL, body).fields = (("link", "</next>"),)
        assert isinstance(await self.fetch(NEWEST), ArtifactStored)

    async def fetch(self, want: Want) -> Event:
        """What a request comes to."""
        await self.fetcher.on_request(await self.log.request(want))
        ended = await self.log.last(want.ref.topic)
        assert ended is not None
        self.catalog.apply([ended])
        return ended.event


@pytest.fixture(params=["memory", "disk"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield Bench(MemoryBlobStore())
        return
    home = Home(tmp_path)
    home.prepare()
    store = DiskBlobStore(home)
    yield Bench(store)
    await store.close()


async def test_a_copy_has_the_bytes_that_are_held_and_all_that_is_known_of_them(bench: Bench) -> None:
    await bench.upstream_has(NEW)
    asked = list(bench.origin.asked)
    bench.origin.down = True
    async with bench.lanes.slot(NEWEST):  # what comes from far away may take all the room there is
        stored = await bench.fetch(copy_of(NEW))
    assert isinstance(stored, ArtifactStored)
    assert bench.origin.asked == asked
    newest, shown = bench.catalog.find(NEWEST.ref.id), bench.catalog.find(stored.ref.id)
    assert newest is not None
    assert shown is not None
    assert shown.blob == newest.blob
    assert (shown.media_type, shown.validators.etag) == (newest.media_type, newest.validators.etag)
    assert (int(shown.modified), shown.fields) == (int(newest.modified), (("link", "</next>"),))
    assert await content(bench.store, shown.blob.cid) == NEW


async def test_a_copy_is_later_than_the_one_that_it_takes_the_place_of(bench: Bench) -> None:
    dates = []
    for body in (b"first", b"second", NEW, NEW):  # all within a second or two
        await bench.upstream_has(body)
        stored = await bench.fetch(copy_of(body))
        assert isinstance(stored, ArtifactStored)
        dates.append(read_date(stored.validators.last_modified or ""))
    first, second, third, again = dates
    assert first is not None and second is not None and third is not None
    assert first < second < third == again


async def test_a_copy_is_vouched_for_no_more_than_what_it_is_a_copy_of(bench: Bench) -> None:
    await bench.upstream_has(NEW)
    stored = await bench.fetch(copy_of(NEW))
    assert isinstance(stored, ArtifactStored)
    assert not stored.vouched


async def test_a_lost_log_is_told_of_a_copy_and_of_what_it_is_a_copy_of(bench: Bench) -> None:
    await bench.upstream_has(NEW)
    stored = await bench.fetch(copy_of(NEW))
    assert isinstance(stored, ArtifactStored)
    sidecar = bench.store.sidecar(stored.blob.cid)
    assert sidecar is not None
    assert {kept.ref.key for kept in sidecar.artifacts.values()} == {"Release", "Release#newest"}


async def test_what_is_out_of_date_by_now_is_not_made_a_copy_of(bench: Bench) -> None:
    await bench.upstream_has(b"what upstream had")
    await bench.upstream_has(NEW)
    failed = await bench.fetch(copy_of(b"what upstream had"))
    assert isinstance(failed, FetchFailed)
    assert (failed.reason, failed.status) == (FailReason.UNAVAILABLE, None)


async def test_what_is_not_held_has_no_copy_though_upstream_has_it(bench: Bench) -> None:
    bench.origin.has(URL, NEW)
    failed = await bench.fetch(copy_of(NEW))
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE
    assert bench.origin.asked == []


async def test_what_has_left_the_store_has_no_copy(bench: Bench) -> None:
    await bench.upstream_has(NEW)
    entry = bench.catalog.find(NEWEST.ref.id)
    assert entry is not None
    await bench.store.remove(entry.blob.cid)
    failed = await bench.fetch(copy_of(NEW))
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE


async def test_what_has_rotted_is_not_copied() -> None:
    bench = Bench(store := MemoryBlobStore())
    await bench.upstream_has(NEW)
    entry = bench.catalog.find(NEWEST.ref.id)
    assert entry is not None
    store.spoil(entry.blob.cid)
    failed = await bench.fetch(copy_of(NEW))
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE
