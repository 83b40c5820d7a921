"""Whatever happens, and in whatever order: log, catalog and store tell the same, and what upstream had.

Random histories of a fetcher over a log and a store that fail at any call, with duplicates, refused appends, lost
acknowledgements, deaths between any two steps, and events that an older version wrote.
"""

import asyncio
import hashlib
import json
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dpm_core import registry
from dpm_core.artifacts import ArtifactRef, Held, Lane, Want
from dpm_core.decisions import Ask, Recorded, decide_request
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, FetchRequested, FetchStarted
from dpm_core.ports import Attempt
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.waiters import Waiters
from dpm_runtime.attempt_files import DiskAttempt
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.react import Done, Outcome
from dpm_runtime.service import SystemClock
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.hazards import Crash, Fate, Hazard, HazardousIntake, HazardousLog
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.node_model import NodeModel, misplaced
from dpm_testkit.store_samples import content

WHEEL, SDIST, PAGE = "wheel", "sdist", "page"
"""A file that its index vouches for, one that nothing vouches for, and a page that changes."""

NAMES = (WHEEL, SDIST, PAGE)
BODIES = tuple(random.Random(seed).randbytes(size) for seed, size in enumerate((10, 2_000, 70_000, 300_000)))
names = st.sampled_from(NAMES)
hazards = st.lists(st.sampled_from(Hazard), max_size=9)
REST_ROUNDS = 10


