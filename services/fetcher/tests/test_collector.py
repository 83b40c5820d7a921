"""Files of blobs that nobody has any more go, and no others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from dpm_core.artifacts import Blob
from dpm_core.cids import Cid
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactEvicted, Event, FetchStarted
from dpm_core.ports import References
from dpm_core.registry import from_json
from dpm_core.taps import REMOVED, Removed
from dpm_fetcher.care import Care
from dpm_fetcher.collector import GRACE_SECONDS, REFERENCE_SECONDS, Collector
from dpm_testkit.catalog_conformance import ref
from dpm_testkit.catalog_conformance import stored as stored_event
from dpm_testkit.clock import ManualClock
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog, MemoryTap
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_samples import SMALL, UPSTREAM, attempting, open_state, stored, want

OTHER = SMALL[::-1]


@dataclass
class Bench:
    """A collector over memory twins; ``store`` puts a body into the store and the log, folded or not."""

    log: MemoryEventLog = field(default_factory=MemoryEventLog)
    files: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    tap: MemoryTap = field(default_factory=MemoryTap)
    references: References | None = None

    def __post_init__(self) -> None:
        self.clock = ManualClock(time.time())
        care = Care(self.log, self.catalog, self.catalog, self.catalog, self.files, self.clock)
        self.collector = Collector(care, self.files, self.tap, self.references)

    async def append(self, event: Event, name: str = "page", *, fold: bool = True) -> int:
        sequence = await self.log.append(ref(name).topic, event)
        if fold:
            self.catalog.apply(self.log.recorded)
        return sequence

    async def store(self, body: bytes, name: str = "page", *, fold: bool = True) -> Blob:
        blob = await stored(self.files, len(self.log.events) + 1, body, name)
        await self.append(stored_event(name, blob), name, fold=fold)
        return blob

    async def collect(self) -> set[bytes]:
        """What is in the store after the grace has passed."""
        passed = max(0.0, time.time() - self.clock.now())  # the twins stamp by the machine's clock
        await self.clock.advance(passed + GRACE_SECONDS + 1)
        await self.collector.collect()
        return set(self.files.blobs.values())


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_page_that_a_newer_one_replaced_goes_after_a_while(bench: Bench) -> None:
    await bench.store(SMALL)
    await bench.store(OTHER)
    assert await bench.collector.collect() == []
    assert set(bench.files.blobs.values()) == {SMALL, OTHER}
    assert await bench.collect() == {OTHER}
    assert bench.catalog.leftovers() == []


async def test_what_was_evicted_goes_and_whoever_shows_files_is_told(bench: Bench) -> None:
    blob = await bench.store(SMALL)
    await bench.append(ArtifactEvicted(ref("page"), blob.cid, "room"))
    assert await bench.collect() == set()
    ((name, message),) = bench.tap.told
    assert (name, from_json(message, Removed).cids) == (REMOVED, (blob.cid,))


async def test_bytes_that_another_artifact_has_stay(bench: Bench) -> None:
    await bench.store(SMALL, "page")
    await bench.store(SMALL, "copy")
    await bench.store(OTHER, "page")
    assert await bench.collect() == {SMALL, OTHER}


async def test_bytes_that_were_stored_again_stay_though_the_catalog_does_not_know_yet(bench: Bench) -> None:
    blob = await bench.store(SMALL)
    await bench.append(ArtifactEvicted(ref("page"), blob.cid, "room"))
    await bench.store(SMALL, fold=False)
    assert await bench.collect() == {SMALL}
    bench.catalog.apply(bench.log.recorded)
    assert await bench.collect() == {SMALL}


async def test_bytes_that_an_attempt_has_stored_and_not_yet_recorded_stay(bench: Bench) -> None:
    blob = await bench.store(SMALL)
    await bench.append(ArtifactEvicted(ref("page"), blob.cid, "room"))
    token = await bench.append(FetchStarted(want(SMALL, "page"), 1, "fetcher-0"))
    async with attempting(bench.files, token, SMALL, "page", got=len(SMALL)) as attempt:
        await attempt.store(open_state(len(SMALL)), UPSTREAM)
        assert await bench.collect() == {SMALL}
    assert await bench.collect() == set()  # its fetcher died without a word


async def test_nothing_goes_while_the_log_cannot_be_read(bench: Bench) -> None:
    await bench.store(SMALL)
    await bench.store(OTHER)
    bench.log.down = True
    with pytest.raises(Unavailable):
        await bench.collect()
    bench.log.down = False
    assert await bench.collect() == {OTHER}


@dataclass
class Others:
    """Port References. ``asked`` lists what it was asked to drop; while ``away`` it cannot be asked."""

    asked: list[Cid] = field(default_factory=list)
    away: bool = False

    async def drop(self, cids: Sequence[Cid]) -> None:
        if self.away:
            raise Unavailable("it does not answer")
        self.asked += cids


async def test_who_gives_a_blob_to_others_is_asked_before_its_file_goes() -> None:
    others = Others()
    bench = Bench(references=others)
    blob = await bench.store(SMALL)
    await bench.store(OTHER)
    await bench.collector.collect()
    assert others.asked == []
    await bench.collect()
    assert others.asked == [blob.cid]


async def test_while_others_may_be_promised_it_a_file_stays_for_a_while_but_not_for_ever() -> None:
    bench = Bench(references=Others(away=True))
    await bench.store(SMALL)
    await bench.store(OTHER)
    assert await bench.collect() == {SMALL, OTHER}
    await bench.clock.advance(REFERENCE_SECONDS)
    await bench.collector.collect()
    assert set(bench.files.blobs.values()) == {OTHER}
