"""Several hosts on one machine reach one another, and nobody else."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from dpm_testkit.hosts import Host, hosts
from dpm_testkit.programs import output_of

pytestmark = pytest.mark.real

FETCH = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"
BODY = b"x" * 1_000_000


@pytest.fixture(scope="module")
def net() -> Iterator[dict[str, Host]]:
    with hosts("here", "there") as made:
        yield made


@asynccontextmanager
async def served(host: Host) -> AsyncIterator[str]:
    """BODY, by this process on that host; its URL."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=BODY)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    socket = host.listening()
    await web.SockSite(runner, socket).start()
    try:
        yield "http://{}:{}/".format(*socket.getsockname())
    finally:
        await runner.cleanup()


async def got(host: Host, url: str, seconds: float = 10.0) -> bytes:
    timeout = aiohttp.ClientTimeout(total=seconds)
    session = aiohttp.ClientSession(connector=host.connector(), timeout=timeout)
    async with session, session.get(url) as answer:
        return await answer.read()


async def test_one_host_reaches_another_and_this_one_reaches_neither(net: dict[str, Host], tmp_path: Path) -> None:
    here, there = net["here"], net["there"]
    async with served(there) as url:
        assert await got(here, url) == BODY
        assert there.sent > len(BODY)
        for command in (here.command(sys.executable), [here.program(sys.executable, tmp_path)]):
            said = await output_of(*command, "-c", FETCH, url, folder=tmp_path, environment={})
            assert len(said) == len(BODY)
        with pytest.raises(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session:
                await session.get(url, timeout=aiohttp.ClientTimeout(sock_connect=0.5))


async def test_a_host_is_cut_off_in_silence_or_told_so(net: dict[str, Host]) -> None:
    here, there = net["here"], net["there"]
    async with served(there) as url:
        await got(here, url)
        there.cut()
        with pytest.raises(TimeoutError):
            await got(here, url, seconds=0.3)
        there.plug()
        assert await got(here, url) == BODY
        here.shun(there)
        with pytest.raises(aiohttp.ClientConnectorError):
            await got(here, url)
        here.find(there)
        assert await got(here, url) == BODY


async def test_a_host_sends_no_faster_than_its_limit(net: dict[str, Host]) -> None:
    here, there = net["here"], net["there"]
    there.limit(2_000_000)
    async with served(there) as url:
        begun = time.monotonic()
        await asyncio.gather(*(got(here, url) for _ in range(3)))
        assert time.monotonic() - begun > 1.0