class Instant(SystemClock):
    """Real time, but nobody waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def sha256(body: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")


class Histories(RuleBasedStateMachine):
    """Rules are what may happen; invariants hold after each; ``teardown`` brings all to rest and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="dpm-")
        self.home = Home(Path(self.folder.name))
        self.home.prepare()
        self.model = NodeModel()
        self.stopped: list[tuple[Fate, asyncio.Task[Outcome | None]]] = []
        self.runner.run(self.begin())

    async def begin(self) -> None:
        self.log = MemoryEventLog()
        self.origin = MemoryOrigin()
        self.store, self.let_die = self.make_store()
        self.catalog = SqliteCatalog.writer(self.home.catalog)

    def make_store(self) -> tuple[Any, Callable[[Attempt], None]]:
        store = MemoryBlobStore()
        return store, store.kill

    def fetcher(self, fate: Fate) -> Fetcher:
        """One to which every attempt of another that has not ended counts as stalled."""
        clock = Instant()
        return Fetcher(
            "fetcher-0",
            HazardousLog(self.log, fate),
            HazardousIntake(self.store, fate, self.let_die),
            [self.origin],
            Lanes({Lane.INDEX: 2, Lane.BLOB: 2}, 2),
            Waiters(clock, lambda: True),
            clock,
            Limits(60.0, 0.0),
        )

    def want(self, name: str) -> Want:
        body = self.model.upstream.get(name, b"")
        vouched = name == WHEEL
        return Want(
            ArtifactRef("pypi", "http://upstream.example/", name),
            name,
            f"http://upstream.example/{name}",
            Lane.INDEX if name == PAGE else Lane.BLOB,
            (sha256(body),) if vouched else (),
            len(body) if vouched else None,
            fresh_for=60.0 if name == PAGE else None,
        )

    @property
    def requests(self) -> list[Recorded]:
        return [each for each in self.log.recorded if isinstance(each.event, FetchRequested)]

    # what may happen

    @initialize(bodies=st.tuples(*(st.sampled_from(BODIES) for _ in NAMES)))
    def upstream_has(self, bodies: Sequence[bytes]) -> None:
        for name, body in zip(NAMES, bodies, strict=True):
            self.publish(name, body)

    @rule(name=st.sampled_from((WHEEL, PAGE)), body=st.sampled_from(BODIES))
    def publish(self, name: str, body: bytes) -> None:
        self.model.publish(name, body)
        self.origin.has(f"http://upstream.example/{name}", body)

    @rule(name=names, after=st.integers(1, 300_000))
    def break_off(self, name: str, after: int) -> None:
        """Upstream will hang up once, so many bytes in."""
        self.origin.held[f"http://upstream.example/{name}"].breaks_after = after

    @rule(name=names, patient=st.booleans())
    def ask(self, name: str, patient: bool) -> None:
        """A gateway wants it; an impatient one has waited for the present attempt in vain."""
        self.model.ask(name)
        self.runner.run(self.asks(name, patient))

    async def asks(self, name: str, patient: bool) -> None:
        want, now = self.want(name), time.time()
        last = await self.log.last(want.ref.topic)
        lost = last.sequence if last is not None and isinstance(last.event, FetchStarted) and not patient else 0
        fresh_since = now if name == PAGE else 0.0
        match decide_request(last, now, fresh_since=fresh_since, digests=want.digests, lost=lost):
            case Ask(after=after):
                entry = self.catalog.find(want.ref.id)
                held = Held(entry.blob.cid, entry.blob.size, entry.validators) if entry and name == PAGE else None
                await self.log.append(
                    want.ref.topic, FetchRequested(want, now + 300, "gateway-0", held), after=after
                )

    @precondition(lambda self: self.requests)
    @rule(pick=st.integers(0), hazards=hazards)
    def deliver(self, pick: int, hazards: list[Hazard]) -> None:
        """A request reaches a fetcher, perhaps not for the first time, and this is what its calls meet."""
        self.runner.run(self.delivered(self.requests[pick % len(self.requests)], hazards))

    @precondition(lambda self: self.requests)
    @rule(pick=st.integers(0))
    def deliver_to_both(self, pick: int) -> None:
        request = self.requests[pick % len(self.requests)]

        async def both() -> None:
            await asyncio.gather(self.delivered(request), self.delivered(request))

        self.runner.run(both())

    async def delivered(self, request: Recorded, hazards: Sequence[Hazard] = ()) -> Outcome | None:
        """How a fetcher settles a request; None if it cannot, or is stopped meanwhile."""
        fate = Fate(hazards)

        async def handled() -> Outcome | None:
            try:
                return await self.fetcher(fate).on_request(request)
            except (Crash, Unavailable):
                return None

        handling, paused = asyncio.create_task(handled()), asyncio.create_task(fate.paused.wait())
        await asyncio.wait({handling, paused}, return_when=asyncio.FIRST_COMPLETED)
        paused.cancel()
        if handling.done():
            return handling.result()
        self.stopped.append((fate, handling))
        return None

    @precondition(lambda self: self.stopped)
    @rule(pick=st.integers(0))
    def wake(self, pick: int) -> None:
        """A fetcher that was stopped goes on, whatever has happened meanwhile."""
        fate, handling = self.stopped.pop(pick % len(self.stopped))
        fate.coming = deque(hazard for hazard in fate.coming if hazard is not Hazard.PAUSES)
        fate.woken.set()
        self.runner.run(asyncio.wait_for(handling, 60.0))

    @rule(away=st.booleans())
    def upstream_is_away(self, away: bool) -> None:
        self.origin.down = away

    @rule(overlap=st.integers(0, 5), count=st.integers(1, 20))
    def fold(self, overlap: int, count: int) -> None:
        """The librarian takes some events, among them such as it had already."""
        start = max(0, self.catalog.position() - overlap)
        before = self.catalog.position()
        self.catalog.apply(self.log.recorded[start : start + count])
        assert self.catalog.position() >= before

    @rule(lost=st.booleans())
    def librarian_dies(self, lost: bool) -> None:
        self.catalog.close()
        if lost:
            for file in self.home.catalog.glob("catalog-*"):
                file.unlink()
        self.catalog = SqliteCatalog.writer(self.home.catalog)

    @rule(seconds=st.sampled_from((70.0, 700.0)))
    def sweep(self, seconds: float) -> None:
        self.runner.run(self.store.sweep(time.time() + seconds))

    # what holds whenever one looks

    @invariant()
    def the_catalog_is_the_fold_of_the_log(self) -> None:
        twin = MemoryCatalog()
        twin.apply(self.log.recorded[: self.catalog.position()])
        for name in NAMES:
            artifact_id = self.want(name).ref.id
            assert self.catalog.find(artifact_id) == twin.find(artifact_id)
        assert self.catalog.totals() == twin.totals()

    @invariant()
    def each_attempt_is_claimed_once_and_has_one_end(self) -> None:
        assert misplaced(self.log.recorded) == []

    @invariant()
    def what_the_log_calls_stored_is_in_the_store_and_is_what_upstream_had(self) -> None:
        for event in self.log.events:
            if isinstance(event, ArtifactStored):
                assert self.runner.run(content(self.store, event.blob.cid)) in self.model.ever[event.name]

    # rest

    def teardown(self) -> None:
        try:
            self.runner.run(self.comes_to_rest())
        finally:
            self.catalog.close()
            self.runner.run(self.ends())
            self.runner.close()
            self.folder.cleanup()

    async def ends(self) -> None:
        return

    async def comes_to_rest(self) -> None:
        self.origin.down = False
        for held in self.origin.held.values():
            held.breaks_after = None
        await self.all_delivered()
        while self.stopped:
            fate, handling = self.stopped.pop()
            fate.coming.clear()
            fate.woken.set()
            await asyncio.wait_for(handling, 60.0)
        for name in self.model.asked:
            await self.asks(name, patient=True)
        await self.all_delivered()
        self.catalog.apply(self.log.recorded)
        found = {}
        for name in NAMES:
            entry = self.catalog.find(self.want(name).ref.id)
            if entry is not None:
                found[name] = await content(self.store, entry.blob.cid)
        assert found == self.model.held()
        await self.nothing_is_left_untold()

    async def all_delivered(self) -> None:
        for _ in range(REST_ROUNDS):
            outcomes = [await self.delivered(request) for request in self.requests]
            if all(outcome == Done() for outcome in outcomes):
                return
        raise AssertionError(f"requests do not come to an end: {outcomes}")

    async def nothing_is_left_untold(self) -> None:
        """A blob without an event is one about whose artifacts the log has later words."""
        told = {event.blob.cid for event in self.log.events if isinstance(event, ArtifactStored)}
        for cid in self.store_cids() - told:
            for kept in self.store.sidecar(cid).artifacts.values():
                last = await self.log.last(kept.ref.topic)
                assert last is not None and last.sequence > kept.token

    def store_cids(self) -> set[str]:
        return set(self.store.blobs)


