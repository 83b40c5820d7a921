"""A little node: its fetchers, the keeper of its store and what gateways do, each process for one piece of work.

Real are these, the log's adapter, the catalog, and the store on disk. In memory are the stream and upstream. What
a process meets at its calls of stream and store is its :class:`~dpm_testkit.hazards.Fate`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.cids import Cid
from dpm_core.decisions import Ask, GatewayDecision, Recorded, Serve, decide_request
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable, Untrusted
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
from dpm_runtime.react import Outcome
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.clock import LeapingClock
from dpm_testkit.event_versions import as_first_version
from dpm_testkit.hazards import Crash, Fate, Hazard, HazardousIntake, hazardous_log
from dpm_testkit.memory_log import MemoryTap
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_stream import MemoryStream
from dpm_testkit.node_model import Upstream
from dpm_testkit.store_samples import content

WHEEL, SDIST, PAGE = "wheel", "sdist", "page"
"""A file that its index vouches for, one that nothing vouches for, and a page that changes."""

NAMES = (WHEEL, SDIST, PAGE)
REQUEST_SECONDS = 300.0
WAKING_SECONDS = 60.0

Hazards: TypeAlias = Mapping[int, Hazard]
"""What a process meets, by the number of its call."""

NONE: Hazards = {}


@dataclass
class Stopped:
    """A process that was stopped: what awaits it, and what it is at. The keeper has the catalog's lock."""

    fate: Fate
    task: "asyncio.Task[Any]"
    keeper: bool


@dataclass(frozen=True)
class Kept:
    """An attempt that has stored its bytes, and where the log ended once its process was over."""

    fate: Fate
    artifact_id: str
    token: int
    cid: Cid
    end: int = 0


