import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.circuit import OPEN_SECONDS, STRIKES
from dpm_core.errors import Unavailable
from dpm_core.origins import NotHeld, Opened
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.wire import Deadlines

QUICK = Deadlines(connect=0.3, first_byte=0.2, stall=1)


class Host:
    """An upstream that answers by ``status``, or not at all; ``asked`` counts by path."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, str] = {}
        self.now = 0.0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        if self.status is None:
            await asyncio.Event().wait()
        return web.Response(status=self.status or 200, headers=self.headers)

    def want(self, path: str) -> Want:
        return Want(ArtifactRef("test", self.url, path), path, self.url + path, Lane.BLOB)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_get("/{path}", host.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield host
    await runner.cleanup()


@pytest.fixture
async def origin(host: Host) -> AsyncIterator[UpstreamOrigin]:
    async with UpstreamOrigin(QUICK, clock=lambda: host.now) as origin:
        yield origin


async def unavailable(origin: UpstreamOrigin, want: Want) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await origin.open(want)
    return caught.value


@pytest.mark.parametrize("status", [None, 503])
async def test_a_host_that_is_down_is_not_asked_until_a_probe_finds_it_well(
    host: Host, origin: UpstreamOrigin, status: int | None
) -> None:
    host.status = status
    for number in range(STRIKES):
        await unavailable(origin, host.want(f"down{number}"))
    refused = await unavailable(origin, host.want("refused"))
    assert refused.retry_after == OPEN_SECONDS
    assert not host.asked["/refused"]
    assert len(list(origin.down())) == 1
    host.now += OPEN_SECONDS
    host.status = 404
    assert isinstance(await origin.open(host.want("probe")), NotHeld)
    assert not list(origin.down())


async def test_while_a_probe_is_out_nobody_else_asks(host: Host, origin: UpstreamOrigin) -> None:
    host.status = None
    for number in range(STRIKES):
        await unavailable(origin, host.want(f"down{number}"))
    host.now += OPEN_SECONDS
    failed = await asyncio.gather(*(unavailable(origin, host.want(f"probe{number}")) for number in range(10)))
    assert sum(host.asked[f"/probe{number}"] for number in range(10)) == 1
    assert sum(error.retry_after is not None for error in failed) == 9


async def test_a_probe_that_nobody_waits_for_makes_room_for_another(host: Host, origin: UpstreamOrigin) -> None:
    host.status = None
    for number in range(STRIKES):
        await unavailable(origin, host.want(f"down{number}"))
    host.now += OPEN_SECONDS
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await origin.open(host.want("given-up"))
    host.status = 200
    opened = await origin.open(host.want("next"))
    assert isinstance(opened, Opened)
    await opened.body.close()


async def test_one_broken_path_does_not_close_a_host(host: Host, origin: UpstreamOrigin) -> None:
    host.status = 500
    for _ in range(3 * STRIKES):
        await unavailable(origin, host.want("broken"))
    assert host.asked["/broken"] == 3 * STRIKES


async def test_a_host_where_nobody_listens_is_down(host: Host) -> None:
    nobody = Want(ArtifactRef("test", "http://127.0.0.1:1/", "x"), "x", "http://127.0.0.1:1/x", Lane.BLOB)
    async with UpstreamOrigin(QUICK) as origin:
        said = [(await unavailable(origin, nobody)).what for _ in range(STRIKES + 1)]
    assert ["is down" in each for each in said] == [False] * STRIKES + [True]


async def test_a_host_that_has_too_much_to_do_is_left_alone(host: Host, origin: UpstreamOrigin) -> None:
    host.status, host.headers = 429, {"Retry-After": "17"}
    busy = await unavailable(origin, host.want("one"))
    assert (busy.status, busy.retry_after) == (429, 17.0)
    other = await unavailable(origin, host.want("other"))
    assert (other.status, other.retry_after) == (429, 17.0)
    assert "has too much to do" in other.what
    assert not host.asked["/other"]


async def test_an_address_that_is_forbidden_says_nothing_of_a_host(host: Host, origin: UpstreamOrigin) -> None:
    url = host.url.replace("127.0.0.1", "localhost")
    want = Want(ArtifactRef("test", "http://index.example/", "x"), "x", url, Lane.BLOB)
    for _ in range(STRIKES + 1):
        assert "private range" in (await unavailable(origin, want)).what