class HistoriesOnDisk(Histories):
    """The same, with the real store."""

    def make_store(self) -> tuple[Any, Callable[[Attempt], None]]:
        def let_die(attempt: Attempt) -> None:
            assert isinstance(attempt, DiskAttempt)
            attempt._lock.close()

        return DiskBlobStore(self.home), let_die

    async def ends(self) -> None:
        await self.store.close()

    def store_cids(self) -> set[str]:
        return set(self.store.cids())


@pytest.fixture
def older_version_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """ArtifactStored is in its second version, and half of those appended are of the first, in its own words."""
    present = registry._by_class[ArtifactStored]
    second = replace(present, version=2, upcasters={1: lambda plain: {**plain, "media_type": plain["type"]}})
    monkeypatch.setitem(registry._by_class, ArtifactStored, second)
    monkeypatch.setitem(registry._by_name, present.name, second)
    put = MemoryEventLog.put

    async def as_older(log: MemoryEventLog, subject: str, headers: Any, body: bytes) -> int:
        if subject.endswith(f".{present.name}") and len(log.recorded) % 2:
            plain = json.loads(body)
            plain["type"] = plain.pop("media_type")
            headers, body = {**headers, registry.VERSION_HEADER: "1"}, json.dumps(plain).encode()
        return await put(log, subject, headers, body)

    monkeypatch.setattr(MemoryEventLog, "put", as_older)
    yield


def test_log_catalog_and_store_tell_what_upstream_had(older_version_writes: None) -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=30, stateful_step_count=30, deadline=None))


def test_log_and_catalog_tell_what_is_on_the_disk() -> None:
    run_state_machine_as_test(
        HistoriesOnDisk, settings=settings(max_examples=20, stateful_step_count=20, deadline=None)
    )
