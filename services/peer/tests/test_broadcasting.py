"""What is given to a broadcasting arrives, whatever the homeserver does meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.adverts import ADVERT, DELTA
from dpm_core.errors import Invalid, Unavailable
from dpm_peer.broadcasting import MOST_DELTAS, Broadcasting
from dpm_peer.pacing import BURST, FASTEST_SECONDS, SLOWER, SLOWEST_SECONDS, Pace
from dpm_peer.room import NotAllowed
from dpm_testkit.clock import ManualClock, QuickClock
from dpm_testkit.memory_room import MemoryHomeserver
from dpm_testkit.patience import soon
from dpm_testkit.room_conformance import Listener

ME, KEEPER = "@me:matrix.test", "@keeper:matrix.test"


@pytest.fixture
def server() -> MemoryHomeserver:
    server = MemoryHomeserver(KEEPER)
    server.happen("m.room.member", KEEPER, {"membership": "join"}, ME)
    return server


@pytest_asyncio.fixture
async def broadcasting(server: MemoryHomeserver) -> AsyncIterator[Broadcasting]:
    broadcasting = Broadcasting(server.room(ME), QuickClock(), pace=0.001)
    running = asyncio.ensure_future(broadcasting.run())
    yield broadcasting
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def heard(server: MemoryHomeserver) -> Listener:
    """The room as a newcomer hears it."""
    async with aclosing(server.room(KEEPER).follow()) as batches:
        listener = Listener(batches)
        await listener.next()
    return listener


async def test_deltas_arrive_once_and_in_order_though_requests_fail(
    server: MemoryHomeserver, broadcasting: Broadcasting
) -> None:
    server.refuses = [Unavailable("it was lost", retry_after=3.0) for _ in range(5)]
    for number in range(10):
        assert broadcasting.tell({"v": number}, f"1-{number}")
    await soon(asyncio.ensure_future(broadcasting.idle()))
    assert (await heard(server)).contents(DELTA, ME) == list(range(10))


async def test_what_was_said_while_the_homeserver_was_away_arrives_when_it_is_back(
    server: MemoryHomeserver, broadcasting: Broadcasting
) -> None:
    server.away = True
    for number in (1, 2, 3):
        broadcasting.advertise({"v": number})
        broadcasting.tell({"v": number}, f"1-{number}")
        await asyncio.sleep(0)
    assert server.sent == 0
    server.away = False
    await soon(asyncio.ensure_future(broadcasting.idle()))
    listener = await heard(server)
    assert listener.contents(ADVERT, ME) == [3]
    assert listener.contents(DELTA, ME) == [1, 2, 3]
    assert server.sent == 4  # of three adverts, the last


async def test_too_many_waiting_deltas_are_given_up_together(
    server: MemoryHomeserver, broadcasting: Broadcasting
) -> None:
    server.away = True
    told = [broadcasting.tell({"v": number}, f"1-{number}") for number in range(MOST_DELTAS + 1)]
    assert told == [True] * MOST_DELTAS + [False]
    broadcasting.advertise({"v": "a new inventory"})
    assert broadcasting.tell({"v": "after it"}, "2-1")
    server.away = False
    await soon(asyncio.ensure_future(broadcasting.idle()))
    listener = await heard(server)
    assert (listener.contents(ADVERT, ME), listener.contents(DELTA, ME)) == (["a new inventory"], ["after it"])


async def test_no_more_is_sent_than_the_pace_allows(server: MemoryHomeserver) -> None:
    clock = ManualClock()
    broadcasting = Broadcasting(server.room(ME), clock)
    running = asyncio.ensure_future(broadcasting.run())
    for number in range(BURST + 2):
        broadcasting.tell({"v": number}, f"1-{number}")
    await soon(asyncio.ensure_future(clock.sleepers()))
    assert server.sent == BURST
    await clock.advance(FASTEST_SECONDS)
    assert server.sent == BURST + 1
    await clock.advance(FASTEST_SECONDS)
    assert server.sent == BURST + 2
    running.cancel()


async def test_a_homeserver_that_lets_wait_is_spoken_to_less_often(server: MemoryHomeserver) -> None:
    clock = ManualClock()
    broadcasting = Broadcasting(server.room(ME), clock)
    running = asyncio.ensure_future(broadcasting.run())
    server.lets_wait = 3.0
    for number in range(3):
        broadcasting.tell({"v": number}, f"1-{number}")
    await soon(asyncio.ensure_future(clock.sleepers()))
    assert server.sent == 1
    await clock.advance(FASTEST_SECONDS)
    assert server.sent == 1
    await clock.advance(FASTEST_SECONDS * (SLOWER - 1))
    assert server.sent == 2
    running.cancel()


@given(st.lists(st.booleans(), max_size=60))
def test_a_pace_stays_between_the_slowest_and_the_fastest(limited: list[bool]) -> None:
    pace, now = Pace(), 0.0
    for each in limited:
        while wait := pace.wait(now):
            now += wait
        pace.said(limited=each)
        assert FASTEST_SECONDS <= pace.seconds <= SLOWEST_SECONDS


def test_who_is_never_limited_speaks_once_a_second_in_the_end() -> None:
    pace, now, times = Pace(), 0.0, list[float]()
    for _ in range(40):
        while wait := pace.wait(now):
            now += wait
        times.append(now)
        pace.said(limited=False)
    assert times[BURST - 1] == 0.0
    assert times[-1] - times[-2] == pytest.approx(FASTEST_SECONDS)


async def test_who_was_removed_hears_of_it(server: MemoryHomeserver) -> None:
    broadcasting = Broadcasting(server.room(ME), QuickClock())
    await server.room(KEEPER).kick(ME, "no longer of the team")
    broadcasting.advertise({"v": 1})
    with pytest.raises(NotAllowed):
        await soon(asyncio.ensure_future(broadcasting.run()))


def test_what_no_room_takes_is_refused_at_once(server: MemoryHomeserver) -> None:
    broadcasting = Broadcasting(server.room(ME), QuickClock())
    with pytest.raises(Invalid):
        broadcasting.advertise({"v": 0.5})
    with pytest.raises(Invalid):
        broadcasting.tell({}, "1-1")
