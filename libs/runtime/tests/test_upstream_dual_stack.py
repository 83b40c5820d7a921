"""Upstreams that are reached by IPv6, or by either."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.origins import Opened
from dpm_runtime import guard
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.wire import Deadlines

PATIENT = Deadlines(connect=30, first_byte=30, stall=30)


async def port_of(address: str, runner: web.AppRunner, port: int = 0) -> int:
    await web.TCPSite(runner, address, port).start()
    return int(runner.addresses[-1][1])


@pytest.fixture
async def runner() -> AsyncIterator[web.AppRunner]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.host.rpartition(":")[0])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    yield runner
    await runner.cleanup()


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the name ``packages.acme.test`` has, in the order in which they are tried."""
    known: list[str] = []

    def look_up(host: str, port: int, *_: object) -> list[dict[str, object]]:
        assert host == "packages.acme.test"
        return [
            {"hostname": host, "host": each, "port": port, "proto": 0, "flags": socket.AI_NUMERICHOST,
             "family": socket.AF_INET6 if ":" in each else socket.AF_INET}
            for each in known
        ]  # fmt: skip

    monkeypatch.setattr(guard, "_look_up", look_up)
    return known


@pytest.fixture
def silent() -> Iterator[int]:
    """A port of ``::1`` that answers nobody: its queue is full, so the system drops whoever knocks."""
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        waiting = [socket.socket(socket.AF_INET6) for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("::1", port))
        yield port
        for each in waiting:
            each.close()


async def got(url: str) -> str:
    want = Want(ArtifactRef("pypi", url, "any"), "any", url, Lane.BLOB)
    async with UpstreamOrigin(PATIENT) as origin:
        opened = await origin.open(want)
        assert isinstance(opened, Opened)
        return b"".join([part async for part in opened.body]).decode()


async def test_an_upstream_that_has_ipv6_alone(runner: web.AppRunner, addresses: list[str]) -> None:
    port = await port_of("::1", runner)
    addresses.append("::1")
    assert await got(f"http://[::1]:{port}/") == "[::1]"
    assert await got(f"http://packages.acme.test:{port}/") == "packages.acme.test"


async def test_an_upstream_whose_ipv6_is_refused_is_reached_by_ipv4(
    runner: web.AppRunner, addresses: list[str]
) -> None:
    port = await port_of("127.0.0.1", runner)
    addresses += ["::1", "127.0.0.1"]
    assert await got(f"http://packages.acme.test:{port}/") == "packages.acme.test"


async def test_an_upstream_whose_ipv6_is_silent_is_reached_by_ipv4_long_before_that_is_given_up(
    runner: web.AppRunner, addresses: list[str], silent: int
) -> None:
    port = await port_of("127.0.0.1", runner, silent)
    addresses += ["::1", "127.0.0.1"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await got(f"http://[::1]:{port}/")
    async with asyncio.timeout(PATIENT.connect / 2):
        assert await got(f"http://packages.acme.test:{port}/") == "packages.acme.test"