class LittleNode:
    """``asked`` are the names that somebody wanted, ``rotten`` the blobs whose bytes changed on disk.

    ``rotted_at`` says of each blob that ever was where the log ended then, the last time.
    ``kept`` is added to when an attempt stores its bytes. To be made on the event loop that it is used on.
    """

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.prepare()
        self.clock = LeapingClock()
        self.stream = MemoryStream(self.clock.now)
        self.log = hazardous_log(self.stream, Fate())
        self.origin = MemoryOrigin()
        self.upstream = Upstream()
        self.store = DiskBlobStore(self.home)
        self.catalog = SqliteCatalog.writer(self.home.catalog)
        self.asked: set[str] = set()
        self.rotten: set[Cid] = set()
        self.rotted_at: dict[Cid, int] = {}
        self.kept: list[Kept] = []
        self.stopped: list[Stopped] = []

    async def close(self) -> None:
        """Let go of all files."""
        self.catalog.close()
        await self.store.close()

    def publish(self, name: str, body: bytes) -> None:
        """Upstream has this body now."""
        self.upstream.publish(name, body)
        self.origin.has(url(name), body)

    @property
    def requests(self) -> list[Recorded]:
        """All fetch requests in the log."""
        return [each for each in self.stream.recorded if isinstance(each.event, FetchRequested)]

    @property
    def blobs(self) -> list[Cid]:
        """All that have a file."""
        return sorted(self.store.cids())

    def rot(self, cid: Cid) -> None:
        """A blob's bytes change on the disk."""
        self.rotten.add(cid)
        self.rotted_at[cid] = len(self.stream.recorded)
        self.store.path(cid).write_bytes(b"rot")

    async def body(self, cid: Cid) -> bytes | None:
        """The bytes of a blob, None if there are none that can be read."""
        with suppress(Untrusted):
            return await content(self.store, cid)
        return None

    def want(self, name: str) -> Want:
        """What a gateway knows of it from what upstream has now."""
        body = self.upstream.now.get(name, b"")
        vouched = name == WHEEL
        return Want(
            ArtifactRef("pypi", "http://upstream.example/", name),
            name,
            url(name),
            Lane.INDEX if name == PAGE else Lane.BLOB,
            (Digest(f"sha256:{hashlib.sha256(body).hexdigest()}"),) if vouched else (),
            len(body) if vouched else None,
            fresh_for=60.0 if name == PAGE else None,
        )

    # a gateway

    async def ask(self, name: str, *, patient: bool = True, hazard: Hazard = Hazard.NONE) -> None:
        """Append a request if that is what a gateway decides, and see that it is told of its own event.

        ``hazard`` is what its append meets. Raises Conflict if another one was quicker.
        """
        self.asked.add(name)
        want = self.want(name)
        decision = await self._decision(want, patient)
        if isinstance(decision, Ask):
            entry = self.catalog.find(want.ref.id)
            here = name == PAGE and entry is not None and await self.body(entry.blob.cid) is not None
            held = entry.held if entry and here else None
            request = FetchRequested(want, self.clock.now() + REQUEST_SECONDS, "gateway-0", held)
            log = hazardous_log(self.stream, Fate({0: hazard}))
            sequence = await log.append(want.ref.topic, request, after=decision.after)
            assert self.stream.recorded[sequence - 1].event == request

    async def _decision(self, want: Want, patient: bool) -> GatewayDecision:
        """An impatient gateway has found the present attempt dead; any finds out whether a blob is there."""
        last, now = await self.log.last(want.ref.topic), self.clock.now()
        lost = last.sequence if last is not None and isinstance(last.event, FetchStarted) and not patient else 0

        def decide(missing: Cid | None) -> GatewayDecision:
            fresh_since = now if want.mutable else 0.0
            return decide_request(
                last, now, fresh_since=fresh_since, digests=want.digests, missing=missing, lost=lost
            )

        decision = decide(None)
        if isinstance(decision, Serve) and await self.body(decision.cid) is None:
            return decide(decision.cid)
        return decision

    async def given(self, name: str) -> bytes | None:
        """What a gateway has for it: by the catalog, else by the log.

        The catalog passes over what was set aside and came back by another artifact with the same bytes.
        """
        ref = self.want(name).ref
        entry, last = self.catalog.find(ref.id), await self.log.last(ref.topic)
        if entry is not None:
            return await self.body(entry.blob.cid)
        if last is not None and isinstance(last.event, ArtifactStored):
            return await self.body(last.event.blob.cid)
        return None

    # a fetcher

    async def deliver(
        self,
        request: Recorded,
        hazards: Hazards = NONE,
        *,
        old: bool = False,
        settled: Callable[[Outcome], None] = lambda outcome: None,
    ) -> Outcome | None:
        """How a fetcher settles a request, which ``settled`` is told at once; None if it cannot, or is stopped.

        An ``old`` one sends events of the older version.
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

        async def work() -> Outcome:
            outcome = await fetcher.on_request(request)
            settled(outcome)
            return outcome

        outcome: Outcome | None = await self._live(work(), fate)
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
        self.stopped.append(Stopped(fate, task, keeper))
        return None

    async def wake(self, process: Stopped, *, unharmed: bool = False) -> None:
        """Let it go on, to its end; ``unharmed``: nothing happens to it any more."""
        self.stopped.remove(process)
        process.fate.wake(unharmed=unharmed)
        await asyncio.wait_for(process.task, WAKING_SECONDS)

    # the keeper of the store: the fetcher that has the catalog's lock

    async def reopen_catalog(self, *, lost: bool) -> None:
        """Another fetcher becomes the keeper; ``lost``: the file is gone, too."""
        for process in self.stopped:
            if process.keeper:
                process.task.cancel()
                await asyncio.wait({process.task})
        self.stopped = [process for process in self.stopped if not process.keeper]
        self.catalog.close()
        if lost:
            for file in self.home.catalog.glob("catalog-*"):
                file.unlink()
        self.catalog = SqliteCatalog.writer(self.home.catalog)

    async def evict(self, hazards: Hazards) -> None:
        """What was used longest ago goes."""
        fate = Fate(hazards)
        room = Room(self._care(fate), lambda space: Quota(0), lambda: Space(1, 1))
        await self._live(room.evict(1, FOR_ROOM), fate, keeper=True)

    async def collect(self, hazards: Hazards = NONE) -> None:
        """The files of blobs go that nobody has any more."""
        self.clock.ahead += 20.0
        fate = Fate(hazards)
        await self._live(Collector(self._care(fate), self.store, MemoryTap()).collect(), fate, keeper=True)

    async def examine(self, cid: Cid, hazards: Hazards = NONE) -> None:
        """A blob is set aside if it is rotten."""
        fate = Fate(hazards)
        quarantine = Quarantine(self.store, hazardous_log(self.stream, fate), MemoryTap(), self.clock)
        await self._live(quarantine.examine(cid), fate, keeper=True)

    def _care(self, fate: Fate) -> Care:
        kept = SqliteCare(self.catalog)
        return Care(hazardous_log(self.stream, fate), self.catalog, kept, kept, self.store, self.clock)


def url(name: str) -> str:
    """Where upstream has it."""
    return f"http://upstream.example/{name}"


def _let_die(attempt: Attempt) -> None:
    assert isinstance(attempt, DiskAttempt)
    attempt._lock.close()
