"""Blobs that are not what their name says are set aside, and the log hears of it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from dpm_core.artifacts import Blob
from dpm_core.cids import Cid
from dpm_core.commands import Check
from dpm_core.events import BlobQuarantined
from dpm_core.registry import from_json
from dpm_core.taps import MISMATCH, REMOVED, Mismatch, Removed
from dpm_fetcher.check import LOST, Checker
from dpm_fetcher.quarantine import Quarantine
from dpm_testkit.catalog_conformance import ref
from dpm_testkit.catalog_conformance import stored as stored_event
from dpm_testkit.clock import ManualClock
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog, MemoryTap
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import eventually, soon, wait_on
from dpm_testkit.store_samples import BODY, SMALL, stored


@dataclass
class Bench:
    """A quarantine over memory twins, and a checker of all."""

    log: MemoryEventLog = field(default_factory=MemoryEventLog)
    files: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    tap: MemoryTap = field(default_factory=MemoryTap)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.quarantine = Quarantine(self.files, self.log, self.tap, self.clock)
        self.checker = Checker(self.quarantine, self.catalog, lambda: self.files.blobs, self.held)
        self.said: list[str] = []

    def held(self) -> set[Cid]:
        return {each.cid for each in self.catalog.holdings()}

    async def store(self, body: bytes, name: str) -> Blob:
        blob = await stored(self.files, len(self.log.events) + 1, body, name)
        await self.log.append(ref(name).topic, stored_event(name, blob))
        self.fold()
        return blob

    def fold(self) -> None:
        self.catalog.apply(self.log.recorded)

    @property
    def told(self) -> list[Cid]:
        """The blobs of which the log says that they were set aside."""
        return [event.cid for event in self.log.events if isinstance(event, BlobQuarantined)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_rotten_blob_is_set_aside_and_is_a_miss_for_all_that_have_it(bench: Bench) -> None:
    blob = await bench.store(SMALL, "wheel")
    await bench.store(SMALL, "copy")
    bench.files.spoil(blob.cid)
    assert await bench.quarantine.examine(blob.cid)
    assert bench.told == [blob.cid]
    bench.fold()
    assert bench.catalog.totals().artifacts == 0
    assert set(bench.files.quarantined) == {blob.cid}
    assert [from_json(message, Removed) for name, message in bench.tap.told if name == REMOVED] == [
        Removed((blob.cid,))
    ]


async def test_a_right_blob_stays_whatever_is_said_of_it(bench: Bench) -> None:
    blob = await bench.store(SMALL, "wheel")
    assert await bench.quarantine.examine(blob.cid) is None
    assert await bench.quarantine.examine(Cid.of_raw(bytes(32))) is None
    assert bench.told == []
    assert set(bench.files.blobs) == {blob.cid}


async def test_what_readers_tell_is_examined_and_nonsense_is_passed_over(bench: Bench) -> None:
    blob = await bench.store(BODY, "wheel")
    bench.files.spoil(blob.cid)
    listening = asyncio.create_task(bench.quarantine.listen(MISMATCH))

    async def found() -> bool:
        await bench.tap.tell(MISMATCH, {"cid": "no CID", "offset": 0})
        await bench.tap.tell(MISMATCH, "nonsense")
        await bench.tap.tell(MISMATCH, Mismatch(blob.cid, 5))
        return bool(bench.told)

    await eventually(found)
    listening.cancel()
    assert bench.told == [blob.cid]


async def test_without_a_bus_it_is_set_aside_at_once_and_told_later(bench: Bench) -> None:
    blob = await bench.store(SMALL, "wheel")
    bench.files.spoil(blob.cid)
    bench.log.down = True
    examining = asyncio.create_task(bench.quarantine.examine(blob.cid))
    await soon(asyncio.ensure_future(bench.clock.sleepers()))
    assert bench.files.blobs == {}
    await wait_on(examining)
    bench.log.down = False
    await bench.clock.advance(2.0)
    assert await soon(examining)
    assert bench.told == [blob.cid]


async def test_a_check_of_all_finds_what_rotted_and_what_is_gone(bench: Bench) -> None:
    right, rotten = await bench.store(BODY, "right"), await bench.store(SMALL, "rotten")
    gone = await bench.store(b"gone", "gone")
    bench.files.spoil(rotten.cid)
    del bench.files.blobs[gone.cid]
    await stored(bench.files, 9, b"nobody told of it", "stray")
    checked = await bench.checker.check(Check(), bench.said.append)
    assert (checked.blobs, checked.unnamed) == (3, 1)
    assert [bad.cid for bad in checked.bad] == [rotten.cid]
    assert checked.lost == (gone.cid,)
    assert set(bench.told) == {rotten.cid, gone.cid}
    assert any(LOST in said for said in bench.said)
    bench.fold()
    assert {each.cid for each in bench.catalog.holdings()} == {right.cid}
    again = await bench.checker.check(Check(), bench.said.append)
    assert (again.bad, again.lost) == ((), ())
