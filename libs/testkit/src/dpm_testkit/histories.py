"""Random histories of a node: whatever happens, and in whatever order, log, catalog and store equal the model.

Real are the fetcher, what keeps its store, the log's adapter, the catalog, and the store on disk. In memory are
the stream and upstream. What each caller of stream and store meets is drawn by hypothesis (:mod:`.hazards`).
"""

import asyncio
import hashlib
import random
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dpm_core.artifacts import ArtifactRef, Held, Lane, Want
from dpm_core.cids import Cid
from dpm_core.decisions import Ask, Recorded, Serve, decide_request
from dpm_core.digests import Digest
from dpm_core.errors import Conflict, Unavailable, Untrusted
from dpm_core.events import ArtifactStored, FetchRequested, FetchStarted
from dpm_core.eviction import Quota
from dpm_core.ports import Attempt
from dpm_fetcher.care import Care
from dpm_fetcher.collector import Collector
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.quarantine import Quarantine
from dpm_fetcher.room import FOR_ROOM, Room
from dpm_fetcher.waiters import Waiters
from dpm_runtime.attempt_files import DiskAttempt
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_runtime.disk import Space
from dpm_runtime.home import Home
from dpm_runtime.react import Done, Outcome
from dpm_runtime.service import SystemClock
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.event_versions import as_first_version, second_version
from dpm_testkit.hazards import Crash, Fate, Hazard, HazardousIntake, hazardous_log
from dpm_testkit.memory_log import MemoryTap
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_stream import MemoryStream
from dpm_testkit.node_model import NodeModel, Upstream, claimed_again, misplaced, unanswered
from dpm_testkit.store_samples import content

WHEEL, SDIST, PAGE = "wheel", "sdist", "page"
"""A file that its index vouches for, one that nothing vouches for, and a page that changes."""

NAMES = (WHEEL, SDIST, PAGE)
NONE: Mapping[int, Hazard] = {}
SIZES = (10, 2_000, 2_000, 70_000, 300_000)
BODIES = tuple(random.Random(number).randbytes(size) for number, size in enumerate(SIZES))
T = TypeVar("T")
Hazards: TypeAlias = Mapping[int, Hazard]

REQUEST_SECONDS = 300.0
REST_ROUNDS = 10
WAKING_SECONDS = 60.0

names = st.sampled_from(NAMES)
picks = st.integers(0, 1_000)
hazards = st.dictionaries(st.integers(0, 8), st.sampled_from(Hazard), max_size=2)
"""What happens at which call; most go well, or no process would come far."""


def run(examples: int, steps: int) -> None:
    """Try so many histories of up to so many steps. Raises AssertionError, with the shortest that goes wrong."""
    with second_version():
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


class LeapingClock(SystemClock):
    """The machine's clock, ahead by what was slept and leapt: nobody waits."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        await asyncio.sleep(0)


@dataclass
class Process:
    """A stopped process: what awaits it, and what it was at. The keeper is the one that has the catalog's lock."""

    fate: Fate
    task: "asyncio.Task[Any]"
    keeper: bool


@dataclass(frozen=True)
class Kept:
    """An attempt that has stored its bytes, and where the log ended when its process was over."""

    fate: Fate
    artifact_id: str
    token: int
    cid: Cid
    end: int = 0

    @property
    def at(self) -> tuple[str, int]:
        return self.artifact_id, self.token


