"""What a fetcher does where an origin has nothing at the URL of a want, and the want has another one."""

import asyncio
from dataclasses import replace

import pytest

from dpm_core.artifacts import Want
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, Event, FailReason, FetchFailed, FetchRequested
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.waiters import Waiters
from dpm_testkit.clock import QuickClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_samples import BODY, want

PLAIN = "http://upstream.example/plain"
INDEX = replace(want(BODY), otherwise=PLAIN)


@pytest.fixture
def origin() -> MemoryOrigin:
    return MemoryOrigin()


async def fetched(origin: MemoryOrigin, wanted: Want = INDEX) -> Event:
    """What a fetch comes to."""
    log, store, clock = MemoryEventLog(), MemoryBlobStore(), QuickClock()
    lanes = Lanes({wanted.lane: 1}, 1, patience=1.0)
    waiters = Waiters(clock, lambda: True)
    fetcher = Fetcher("fetcher-0", log, store, [origin], lanes, waiters, clock, Limits(5.0, 30.0))
    await log.append(wanted.ref.topic, FetchRequested(wanted, clock.now() + 30, "gateway-0"), after=0)
    recorded = await log.last(wanted.ref.topic)
    assert recorded is not None
    async with asyncio.timeout(30):
        await fetcher.on_request(recorded)
    return log.events[-1]


def asked(origin: MemoryOrigin) -> list[str]:
    return [url for url, _ in origin.asked]


async def test_what_is_not_at_one_url_is_had_at_the_other(origin: MemoryOrigin) -> None:
    origin.has(PLAIN, BODY)
    assert isinstance(await fetched(origin), ArtifactStored)
    assert asked(origin) == [INDEX.url, PLAIN]


async def test_who_has_it_at_the_first_is_not_asked_for_the_other(origin: MemoryOrigin) -> None:
    origin.has(INDEX.url, BODY)
    origin.has(PLAIN, b"another thing")
    assert isinstance(await fetched(origin), ArtifactStored)
    assert asked(origin) == [INDEX.url]


@pytest.mark.parametrize("other", [b"x" + BODY[1:], BODY[:-1], b"", None])
async def test_what_is_at_neither_is_not_found(other: bytes | None, origin: MemoryOrigin) -> None:
    if other is not None:
        origin.has(PLAIN, other)
    failed = await fetched(origin)
    assert isinstance(failed, FetchFailed)
    assert (failed.reason, failed.status) == (FailReason.NOT_FOUND, 404)


async def test_wrong_bytes_at_the_first_are_wrong(origin: MemoryOrigin) -> None:
    origin.has(INDEX.url, b"x" + BODY[1:])
    origin.has(PLAIN, BODY)
    failed = await fetched(origin)
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNTRUSTED
    assert asked(origin) == [INDEX.url]


async def test_a_body_that_breaks_off_is_gone_on_with_where_it_was(origin: MemoryOrigin) -> None:
    origin.has(PLAIN, BODY).breaks_after = len(BODY) // 2
    assert isinstance(await fetched(origin), ArtifactStored)
    assert origin.asked[-1] == (PLAIN, len(BODY) // 2)


async def test_an_origin_that_cannot_say_is_not_asked_for_the_other(origin: MemoryOrigin) -> None:
    origin.has(PLAIN, BODY)
    origin.fails_at[INDEX.url] = Unavailable("it is ill", lasting=True)
    failed = await fetched(origin)
    assert isinstance(failed, FetchFailed)
    assert failed.reason is FailReason.UNAVAILABLE
    assert PLAIN not in asked(origin)


async def test_what_no_digest_decides_has_but_one_url(origin: MemoryOrigin) -> None:
    origin.has(PLAIN, BODY)
    failed = await fetched(origin, replace(INDEX, digests=()))
    assert isinstance(failed, FetchFailed)
    assert asked(origin) == [INDEX.url]
