"""Peers before upstream, upstream where they are slow, and nobody harmed by those that lie."""

import asyncio
import time
from dataclasses import replace

import pytest

from dpm_core.artifacts import NODES, Lane, Validators, Want
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import (
    ArtifactStored,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    OriginKind,
    Part,
)
from dpm_core.origins import NotHeld, NotModified, Opened, Origin
from dpm_core.ports import Clock
from dpm_fetcher import sources, transfer
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.hedge import LOOK_SECONDS, Pace
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.sources import Peering
from dpm_fetcher.waiters import Waiters
from dpm_testkit.clock import ManualClock, QuickClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import MemoryOrigin, MemoryPeers
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import eventually, soon, until
from dpm_testkit.store_samples import BODY, SMALL, content, want

WRONG = bytes(255 - byte for byte in BODY)
MIDDLE = 1_000_000


class Bench:
    """A fetcher with peers and an upstream in memory."""

    def __init__(
        self, clock: Clock | None = None, *, first_byte: float = 5.0, upstream: MemoryOrigin | None = None
    ) -> None:
        self.clock = clock or QuickClock()
        self.peers, self.upstream = MemoryPeers(), upstream or MemoryOrigin()
        self.log, self.store = MemoryEventLog(), MemoryBlobStore()
        pace = Pace(first_byte, rate=1000.0, least=2000)
        self.fetcher = Fetcher(
            "fetcher-0", self.log, self.store, [self.upstream], Lanes({Lane.INDEX: 2, Lane.BLOB: 2}, 2),
            Waiters(self.clock, lambda: True), self.clock, Limits(60.0, 30.0),
            peering=Peering(self.peers, pace),
        )  # fmt: skip

    async def fetch(self, it: Want) -> Event:
        """The event that a request ends with."""
        last = await self.log.last(it.ref.topic)
        request = FetchRequested(it, time.time() + 3600, "gateway-0")
        await self.log.append(it.ref.topic, request, after=last.sequence if last else 0)
        recorded = await self.log.last(it.ref.topic)
        assert recorded is not None
        await self.fetcher.on_request(recorded)
        return self.log.events[-1]

    async def stored(self, it: Want, body: bytes = BODY) -> ArtifactStored:
        """The same, of a fetch that must bring this body."""
        event = await self.fetch(it)
        assert isinstance(event, ArtifactStored), event
        assert await content(self.store, event.blob.cid) == body
        return event


async def test_what_peers_hold_is_not_asked_of_upstream() -> None:
    bench, wheel = Bench(), want()
    bench.peers.has(wheel.url, BODY)
    stored = await bench.stored(wheel)
    assert stored.source == bench.peers.source
    assert (bench.upstream.asked, stored.parts) == ([], ())


async def test_what_no_peer_holds_comes_from_upstream() -> None:
    bench, wheel = Bench(), want()
    bench.upstream.has(wheel.url, BODY)
    assert (await bench.stored(wheel)).source == bench.upstream.source


async def test_without_a_peer_service_upstream_is_asked() -> None:
    bench, wheel = Bench(), want()
    bench.peers.down = True
    bench.upstream.has(wheel.url, BODY)
    assert (await bench.stored(wheel)).source == bench.upstream.source


async def test_a_peer_whose_first_byte_is_late_is_not_waited_for() -> None:
    bench, wheel = Bench(first_byte=0.01), want()
    bench.upstream.has(wheel.url, BODY)
    cancelled = asyncio.Event()

    async def open_never(*_: object, **__: object) -> Opened | NotModified | NotHeld:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    bench.peers.open = open_never  # type: ignore[method-assign]
    assert (await bench.stored(wheel)).source == bench.upstream.source
    assert cancelled.is_set()


async def test_upstream_joins_in_from_where_a_slow_peer_stands() -> None:
    clock = ManualClock()
    bench, wheel = Bench(clock), want()
    bench.peers.has(wheel.url, BODY).waits_at = MIDDLE
    bench.upstream.has(wheel.url, BODY)
    fetching = asyncio.create_task(bench.stored(wheel))
    await _passes(clock, fetching)
    stored = await soon(fetching)
    assert stored.parts == (
        Part(bench.peers.source, 0, MIDDLE),
        Part(bench.upstream.source, MIDDLE, len(BODY) - MIDDLE),
    )
    assert bench.upstream.asked == [(wheel.url, MIDDLE)]
    assert bench.peers.doubted == []


async def test_upstream_goes_on_where_a_peer_broke_off() -> None:
    bench, wheel = Bench(), want()
    bench.peers.has(wheel.url, BODY).breaks_after = MIDDLE
    bench.upstream.has(wheel.url, BODY)
    stored = await bench.stored(wheel)
    assert [part.source.kind for part in stored.parts] == [OriginKind.PEER, OriginKind.UPSTREAM]
    assert bench.upstream.asked == [(wheel.url, MIDDLE)]