class Histories(RuleBasedStateMachine):
    """Rules are what may happen; invariants hold after each; ``teardown`` brings all to rest and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="dpm-")
        self.home = Home(Path(self.folder.name))
        self.home.prepare()
        self.clock = LeapingClock()
        self.stream = MemoryStream(self.clock.now)
        self.log = hazardous_log(self.stream, Fate())
        self.origin = MemoryOrigin()
        self.upstream = Upstream()
        self.asked: set[str] = set()
        self.done: set[int] = set()
        self.rotten: set[Cid] = set()
        self.kept: list[Kept] = []
        self.dead: list[Kept] = []
        self.stopped: list[Process] = []
        self.catalog = SqliteCatalog.writer(self.home.catalog)
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.store = DiskBlobStore(self.home)

    # what may happen to upstream, and what gateways do

    @initialize(bodies=st.tuples(*(st.sampled_from(BODIES) for _ in NAMES)))
    def upstream_has(self, bodies: Sequence[bytes]) -> None:
        for name, body in zip(NAMES, bodies, strict=True):
            self.publish(name, body)

    @rule(name=st.sampled_from((WHEEL, PAGE)), body=st.sampled_from(BODIES))
    def publish(self, name: str, body: bytes) -> None:
        self.upstream.publish(name, body)
        self.origin.has(_url(name), body)

    @rule(name=names, after=st.integers(1, 300_000))
    def break_off(self, name: str, after: int) -> None:
        """Upstream will hang up once, so many bytes in."""
        self.origin.held[_url(name)].breaks_after = after

    @rule(away=st.booleans())
    def upstream_is_away(self, away: bool) -> None:
        self.origin.down = away

    @rule(name=names, patient=st.booleans(), hazard=st.sampled_from((Hazard.NONE, Hazard.LOST, Hazard.TWICE)))
    def ask(self, name: str, patient: bool, hazard: Hazard) -> None:
        """A gateway wants it; an impatient one has waited for the present attempt in vain.

        If its append's answer is lost, or not that to its first try, it finds its event all the same.
        """
        self.runner.run(self._ask(name, patient=patient, hazard=hazard))

    @rule(name=names)
    def ask_from_two_gateways(self, name: str) -> None:
        async def one() -> None:
            with suppress(Conflict):
                await self._ask(name)

        async def both() -> None:
            await asyncio.gather(one(), one())

        self.runner.run(both())

    async def _ask(self, name: str, *, patient: bool = True, hazard: Hazard = Hazard.NONE) -> None:
        """Append a request if the gateway's decision is to ask. Raises Conflict if another one was quicker."""
        self.asked.add(name)
        want, now = self._want(name), self.clock.now()
        last = await self.log.last(want.ref.topic)
        lost = last.sequence if last is not None and isinstance(last.event, FetchStarted) and not patient else 0
        missing: Cid | None = None
        while True:
            decision = decide_request(
                last,
                now,
                fresh_since=now if name == PAGE else 0.0,
                digests=want.digests,
                missing=missing,
                lost=lost,
            )
            if not isinstance(decision, Serve) or missing is not None or await self._body(decision.cid):
                break
            missing = decision.cid
        if isinstance(decision, Ask):
            entry = self.catalog.find(want.ref.id)
            here = name == PAGE and entry is not None and await self._body(entry.blob.cid) is not None
            held = Held(entry.blob.cid, entry.blob.size, entry.validators) if entry and here else None
            request = FetchRequested(want, self.clock.now() + REQUEST_SECONDS, "gateway-0", held)
            log = hazardous_log(self.stream, Fate({0: hazard}))
            sequence = await log.append(want.ref.topic, request, after=decision.after)
            assert self.stream.recorded[sequence - 1].event == request

    # what fetchers do

    @precondition(lambda self: self.open_requests)
    @rule(pick=picks, hazards=hazards, old=st.booleans())
    def deliver(self, pick: int, hazards: Hazards, old: bool) -> None:
        """A request reaches a fetcher, which may be of the older version, and this is what its calls meet."""
        self.runner.run(self._deliver(_picked(self.open_requests, pick), hazards, old=old))

    @precondition(lambda self: self.requests)
    @rule(pick=picks, hazards=hazards)
    def deliver_again(self, pick: int, hazards: Hazards) -> None:
        """That it was done with was not heard, or it is long ago."""
        self.runner.run(self._deliver(_picked(self.requests, pick), hazards))

    @precondition(lambda self: self.open_requests)
    @rule(pick=picks)
    def deliver_to_two_fetchers(self, pick: int) -> None:
        request = _picked(self.open_requests, pick)

        async def both() -> None:
            await asyncio.gather(self._deliver(request), self._deliver(request))

        self.runner.run(both())

    async def _deliver(self, request: Recorded, hazards: Hazards = NONE, *, old: bool = False) -> Outcome | None:
        """How a fetcher settles a request; None if it cannot, or is stopped meanwhile.

        One that is done has had its answer.
        """
        fate = Fate(hazards)
        fetcher = Fetcher(
            "fetcher-0",
            hazardous_log(self.stream, fate, sends=as_first_version if old else None),
            HazardousIntake(self.store, fate, _let_die, lambda *kept: self.kept.append(Kept(fate, *kept))),
            [self.origin],
            Lanes({Lane.INDEX: 2, Lane.BLOB: 2}, 2),
            Waiters(self.clock, lambda: True),
            self.clock,
            Limits(index_seconds=60.0, stall_seconds=0.0),  # to it every other attempt is stalled
        )
        outcome: Outcome | None = await self._live(self._settled(fetcher, request), fate)
        return outcome

    async def _settled(self, fetcher: Fetcher, request: Recorded) -> Outcome:
        outcome = await fetcher.on_request(request)
        if outcome == Done():
            assert request.sequence not in unanswered(self.stream.recorded)
            self.done.add(request.sequence)
        return outcome

    async def _live(self, work: Coroutine[Any, Any, Any], fate: Fate, *, keeper: bool = False) -> Any:
        """What a process comes to; None if it dies, has to give up, or is stopped."""

        async def living() -> Any:
            try:
                return await work
            except (Crash, Unavailable):
                return None
            finally:
                fate.over = True

        task, paused = asyncio.create_task(living()), asyncio.create_task(fate.paused.wait())
        await asyncio.wait({task, paused}, return_when=asyncio.FIRST_COMPLETED)
        paused.cancel()
        if task.done():
            return task.result()
        self.stopped.append(Process(fate, task, keeper))
        return None

    @precondition(lambda self: self.stopped)
    @rule(pick=picks)
    def wake(self, pick: int) -> None:
        """A process that was stopped goes on, whatever has happened meanwhile."""
        self.runner.run(self._wake(_picked(self.stopped, pick)))

    async def _wake(self, process: Process, *, unharmed: bool = False) -> None:
        self.stopped.remove(process)
        process.fate.wake(unharmed=unharmed)
        await asyncio.wait_for(process.task, WAKING_SECONDS)

    @rule(seconds=st.sampled_from((70.0, 700.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.ahead += seconds
        self.runner.run(self.store.sweep(self.clock.now()))

    # what the fetcher that has the catalog does

    @rule(overlap=st.integers(0, 5), count=st.integers(1, 20))
    def fold(self, overlap: int, count: int) -> None:
        """It takes some events, among them such as it had already."""
        before = self.catalog.position()
        start = max(0, before - overlap)
        self.catalog.apply(self.stream.recorded[start : start + count])
        assert self.catalog.position() >= before

    @rule(lost=st.booleans())
    def catalog_is_opened_again(self, lost: bool) -> None:
        """Its fetcher died, and perhaps the file is gone."""
        self.runner.run(self._end_keepers())
        self.catalog.close()
        if lost:
            for file in self.home.catalog.glob("catalog-*"):
                file.unlink()
        self.catalog = SqliteCatalog.writer(self.home.catalog)

    async def _end_keepers(self) -> None:
        for process in self.stopped:
            if process.keeper:
                process.task.cancel()
                await asyncio.wait({process.task})
        self.stopped = [process for process in self.stopped if not process.keeper]

    @rule(hazards=hazards)
    def evict(self, hazards: Hazards) -> None:
        """What was used longest ago goes."""
        fate = Fate(hazards)
        room = Room(self._care(fate), lambda space: Quota(0), lambda: Space(1, 1))
        self.runner.run(self._live(room.evict(1, FOR_ROOM), fate, keeper=True))

    @rule(hazards=hazards)
    def collect(self, hazards: Hazards) -> None:
        self.runner.run(self._collect(hazards))

    async def _collect(self, hazards: Hazards = NONE) -> None:
        self.clock.ahead += 20.0
        fate = Fate(hazards)
        await self._live(Collector(self._care(fate), self.store, MemoryTap()).collect(), fate, keeper=True)

    def _care(self, fate: Fate) -> Care:
        kept = SqliteCare(self.catalog)
        return Care(hazardous_log(self.stream, fate), self.catalog, kept, kept, self.store, self.clock)

    @precondition(lambda self: self.blobs)
    @rule(pick=picks)
    def rot(self, pick: int) -> None:
        """A blob's bytes change on the disk."""
        cid = _picked(self.blobs, pick)
        self.rotten.add(cid)
        self.store.path(cid).write_bytes(b"rot")

    @precondition(lambda self: self.blobs)
    @rule(pick=picks, hazards=hazards)
    def examine(self, pick: int, hazards: Hazards) -> None:
        self.runner.run(self._examine(_picked(self.blobs, pick), hazards))

    async def _examine(self, cid: Cid, hazards: Hazards = NONE) -> None:
        fate = Fate(hazards)
        quarantine = Quarantine(self.store, hazardous_log(self.stream, fate), MemoryTap(), self.clock)
        await self._live(quarantine.examine(cid), fate, keeper=True)

    # what holds whenever one looks

    @invariant()
    def the_catalog_says_what_the_log_said_up_to_its_position(self) -> None:
        model = NodeModel(self.stream.recorded[: self.catalog.position()])
        for name in NAMES:
            artifact_id = self._want(name).ref.id
            assert model.says(artifact_id, self.catalog.find(artifact_id))
        assert self.catalog.totals() == model.totals

    @invariant()
    def no_event_stands_where_it_may_not(self) -> None:
        assert list(misplaced(self.stream.recorded)) == []

    @invariant()
    def what_the_log_calls_held_is_in_the_store_and_is_what_upstream_had(self) -> None:
        for stored in NodeModel(self.stream.recorded).stored.values():
            cid = stored.blob.cid
            if cid not in self.rotten:
                assert self.runner.run(self._body(cid)) in self.upstream.ever[stored.name]
                sidecar = self.store.sidecar(cid)
                assert sidecar is not None and stored.ref.id in sidecar.artifacts

    @invariant()
    def what_a_dead_fetcher_stored_is_told_of_and_not_fetched_again(self) -> None:
        history, there = self.stream.recorded, set(self.blobs) - self.rotten
        for artifact_id, lost, sequence in claimed_again(history):
            died = next(
                (each for each in self.dead if (each.artifact_id, each.token) == (artifact_id, lost)), None
            )
            assert died is None or sequence <= died.end
        self.dead = [each for each in self.dead if each.cid in there]
        self.dead += [replace(each, end=len(history)) for each in self.kept if each.fate.over]
        self.kept = [each for each in self.kept if not each.fate.over]

    # rest

    def teardown(self) -> None:
        try:
            self.runner.run(self._rest())
            self._look()
            self.runner.run(self._ask_once_more())
            self._look()
        finally:
            self.catalog.close()
            self.runner.run(self.store.close())
            self.runner.close()
            self.folder.cleanup()

    def _look(self) -> None:
        self.the_catalog_says_what_the_log_said_up_to_its_position()
        self.no_event_stands_where_it_may_not()
        self.what_the_log_calls_held_is_in_the_store_and_is_what_upstream_had()
        self.what_a_dead_fetcher_stored_is_told_of_and_not_fetched_again()

    async def _rest(self) -> None:
        """Nothing goes wrong any more, and all come to an end."""
        self.origin.down = False
        for held in self.origin.held.values():
            held.breaks_after = None
        while self.stopped:
            await self._wake(self.stopped[0], unharmed=True)
        await self._deliver_all()
        for cid in self.blobs:
            await self._examine(cid)
        self.catalog.apply(self.stream.recorded)

    async def _ask_once_more(self) -> None:
        """All that was asked for is wanted again, as upstream has it now."""
        self.rotten.clear()
        for name in sorted(self.asked):
            await self._ask(name)
        await self._deliver_all()
        self.catalog.apply(self.stream.recorded)
        await self._collect()
        await self._compare()

    async def _deliver_all(self) -> None:
        for _ in range(REST_ROUNDS):
            outcomes = [await self._deliver(request) for request in self.requests]
            if all(outcome == Done() for outcome in outcomes):
                return
        raise AssertionError(f"requests do not come to an end: {outcomes}")

    async def _compare(self) -> None:
        """The node has what was asked for, as upstream has it; else only blobs that the log has left behind."""
        found = {name: body for name in NAMES if (body := await self._given(name)) is not None}
        assert found == {name: body for name, body in self.upstream.now.items() if name in self.asked}
        for cid in set(self.blobs) - NodeModel(self.stream.recorded).cids:
            sidecar = self.store.sidecar(cid)
            assert sidecar is not None
            for kept in sidecar.artifacts.values():
                last = await self.log.last(kept.ref.topic)
                assert last is not None and last.sequence > kept.token

    # what is looked at

    @property
    def requests(self) -> list[Recorded]:
        return [each for each in self.stream.recorded if isinstance(each.event, FetchRequested)]

    @property
    def open_requests(self) -> list[Recorded]:
        return [each for each in self.requests if each.sequence not in self.done]

    @property
    def blobs(self) -> list[Cid]:
        return sorted(self.store.cids())

    async def _given(self, name: str) -> bytes | None:
        """What a gateway has for it: by the catalog, else by the log.

        The catalog passes over what was set aside and came back by another artifact with the same bytes.
        """
        ref = self._want(name).ref
        entry, last = self.catalog.find(ref.id), await self.log.last(ref.topic)
        if entry is not None:
            return await self._body(entry.blob.cid)
        if last is not None and isinstance(last.event, ArtifactStored):
            return await self._body(last.event.blob.cid)
        return None

    async def _body(self, cid: Cid) -> bytes | None:
        """The bytes of a blob, None if there are none that can be read."""
        with suppress(Untrusted):
            return await content(self.store, cid)
        return None

    def _want(self, name: str) -> Want:
        body = self.upstream.now.get(name, b"")
        vouched = name == WHEEL
        return Want(
            ArtifactRef("pypi", "http://upstream.example/", name),
            name,
            _url(name),
            Lane.INDEX if name == PAGE else Lane.BLOB,
            (Digest(f"sha256:{hashlib.sha256(body).hexdigest()}"),) if vouched else (),
            len(body) if vouched else None,
            fresh_for=60.0 if name == PAGE else None,
        )


def _picked(of: Sequence[T], pick: int) -> T:
    return of[pick % len(of)]


def _url(name: str) -> str:
    return f"http://upstream.example/{name}"


def _let_die(attempt: Attempt) -> None:
    assert isinstance(attempt, DiskAttempt)
    attempt._lock.close()
