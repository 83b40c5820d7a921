"""Homeservers that are slow, strict, odd, or none at all."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiohttp import web

from dpm_core.errors import Invalid, Unavailable
from dpm_peer import matrix_link
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.room import NotAllowed
from dpm_testkit.clock import LeapingClock

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
ROOM, ME, KEEPER = "!room", "@me:matrix.test", "@keeper:matrix.test"
LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "slowly", "retry_after_ms": 7_000}


@asynccontextmanager
async def homeserver(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Whatever is asked, ``answer`` answers."""
    runner = web.AppRunner(app := web.Application(), shutdown_timeout=0.1)
    app.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asked(answer: Answer, clock: LeapingClock | None = None) -> AsyncIterator[MatrixLink]:
    """A link, with an account, to such a homeserver."""
    async with homeserver(answer) as url:
        account = Account(url, ME, "device", "secret-token")
        async with MatrixLink.open(url, clock or LeapingClock(), account) as link:
            yield link


def answers(*each: web.Response | Any) -> Answer:
    """These in turn (statuses, JSON with status 200, or text), the last one for ever."""
    left = list(each)

    async def answer(_request: web.Request) -> web.StreamResponse:
        one = left.pop(0) if len(left) > 1 else left[0]
        match one:
            case (int(status), str(text)):
                return web.Response(status=status, text=text)
            case (int(status), body):
                return web.json_response(body, status=status)
        return web.json_response(one)

    return answer


async def test_a_429_is_asked_again_after_the_time_that_it_says() -> None:
    clock = LeapingClock()
    async with asked(answers((429, LIMITED), (429, LIMITED), {"event_id": "$1"}), clock) as link:
        await MatrixRoom(link, ROOM, clock).tell({"v": 1}, "1-1")
    assert clock.ahead == link.waited == 14.0


async def test_a_429_that_lasts_is_told_with_its_time() -> None:
    async with asked(answers((429, LIMITED))) as link:
        for request in (link.call("ask", "GET", "/x"), MatrixRoom(link, ROOM, LeapingClock()).tell({"v": 1}, "1")):
            with pytest.raises(Unavailable, match="rate limit") as refused:
                await request
            assert refused.value.retry_after == 7.0 and not refused.value.lasting


@pytest.mark.parametrize("wait", [None, "soon", -5, 10**15])
async def test_a_429_with_an_odd_time_is_not_asked_again_at_once_nor_in_a_thousand_years(wait: object) -> None:
    clock = LeapingClock()
    async with asked(answers((429, LIMITED | {"retry_after_ms": wait}), {"v": 1}), clock) as link:
        if wait == 10**15:
            with pytest.raises(Unavailable):
                await link.call("ask", "GET", "/x")
            assert clock.ahead == 0
        else:
            assert await link.call("ask", "GET", "/x") == {"v": 1}
            assert 1 <= clock.ahead <= 10


@pytest.mark.parametrize(
    ("answer", "lasting", "says"),
    [
        ((502, "<h1>Bad gateway</h1>"), False, "502"),
        ((500, {"errcode": "M_UNKNOWN", "error": "oops"}), False, "oops"),
        ((200, "<h1>Welcome</h1>"), False, "no Matrix homeserver"),
        ((404, "<h1>Not found</h1>"), False, "no Matrix homeserver"),
        ((403, {"errcode": "M_FORBIDDEN", "error": "you may not"}), True, "you may not"),
        ((401, {"errcode": "M_UNKNOWN_TOKEN", "error": "gone"}), True, "access token"),
        ((413, {"errcode": "M_TOO_LARGE", "error": "too large"}), True, "M_TOO_LARGE"),
    ],
)
async def test_each_refusal_says_what_it_is_and_whether_it_lasts(answer: Any, lasting: bool, says: str) -> None:
    async with asked(answers(answer)) as link:
        for request in (link.call("ask", "GET", "/x"), MatrixRoom(link, ROOM, LeapingClock()).members()):
            with pytest.raises(Unavailable, match=says) as refused:
                await request
            assert refused.value.lasting is lasting
            assert isinstance(refused.value, NotAllowed) is (lasting and "LARGE" not in says)
            assert "secret-token" not in str(refused.value)


