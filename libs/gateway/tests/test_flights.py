"""Misses among memory twins: who shares a flight, what it follows, and that it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

from dpm_core.artifacts import NO_VALIDATORS, Lane, Want
from dpm_core.cids import CHUNK, Cid
from dpm_core.errors import AttemptLost, Untrusted
from dpm_core.events import (
    ArtifactStored,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
)
from dpm_gateway import flight
from dpm_gateway.bulletin import Bulletin
from dpm_gateway.flight import Airborne, Landed, Lost
from dpm_gateway.flights import Boarding, Flights
from dpm_gateway.frontier import Frontier
from dpm_runtime.service import SystemClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_store import MemoryAttempt, MemoryBlobStore, MemoryGrowing
from dpm_testkit.patience import soon, until, wait_on
from dpm_testkit.store_samples import BODY, SMALL, UPSTREAM, begun, open_state, stored, want
from dpm_testkit.told import Told


class Sky:
    """Flights, and a hand that plays the fetcher."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.store = MemoryBlobStore()
        self.bulletin = Bulletin()
        self.flights = Flights(
            "gateway-0", self.log, self.store, self.bulletin, SystemClock(), claim_seconds=0.3, request_seconds=5.0
        )
        self.reading = asyncio.create_task(self.bulletin.read(self.log, "pypi", after=0))

    def board(self, it: Want, fresh_since: float = 0.0) -> "asyncio.Task[Boarding]":
        return asyncio.create_task(self.flights.board(it, None, fresh_since))

    async def asked(self) -> int:
        """The sequence of the last request, once it is the last event."""
        await until(lambda: self.log.events and isinstance(self.log.events[-1], FetchRequested))
        return len(self.log.events)

    async def started(self, it: Want, request: int, *, adopted: int | None = None) -> int:
        return await self.log.append(it.ref.topic, FetchStarted(it, request, "fetcher-0", adopted))

    async def landed(self, it: Want, body: bytes, token: int) -> None:
        blob = await stored(self.store, token, body, it.name)
        event = ArtifactStored(it.ref, it.name, blob, "x/y", NO_VALIDATORS, UPSTREAM, 0.1, it.vouched)
        await self.log.append(it.ref.topic, event)


@pytest.fixture
async def sky(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sky]:
    monkeypatch.setattr(flight, "REDELIVERY_SECONDS", 0.5)
    sky = Sky()
    yield sky
    await sky.flights.close()
    sky.reading.cancel()
    with suppress(asyncio.CancelledError):
        await sky.reading


async def test_clients_of_a_page_share_a_flight_whenever_they_come(sky: Sky) -> None:
    page = replace(want(SMALL, "page", vouched=False), lane=Lane.INDEX, fresh_for=600.0)
    first = sky.board(page, time.time() - 600)
    await sky.asked()
    later = [sky.board(page, time.time() - 600) for _ in range(5)]
    await asyncio.sleep(0)  # their turn to board
    assert len(sky.flights._flights) == len(sky.flights._tasks) == 1
    await sky.landed(page, SMALL, 2)
    for each in (first, *later):
        boarding = await soon(each)
        assert isinstance(boarding.answer, Landed)
        boarding.leave()


