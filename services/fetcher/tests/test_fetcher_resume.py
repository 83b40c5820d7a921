"""Going on with what is here already, and ending with a word whatever happens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from dpm_core.artifacts import NO_VALIDATORS, Lane, Topic, Validators, Want
from dpm_core.attempts import AttemptState, Phase
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import (
    ArtifactStored,
    Event,
    FailReason,
    FetchFailed,
    FetchStarted,
    OriginKind,
    Source,
)
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.waiters import Waiters
from dpm_runtime.react import Done, Retry
from dpm_testkit.clock import QuickClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_samples import BODY, begun, content, open_state, want


@dataclass
class Part:
    """What one answer sends: ``body`` from ``offset``, then nothing more, or an error."""

    body: bytes
    offset: int = 0
    length: int | None = len(BODY)
    validators: Validators = NO_VALIDATORS
    breaks: bool = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body
        if self.breaks:
            raise Unavailable("it broke off")

    async def close(self) -> None:
        return


class Answers:
    """An origin that gives these answers, one after the other, and 416 beyond the end of BODY."""

    def __init__(self, *answers: Part | Exception) -> None:
        self.left = list(answers)
        self.asked: list[tuple[int, Validators | None]] = []

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        self.asked.append((offset, held))
        if offset >= len(BODY):
            raise Unavailable("it answered 416")
        part = self.left.pop(0)
        if isinstance(part, Exception):
            raise part
        source = Source(OriginKind.UPSTREAM, "upstream.example")
        return Opened(source, part.offset, part.length, "x/y", part.validators, part)


class Bench:
    """A fetcher with an origin that follows a script."""

    def __init__(self, *answers: Part | Exception) -> None:
        self.log = MemoryEventLog()
        self.store = MemoryBlobStore()
        self.origin = Answers(*answers)
        self.lanes = Lanes({Lane.INDEX: 2, Lane.BLOB: 2}, 2)
        clock = QuickClock()
        self.waiters = Waiters(clock, lambda: True)
        self.fetcher = Fetcher(
            "fetcher-0", self.log, self.store, [self.origin], self.lanes, self.waiters, clock, Limits(5.0, 30.0)
        )

    async def fetch(self, it: Want) -> object:
        """The event that a request ends with."""
        assert await self.fetcher.on_request(await self.log.request(it)) == Done()
        return self.log.events[-1]

    async def adopts(self, it: Want, state: AttemptState, got: bytes) -> object:
        """The event that a request ends with, whose first fetcher died with these bytes."""
        request = await self.log.request(it)
        token = await self.log.append(it.ref.topic, FetchStarted(it, request.sequence, "fetcher-9"))
        await (await begun(self.store, token, it, state, got)).close()
        assert await self.fetcher.on_request(request) == Done()
        return self.log.events[-1]

    async def dies_untold(self, it: Want) -> tuple[Recorded, int]:
        """A request whose fetcher died when it had stored BODY and not said so; with the token of its attempt."""
        request = await self.log.request(it)
        token = await self.log.append(it.ref.topic, FetchStarted(it, request.sequence, "fetcher-9"))
        dead = await begun(self.store, token, it, open_state(), BODY)
        await dead.store(open_state(), Source(OriginKind.UPSTREAM, "upstream.example"))
        await dead.close()
        return request, token

    async def stored(self) -> bytes | None:
        event = self.log.events[-1]
        assert isinstance(event, ArtifactStored), event
        return await content(self.store, event.blob.cid)


NEW = bytes(255 - byte for byte in BODY)
OLD_TAG, NEW_TAG = Validators('"old"'), Validators('"new"')


async def test_bytes_that_nothing_ties_together_are_fetched_from_the_beginning() -> None:
    bench = Bench(Part(BODY[:1000], breaks=True), Part(NEW))
    await bench.fetch(want(vouched=False))
    assert [offset for offset, _ in bench.origin.asked] == [0, 0]
    assert await bench.stored() == NEW


async def test_a_range_of_another_body_is_never_joined_to_what_is_here() -> None:
    weak = Validators('W/"same"')
    for first, second in ((weak, weak), (OLD_TAG, NEW_TAG), (OLD_TAG, NO_VALIDATORS)):
        page = replace(want(vouched=False), lane=Lane.INDEX, fresh_for=60.0)
        bench = Bench(
            Part(BODY[:1000], validators=first, breaks=True),
            Part(NEW[1000:], 1000, validators=second),
            Part(NEW, validators=second),
        )
        if first is weak:
            del bench.origin.left[1]
        await bench.fetch(page)
        assert await bench.stored() == NEW


async def test_a_range_of_the_same_body_is() -> None:
    bench = Bench(Part(BODY[:1000], validators=OLD_TAG, breaks=True), Part(BODY[1000:], 1000, validators=OLD_TAG))
    await bench.fetch(want(vouched=False))
    assert bench.origin.asked == [(0, None), (1000, OLD_TAG)]
    assert await bench.stored() == BODY


@pytest.mark.parametrize("it", [want(), want(vouched=False)], ids=["vouched", "by its tag"])
async def test_a_body_that_was_all_there_when_its_fetcher_died_costs_one_byte(it: Want) -> None:
    bench = Bench(Part(BODY[-1:], len(BODY) - 1, validators=OLD_TAG))
    await bench.adopts(it, replace(open_state(), validators=OLD_TAG), BODY)
    assert bench.origin.asked == [(len(BODY) - 1, OLD_TAG)]
    assert await bench.stored() == BODY


async def test_a_body_that_broke_off_behind_its_last_byte_is_whole() -> None:
    bench = Bench(Part(BODY, length=None, breaks=True), Part(BODY[-1:], len(BODY) - 1))
    await bench.fetch(want())
    assert await bench.stored() == BODY


@pytest.mark.parametrize("error", [RuntimeError("a mistake of ours"), Unavailable("cannot start an attempt")])
async def test_a_claim_ends_with_a_word_whatever_goes_wrong(error: Exception) -> None:
    bench = Bench(*[error] * 9)
    failed = await bench.fetch(want())
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE
    view = bench.store.view(want().ref.id, 2)
    assert view is not None
    assert (view.state.phase, view.locked) == (Phase.FAILED, False)


async def test_an_attempt_that_cannot_be_begun_on_disk_is_told_to_have_failed() -> None:
    bench = Bench(Part(BODY))
    request = await bench.log.request(want())
    begin = bench.store.begin

    async def begin_and_fill(it: Want) -> object:
        attempt = await begin(it)
        bench.store.full = True
        return attempt

    bench.store.begin = begin_and_fill  # type: ignore[assignment,method-assign]
    assert await bench.fetcher.on_request(request) == Done()
    assert isinstance(bench.log.events[-1], FetchFailed)


async def test_nothing_is_remembered_of_fetches_that_are_over() -> None:
    bench = Bench(Part(BODY))
    await bench.fetch(want())
    assert not bench.waiters._heard
    assert not bench.lanes._hosts


async def test_what_was_stored_and_not_told_is_told_without_asking_upstream_again() -> None:
    bench = Bench()
    request, token = await bench.dies_untold(want())
    assert await bench.fetcher.on_request(request) == Done()
    assert await bench.stored() == BODY
    assert bench.origin.asked == []
    last = await bench.log.last(want().ref.topic)
    assert last is not None and last.sequence == token + 1


async def test_what_was_stored_is_not_told_once_another_has_the_word() -> None:
    bench = Bench()
    request, token = await bench.dies_untold(want())

    async def overtaken(topic: Topic, event: Event, *, after: int | None = None) -> int:
        if isinstance(event, ArtifactStored):
            bench.log.append = genuine  # type: ignore[method-assign]
            await genuine(topic, FetchStarted(want(), request.sequence, "fetcher-8"), after=token)
        return await genuine(topic, event, after=after)

    genuine = bench.log.append
    bench.log.append = overtaken  # type: ignore[method-assign]
    assert await bench.fetcher.on_request(request) == Retry(0)
    assert isinstance(bench.log.events[-1], FetchStarted)