async def test_a_homeserver_that_hangs_is_given_up() -> None:
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with asked(hang) as link:
        with pytest.raises(Unavailable, match="did not answer"):
            await link.call("ask", "GET", "/x", timeout=0.2)


async def test_a_homeserver_that_is_not_there_is_unavailable() -> None:
    async with homeserver(answers({})) as url:
        pass
    async with MatrixLink.open(url, LeapingClock()) as link:
        with pytest.raises(Unavailable, match="cannot be reached") as refused:
            await link.call("ask", "GET", "/x")
        assert not refused.value.lasting


async def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_link, "MOST_ANSWER_BYTES", 100_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b" " * 10_000)

    async with asked(endless) as link:
        with pytest.raises(Unavailable, match="more than"):
            await link.call("ask", "GET", "/x")


@pytest.mark.parametrize(
    "url", ["", "matrix.test", "ftp://matrix.test", "https://me:word@matrix.test", "http://[x"]
)
async def test_what_is_no_homeservers_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        async with MatrixLink.open(url, LeapingClock()):
            pass


async def test_a_certificate_that_nobody_trusts_is_not_taken() -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = authority.cert_pem.bytes().decode()
    async with homeserver(answers({"v": 1}), theirs) as url:
        async with MatrixLink.open(url, LeapingClock(), ca=ours) as link:
            assert await link.call("ask", "GET", "/x") == {"v": 1}
        async with MatrixLink.open(url, LeapingClock()) as link:
            with pytest.raises(Unavailable, match="certificate"):
                await link.call("ask", "GET", "/x")
        with pytest.raises(Invalid, match="certificates"):
            async with MatrixLink.open(url, LeapingClock(), ca="none"):
                pass


async def test_odd_events_are_passed_over_and_the_rest_is_heard() -> None:
    joined = {"type": "m.room.member", "sender": ME, "state_key": ME, "content": {"membership": "join"}}
    odd: list[Any] = [
        5,
        None,
        {},
        {"type": []},
        {**joined, "content": 5},
        {**joined, "unsigned": 5, "state_key": {}},
    ]
    advert = {"type": "dpm.advert", "sender": ME, "state_key": ME, "content": {"v": 1}}
    room = {"timeline": {"events": [*odd, advert]}, "state": {"events": [*odd, joined]}}
    created = {"type": "m.room.create", "sender": KEEPER, "state_key": "", "content": {"room_version": []}}

    async def answer(request: web.Request) -> web.StreamResponse:
        if "/sync" not in request.path:
            return web.json_response(created)
        return web.json_response({"next_batch": "1", "rooms": {"join": {ROOM: room, "!other": 5}, "leave": []}})

    async with asked(answer) as link:
        batch = await anext(MatrixRoom(link, ROOM, LeapingClock()).follow())
    assert [each.content for each in batch.said] == [{"v": 1}]
    assert batch.members == {ME}


@pytest.mark.parametrize("rooms", [None, 5, [], {}, {"join": {ROOM: 5}}, {"join": {"!other": {"state": {}}}}])
async def test_who_is_in_no_such_room_is_told_so(rooms: object) -> None:
    async with asked(answers({"next_batch": "1", "rooms": rooms})) as link:
        with pytest.raises(NotAllowed, match="no member"):
            await anext(MatrixRoom(link, ROOM, LeapingClock()).follow())


async def test_hearing_goes_on_after_whatever_a_homeserver_answers() -> None:
    room: dict[str, Any] = {"join": {ROOM: {"state": {"events": []}}}}
    bad = [(502, "no"), (500, {}), {}, {"next_batch": 5}, (429, LIMITED), (400, {"errcode": "M_UNKNOWN"}), []]
    async with asked(answers(*bad, {"next_batch": "1", "rooms": room})) as link:
        batch = await anext(MatrixRoom(link, ROOM, LeapingClock()).follow("a token"))
    assert batch.token == "1"
