import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dpm_core.artifacts import Held, Lane, Validators, Want
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import (
    ArtifactStored,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
)
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_core.ports import Growing
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.transfer import PAGE_RETRIES, RETRIES
from dpm_fetcher.waiters import Waiters
from dpm_runtime.react import Done, Retry
from dpm_testkit.clock import QuickClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import eventually, soon, until
from dpm_testkit.store_samples import BODY, SMALL, want

Answer = Opened | NotModified | NotHeld


class Bench:
    """A fetcher among memory twins."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.store = MemoryBlobStore()
        self.origin = MemoryOrigin()
        self.clock = QuickClock()
        self.fetcher = Fetcher(
            "fetcher-0",
            self.log,
            self.store,
            [self.origin],
            Lanes({Lane.INDEX: 2, Lane.BLOB: 2}, 2, patience=1.0),
            Waiters(self.clock, lambda: True),
            self.clock,
            Limits(index_seconds=5.0, stall_seconds=30.0),
        )

    async def ask(self, want: Want, *, held: Held | None = None, deadline: float | None = None) -> Recorded:
        return await self.log.request(want, held=held, deadline=deadline)

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.log.events]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    yield Bench()


async def test_what_upstream_has_is_verified_stored_and_recorded(bench: Bench) -> None:
    wheel = want(BODY)
    bench.origin.has(wheel.url, BODY)
    assert await bench.fetcher.on_request(await bench.ask(wheel)) == Done()
    assert bench.kinds == [FetchRequested, FetchStarted, ArtifactStored]
    stored = bench.log.events[-1]
    assert isinstance(stored, ArtifactStored)
    assert stored.vouched
    body = await bench.store.open(stored.blob.cid)
    assert body is not None
    assert body.size == len(BODY)


async def test_of_the_fields_of_an_answer_those_are_recorded_that_are_to_be_kept(bench: Bench) -> None:
    tags = replace(want(SMALL, "tags", vouched=False), fresh_for=60.0, keeps=("link",))
    bench.origin.has(tags.url, SMALL).fields = (("link", "</next>"), ("server", "some"))
    await bench.fetcher.on_request(await bench.ask(tags))
    stored = bench.log.events[-1]
    assert isinstance(stored, ArtifactStored)
    assert stored.fields == (("link", "</next>"),)


async def test_wrong_bytes_are_never_stored(bench: Bench) -> None:
    wheel = want(BODY)
    bench.origin.has(wheel.url, b"x" + BODY[1:])
    assert await bench.fetcher.on_request(await bench.ask(wheel)) == Done()
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNTRUSTED
    bench.origin.has(wheel.url, BODY)
    await bench.fetcher.on_request(await bench.ask(wheel))
    assert isinstance(bench.log.events[-1], ArtifactStored)


@pytest.mark.parametrize("sent", [BODY[:-1], BODY + b"x", b""])
async def test_a_body_of_another_length_is_not_taken(bench: Bench, sent: bytes) -> None:
    wheel = want(BODY)
    bench.origin.has(wheel.url, sent)
    await bench.fetcher.on_request(await bench.ask(wheel))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNTRUSTED


async def test_a_transfer_that_breaks_off_goes_on_from_where_it_stood(bench: Bench) -> None:
    wheel = want(BODY)
    bench.origin.has(wheel.url, BODY).breaks_after = 100_000
    await bench.fetcher.on_request(await bench.ask(wheel))
    assert isinstance(bench.log.events[-1], ArtifactStored)
    assert bench.origin.asked == [(wheel.url, 0), (wheel.url, 100_000)]


async def test_what_nobody_has_is_not_found(bench: Bench) -> None:
    await bench.fetcher.on_request(await bench.ask(want()))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert (failed.reason, failed.status) == (FailReason.NOT_FOUND, 404)


async def test_an_upstream_that_is_down_is_tried_again_and_then_said_to_be(bench: Bench) -> None:
    bench.origin.down = True
    await bench.fetcher.on_request(await bench.ask(want()))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE
    assert len(bench.origin.asked) > 1


async def test_what_asking_again_would_not_mend_is_asked_once(bench: Bench) -> None:
    bench.origin.fails = [Unavailable("it redirects in circles", lasting=True, status=302)]
    await bench.fetcher.on_request(await bench.ask(want()))
    assert len(bench.origin.asked) == 1
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert (failed.reason, failed.status) == (FailReason.UNAVAILABLE, 302)


async def test_who_says_when_to_come_back_is_not_asked_before_and_clients_are_told(bench: Bench) -> None:
    bench.origin.fails = [Unavailable("busy", status=429, retry_after=2.0)]
    await bench.fetcher.on_request(await bench.ask(want()))
    assert len(bench.origin.asked) == 1
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert (failed.status, failed.retry_after) == (429, 2.0)


@pytest.mark.parametrize(("seconds", "goes_on"), [(2.0, True), (600.0, False)])
async def test_a_transfer_that_has_begun_waits_for_who_says_when_to_come_back(
    bench: Bench, seconds: float, goes_on: bool
) -> None:
    wheel = want(BODY)
    item = bench.origin.has(wheel.url, BODY)
    item.breaks_after, item.waits_at = 100_000, 50_000
    running = asyncio.create_task(bench.fetcher.on_request(await bench.ask(wheel)))
    (await followed(bench, wheel)).close()
    bench.origin.fails = [Unavailable("busy", status=503, retry_after=seconds)]
    item.go.set()
    await soon(running)
    assert isinstance(bench.log.events[-1], ArtifactStored if goes_on else FetchFailed)


async def test_a_page_of_no_bytes_is_no_page(bench: Bench) -> None:
    page = replace(want(b"", "page", vouched=False), lane=Lane.INDEX)
    bench.origin.has(page.url, b"")
    await bench.fetcher.on_request(await bench.ask(page))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE
    assert len(bench.origin.asked) == 1 + PAGE_RETRIES


async def test_a_page_that_is_held_is_not_waited_for(bench: Bench) -> None:
    page = replace(want(SMALL, "page", vouched=False), lane=Lane.INDEX)
    bench.origin.has(page.url, SMALL)
    await bench.fetcher.on_request(await bench.ask(page))
    stored = bench.log.events[-1]
    assert isinstance(stored, ArtifactStored)
    bench.origin.down = True
    held = Held(stored.blob.cid, stored.blob.size, stored.validators)
    await bench.fetcher.on_request(await bench.ask(page, held=held))
    assert len(bench.origin.asked) == 2


async def test_an_upstream_that_drips_and_breaks_off_is_not_asked_for_ever(bench: Bench) -> None:
    wheel = want(BODY)
    item = bench.origin.has(wheel.url, BODY)
    open_it = bench.origin.open

    async def a_little(
        want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Answer:
        item.breaks_after = offset + 10
        return await open_it(want, offset, held, digests)

    bench.origin.open = a_little  # type: ignore[method-assign]
    await bench.fetcher.on_request(await bench.ask(wheel))
    assert isinstance(bench.log.events[-1], FetchFailed)
    assert [offset for _, offset in bench.origin.asked] == [10 * turn for turn in range(1 + RETRIES)]


async def test_a_file_whose_size_nobody_knows_has_a_limit(bench: Bench) -> None:
    wheel = replace(want(BODY), size=None)
    bench.origin.has(wheel.url, BODY)
    bench.fetcher._limits = Limits(index_seconds=5.0, stall_seconds=30.0, unsized_bytes=len(BODY) - 1)
    await bench.fetcher.on_request(await bench.ask(wheel))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.TOO_LARGE


def told(body: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")


async def test_a_page_whose_digest_upstream_tells_has_it_or_is_not_stored(bench: Bench) -> None:
    tag = replace(want(SMALL, "tag", vouched=False), lane=Lane.INDEX, digest_field="docker-content-digest")
    bench.origin.has(tag.url, SMALL).tells = told(b"other bytes")
    await bench.fetcher.on_request(await bench.ask(tag))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNTRUSTED
    bench.origin.has(tag.url, SMALL).tells = told(SMALL)
    await bench.fetcher.on_request(await bench.ask(tag))
    assert isinstance(bench.log.events[-1], ArtifactStored)


async def test_a_page_whose_digest_upstream_tells_is_begun_anew_where_it_broke_off(bench: Bench) -> None:
    tag = replace(want(BODY, "tag", vouched=False), lane=Lane.INDEX, digest_field="docker-content-digest")
    item = bench.origin.has(tag.url, BODY)
    item.breaks_after, item.tells = 100_000, told(BODY)
    await bench.fetcher.on_request(await bench.ask(tag))
    assert isinstance(bench.log.events[-1], ArtifactStored)
    assert bench.origin.asked == [(tag.url, 0), (tag.url, 0)]


async def test_what_is_held_is_compared_by_its_digests(bench: Bench) -> None:
    tag = replace(want(SMALL, "tag", vouched=False), fresh_for=60.0, digest_field="docker-content-digest")
    bench.origin.has(tag.url, SMALL).tells = told(SMALL)
    await bench.fetcher.on_request(await bench.ask(tag))
    stored = bench.log.events[-1]
    assert isinstance(stored, ArtifactStored)
    held = Held(stored.blob.cid, stored.blob.size, Validators(), stored.blob.digests)
    await bench.fetcher.on_request(await bench.ask(tag, held=held))
    assert isinstance(bench.log.events[-1], FetchUnchanged)


async def test_what_has_not_changed_is_only_confirmed(bench: Bench) -> None:
    page = replace(want(SMALL, "page", vouched=False), lane=Lane.INDEX, fresh_for=60.0)
    held_by_origin = bench.origin.has(page.url, SMALL)
    await bench.fetcher.on_request(await bench.ask(page))
    stored = bench.log.events[-1]
    assert isinstance(stored, ArtifactStored)
    held = Held(stored.blob.cid, stored.blob.size, held_by_origin.validators)
    await bench.fetcher.on_request(await bench.ask(page, held=held))
    unchanged = bench.log.events[-1]
    assert isinstance(unchanged, FetchUnchanged)
    assert unchanged.cid == stored.blob.cid


async def test_a_page_that_is_too_large_is_not_taken(bench: Bench) -> None:
    page = replace(want(BODY, "page", vouched=False), lane=Lane.INDEX, limit=1000)
    bench.origin.has(page.url, BODY)
    await bench.fetcher.on_request(await bench.ask(page))
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.TOO_LARGE


async def test_a_request_past_its_deadline_is_answered_and_not_fetched(bench: Bench) -> None:
    request = await bench.ask(want(), deadline=time.time() - 1)
    assert await bench.fetcher.on_request(request) == Done()
    failed = bench.log.events[-1]
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.EXPIRED
    assert bench.origin.asked == []


async def test_a_request_that_was_answered_is_not_fetched_again(bench: Bench) -> None:
    wheel = want(BODY)
    bench.origin.has(wheel.url, BODY)
    request = await bench.ask(wheel)
    await bench.fetcher.on_request(request)
    assert await bench.fetcher.on_request(request) == Done()
    assert len(bench.origin.asked) == 1


async def test_a_request_under_way_is_left_to_who_is_at_it(bench: Bench) -> None:
    wheel = want(BODY)
    item = bench.origin.has(wheel.url, BODY)
    item.waits_at = 50_000
    request = await bench.ask(wheel)
    first = asyncio.create_task(bench.fetcher.on_request(request))
    growing = await followed(bench, wheel)
    assert await bench.fetcher.on_request(request) == Retry(2.0)
    item.go.set()
    assert await soon(first) == Done()
    growing.close()
    assert len(bench.origin.asked) == 1


async def test_the_bytes_of_a_dead_fetcher_are_gone_on_from(bench: Bench) -> None:
    wheel = want(BODY)
    item = bench.origin.has(wheel.url, BODY)
    item.waits_at = 200_000
    request = await bench.ask(wheel)
    dying = asyncio.create_task(bench.fetcher.on_request(request))
    growing = await followed(bench, wheel)
    growing.close()
    await until(lambda: written(bench, wheel) >= 200_000)
    dying.cancel()
    await asyncio.wait({dying})
    item.waits_at = None
    assert await bench.fetcher.on_request(request) == Done()
    assert bench.origin.asked == [(wheel.url, 0), (wheel.url, 200_000)]
    started = [event for event in bench.log.events if isinstance(event, FetchStarted)]
    assert [each.adopted for each in started] == [None, 2]
    assert isinstance(bench.log.events[-1], ArtifactStored)


async def followed(bench: Bench, wheel: Want) -> Growing:
    """The growing file of the attempt with token 2, once it is there."""
    return await eventually(lambda: bench.store.follow(wheel.ref.id, 2))


def written(bench: Bench, wheel: Want) -> int:
    view = bench.store.view(wheel.ref.id, 2)
    return view.written if view else 0


async def test_a_loser_of_its_token_records_nothing_and_leaves_the_request_to_its_successor(bench: Bench) -> None:
    wheel = want(BODY)
    item = bench.origin.has(wheel.url, BODY)
    item.waits_at = 50_000
    running = asyncio.create_task(bench.fetcher.on_request(await bench.ask(wheel)))
    (await followed(bench, wheel)).close()
    await bench.log.append(wheel.ref.topic, FetchStarted(wheel, 1, "fetcher-1"), after=2)
    item.go.set()
    assert await soon(running) == Retry(0)
    assert bench.kinds == [FetchRequested, FetchStarted, FetchStarted]


async def test_what_a_fetch_came_to_is_recorded_when_the_bus_is_back(bench: Bench) -> None:
    wheel = want(BODY)
    item = bench.origin.has(wheel.url, BODY)
    item.waits_at = 50_000
    running = asyncio.create_task(bench.fetcher.on_request(await bench.ask(wheel)))
    (await followed(bench, wheel)).close()
    bench.log.down = True
    item.go.set()
    await until(lambda: (view := bench.store.view(wheel.ref.id, 2)) is not None and view.state.over)
    bench.log.down = False
    assert await soon(running) == Done()
    assert bench.kinds[-1] is ArtifactStored


async def test_a_request_that_has_had_its_answer_is_settled_without_another_claim(bench: Bench) -> None:
    wheel = want(BODY)
    bench.origin.has(wheel.url, BODY)
    request = await bench.ask(wheel)
    assert await bench.fetcher.on_request(request) == Done()
    assert await bench.fetcher.on_request(request) == Done()  # delivered again: the first acknowledgement was lost
    assert bench.kinds == [FetchRequested, FetchStarted, ArtifactStored]