async def test_bytes_that_rot_before_their_event_is_there_cannot_be_had_now(
    sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rotten(cid: Cid) -> None:
        raise Untrusted(f"{cid} is not what was stored")

    it = want(SMALL)
    boarding = sky.board(it)
    request = await sky.asked()
    monkeypatch.setattr(sky.store, "open", rotten)
    await stored(sky.store, await sky.started(it, request), SMALL, it.name)
    answer = (await soon(boarding)).answer
    assert isinstance(answer, Lost) and "could not be had" in answer.failure.detail


async def test_who_joins_a_flight_is_counted_and_its_span_leads_to_the_flight(sky: Sky, told: Told) -> None:
    it = want(SMALL)
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("first") as span, sky.flights.observed():
        first = sky.board(it)
        request = await sky.asked()
        with tracer.start_as_current_span("second", context=Context()):
            second = sky.board(it)
            await until(lambda: told.metric("dpm_gateway_passengers") == 2)
    assert (told.metric("dpm_gateway_joins_total"), told.metric("dpm_gateway_flights")) == (1, 0)
    await sky.landed(it, SMALL, await sky.started(it, request))
    for each in (first, second):
        (await soon(each)).leave()
    spans = {each.name: each for each in told.spans}
    assert spans["flight"].parent == span.get_span_context()
    assert [link.context for link in spans["second"].links] == [spans["flight"].context]
    assert not spans["first"].links


async def test_a_flight_that_joins_another_gateways_leads_to_its_trace(sky: Sky, told: Told) -> None:
    it = want(SMALL)
    with trace.get_tracer("test").start_as_current_span("elsewhere") as elsewhere:
        request = await sky.log.append(it.ref.topic, FetchRequested(it, time.time() + 60, "gateway-1"))
        token = await sky.started(it, request)
    landing = sky.board(it)
    await wait_on(landing)
    await sky.landed(it, SMALL, token)
    (await soon(landing)).leave()
    flight = await until(lambda: next((each for each in told.spans if each.name == "flight"), None))
    assert flight.links[0].context.trace_id == elsewhere.get_span_context().trace_id


async def test_a_client_that_wants_it_newer_is_not_put_off_with_an_older_answer(sky: Sky) -> None:
    page = replace(want(SMALL, "page", vouched=False), lane=Lane.INDEX, fresh_for=600.0)
    await sky.landed(page, SMALL, 1)
    before = time.time() - 600
    easy, strict = sky.board(page, before), sky.board(page, time.time() + 1)
    assert isinstance((await soon(easy)).answer, Landed)
    await sky.asked()
    await sky.landed(page, SMALL, 3)
    assert isinstance((await soon(strict)).answer, Landed)


async def test_clients_who_want_other_bytes_do_not_share_a_flight(sky: Sky) -> None:
    old, new = want(BODY), want(BODY[::-1])
    first = sky.board(old)
    request = await sky.asked()
    token = await sky.started(old, request)
    attempt = await begun(sky.store, token, old, open_state(), BODY[: 2 * CHUNK])
    assert isinstance((await soon(first)).answer, Airborne)
    second = (await soon(sky.board(new))).answer
    assert isinstance(second, Lost)
    assert "another version" in second.failure.detail
    await attempt.close()


async def test_other_bytes_that_were_stored_under_the_name_are_not_served(sky: Sky) -> None:
    await sky.landed(want(BODY[::-1]), BODY[::-1], 1)
    waiting = sky.board(want(BODY))
    request = await sky.asked()
    await sky.landed(want(BODY), BODY, request + 1)
    answer = (await soon(waiting)).answer
    assert isinstance(answer, Landed)
    assert sky.store.blobs[answer.cid] == BODY


async def test_a_client_goes_on_with_who_adopts_the_bytes(sky: Sky) -> None:
    it = want(BODY)
    frontier, dead, token = await airborne(sky, it)
    dead.locked = False
    dead.wake()
    following = await sky.started(it, 1, adopted=token)
    attempt = await sky.store.begin(it)
    assert await attempt.start(following, token) == 2 * CHUNK
    await attempt.publish(open_state())
    await attempt.write(BODY[2 * CHUNK :])
    await attempt.store(open_state(), UPSTREAM)
    assert await soon(asyncio.create_task(frontier.read(2 * CHUNK, 10))) == BODY[2 * CHUNK : 2 * CHUNK + 10]
    assert frontier.token == following


@pytest.mark.parametrize("it", [want(BODY), want(BODY[::-1])], ids=["begun anew", "of other bytes"])
async def test_a_client_is_cut_rather_than_given_a_splice(sky: Sky, it: Want) -> None:
    frontier, dead, _ = await airborne(sky, want(BODY))
    following = await sky.started(it, 1)
    attempt = await begun(sky.store, following, it, open_state(), BODY)
    dead.wake()
    with pytest.raises(AttemptLost):
        await soon(asyncio.create_task(frontier.read(2 * CHUNK, 10)))
    await attempt.close()


async def test_nobody_is_held_up_while_a_successors_folder_does_not_come(sky: Sky) -> None:
    frontier, dead, token = await airborne(sky, want(BODY))
    await sky.started(want(BODY), 1, adopted=token)
    waiting = asyncio.create_task(frontier.read(2 * CHUNK, 10))
    dead.locked = False
    dead.wake()
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0)  # the others' turn: somebody who never waits would leave them none
        turns += 1
    assert turns > 20
    with pytest.raises(AttemptLost):
        await waiting


async def airborne(sky: Sky, it: Want) -> tuple[Frontier, MemoryAttempt, int]:
    """A flight whose attempt has brought two chunks."""
    waiting = sky.board(it)
    token = await sky.started(it, await sky.asked())
    attempt = await begun(sky.store, token, it, open_state(), BODY[: 2 * CHUNK])
    answer = (await soon(waiting)).answer
    assert isinstance(answer, Airborne)
    assert isinstance(attempt, MemoryAttempt)
    return answer.frontier, attempt, token


async def test_a_fetcher_that_dies_at_each_attempt_is_not_waited_for_for_ever(
    sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "FOLDER_PAUSES", (0.001,))
    looked_for: list[int] = []
    follow = sky.store.follow

    async def noted(artifact_id: str, token: int) -> MemoryGrowing | None:
        looked_for.append(token)
        return await follow(artifact_id, token)

    monkeypatch.setattr(sky.store, "follow", noted)
    it = want(BODY)
    waiting = sky.board(it)
    request = await sky.asked()
    while not waiting.done():
        looked_for.clear()
        await sky.started(it, request)
        await until(lambda: looked_for or waiting.done())
    assert isinstance((await waiting).answer, Lost)


async def test_a_fetcher_at_work_is_seen_though_the_bulletin_is_behind(sky: Sky) -> None:
    it = want(BODY)
    waiting = sky.board(it)
    request = await sky.asked()
    sky.reading.cancel()
    await sky.started(it, request)
    failed = FetchFailed(it.ref, it.name, FailReason.UNAVAILABLE, "upstream is down")
    await sky.log.append(it.ref.topic, failed)
    answer = (await soon(waiting)).answer
    assert isinstance(answer, Lost)
    assert answer.failure.detail == "upstream is down"