async def test_a_slow_peer_is_kept_where_upstream_is_away() -> None:
    clock = ManualClock()
    bench, wheel = Bench(clock), want()
    held = bench.peers.has(wheel.url, BODY)
    held.waits_at = MIDDLE
    bench.upstream.down = True
    fetching = asyncio.create_task(bench.stored(wheel))
    await _passes(clock, fetching, until_asked=bench.upstream)
    held.go.set()
    assert (await soon(fetching)).source == bench.peers.source


async def test_a_peer_that_breaks_off_is_asked_again_where_upstream_is_away() -> None:
    bench, wheel = Bench(), want()
    bench.peers.has(wheel.url, BODY).breaks_after = MIDDLE
    bench.upstream.down = True
    await bench.stored(wheel)
    assert bench.peers.asked == [(wheel.url, 0), (wheel.url, MIDDLE)]


@pytest.mark.parametrize("breaks_after", [None, MIDDLE])
async def test_wrong_bytes_of_a_peer_are_had_whole_from_upstream_before_it_is_doubted(
    breaks_after: int | None,
) -> None:
    bench, wheel = Bench(), want()
    bench.peers.has(wheel.url, WRONG).breaks_after = breaks_after
    bench.upstream.has(wheel.url, BODY)
    stored = await bench.stored(wheel)
    assert (stored.source, stored.parts) == (bench.upstream.source, ())
    assert bench.upstream.asked[-1] == (wheel.url, 0)
    assert bench.peers.doubted == [wheel]


async def test_no_peer_is_doubted_while_upstream_has_other_bytes_itself() -> None:
    bench, wheel = Bench(), want()
    bench.peers.has(wheel.url, WRONG)
    bench.upstream.has(wheel.url, WRONG)
    failed = await bench.fetch(wheel)
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNTRUSTED
    assert bench.peers.doubted == []


async def test_where_wrong_bytes_were_shown_the_next_attempt_is_upstreams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "WITHHELD_OF_PEERS", 0)
    bench, wheel = Bench(), want()
    bench.peers.has(wheel.url, WRONG)
    bench.upstream.has(wheel.url, BODY)
    failed = await bench.fetch(wheel)
    assert isinstance(failed, FetchFailed)
    assert (failed.reason, bench.peers.doubted) == (FailReason.UNTRUSTED, [])
    await bench.stored(wheel)
    assert len(bench.peers.asked) == 1
    assert bench.peers.doubted == [wheel]


async def test_a_small_file_is_asked_of_peers_only_where_upstream_is_away() -> None:
    bench, small = Bench(), want(SMALL)
    bench.peers.has(small.url, SMALL)
    bench.upstream.has(small.url, SMALL)
    assert (await bench.stored(small, SMALL)).source == bench.upstream.source
    assert bench.peers.asked == []
    other = want(SMALL, "other")
    bench.peers.has(other.url, SMALL)
    bench.upstream.down = True
    assert (await bench.stored(other, SMALL)).source == bench.peers.source


@pytest.mark.parametrize(
    "it",
    [
        want(vouched=False),
        replace(want(), private=True),
        replace(want(), credentials=NODES),
        replace(want(), digests=()),
    ],
)
async def test_peers_never_hear_of_what_is_private_or_has_no_digest(it: Want) -> None:
    bench = Bench()
    bench.peers.has(it.url, BODY)
    bench.upstream.fails = [Unavailable("away", lasting=True)]
    await bench.fetch(it)
    assert bench.peers.asked == []


class Silent(MemoryOrigin):
    """An upstream that says nothing until ``speaks`` is set. ``hung_up`` says that it was waited for no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks, self.hung_up = asyncio.Event(), asyncio.Event()

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        try:
            await self.speaks.wait()
        except asyncio.CancelledError:
            self.hung_up.set()
            raise
        return await super().open(want, offset, held, digests)


async def test_a_small_file_is_asked_of_peers_where_upstream_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PATIENCE_SECONDS", 0.01)
    upstream, small = Silent(), want(SMALL)
    bench = Bench(upstream=upstream)
    bench.peers.has(small.url, SMALL)
    assert (await bench.stored(small, SMALL)).source == bench.peers.source
    assert upstream.hung_up.is_set()


async def test_an_upstream_that_takes_its_time_is_waited_for_where_no_peer_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "PATIENCE_SECONDS", 0.01)
    upstream, small = Silent(), want(SMALL)
    bench = Bench(upstream=upstream)
    upstream.has(small.url, SMALL)
    fetching = asyncio.create_task(bench.stored(small, SMALL))
    await until(lambda: bench.peers.asked)
    upstream.speaks.set()
    assert (await soon(fetching)).source == upstream.source


async def _passes(clock: ManualClock, task: "asyncio.Task[object]", until_asked: Origin | None = None) -> None:
    """Seconds, until a task is done, or an origin was asked."""
    asked = until_asked.asked if isinstance(until_asked, MemoryOrigin) else []

    async def passes() -> bool:
        if not (task.done() or asked):
            await clock.advance(LOOK_SECONDS)
        return task.done() or bool(asked)

    await eventually(passes)
