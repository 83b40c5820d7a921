"""Many clients, gateways and fetchers: upstream is asked once, and who waits for one file stops no other."""

import asyncio
import os
from itertools import cycle, islice

import aiohttp
import pytest

from dpm_testkit.node import running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import until

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(600)]

MB = 1_000_000
LARGE = int(os.environ.get("LARGE_MB", "20")) * MB
CLIENTS = 100
STALLED = 50


class Turnstile:
    """Opens when so many have come."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self.opened = asyncio.Event()

    def passed(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.opened.set()


async def read_all(session: aiohttp.ClientSession, url: str, body: bytes, first: Turnstile) -> None:
    """Fetch a file, say when its first byte is here, and compare every byte with ``body``."""
    async with session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        offset = 0
        async for part in answer.content.iter_any():
            assert body.startswith(part, offset)
            if not offset:
                first.passed()
            offset += len(part)
        assert offset == len(body)


async def test_a_hundred_clients_of_three_gateways_are_one_request_at_upstream(upstream: PackageServer) -> None:
    body = os.urandom(LARGE)
    file = upstream.add("large", File("large-1.0-py3-none-any.whl", body, hold_after=len(body) - 1))
    async with running_node(pypi_upstream=upstream.url, replicas="fetcher=2,gateway-pypi=3") as node:
        gateways = node.addresses()
        assert len(set(gateways)) == 3
        first = Turnstile(CLIENTS)
        connections = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connections) as session, asyncio.TaskGroup() as clients:
            for gateway in islice(cycle(gateways), CLIENTS):
                url = await node.file_url("large", gateway)
                clients.create_task(read_all(session, url, body, first))
            await first.opened.wait()
            await file.withheld.wait()
            file.release.set()
        assert upstream.asked[f"/packages/large/{file.name}"] == 1
        assert (await node.status())["bypasses"] == 0


async def test_hits_are_answered_while_fifty_fetches_stall(upstream: PackageServer) -> None:
    hit = upstream.add("hit", File("hit-1.0-py3-none-any.whl", os.urandom(MB // 10)))
    files = [
        upstream.add(f"stalled-{number}", File(f"stalled_{number}-1.0-py3-none-any.whl", body, hold_after=2 * MB))
        for number, body in enumerate(os.urandom(4 * MB) for _ in range(STALLED))
    ]
    async with running_node(
        pypi_upstream=upstream.url, transfers_per_host=str(STALLED), blob_lane=str(STALLED), stall_seconds="300"
    ) as node:
        hit_url = await node.file_url("hit")
        first = Turnstile(STALLED)
        connections = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connections) as session, asyncio.TaskGroup() as clients:
            await read_all(session, hit_url, hit.body, Turnstile(1))
            for number, file in enumerate(files):
                url = await node.file_url(f"stalled-{number}")
                clients.create_task(read_all(session, url, file.body, first))
            await first.opened.wait()
            for file in files:
                await file.withheld.wait()
            for _ in range(STALLED):
                await read_all(session, hit_url, hit.body, Turnstile(1))
            assert not any(file.release.is_set() for file in files)
            for file in files:
                file.release.set()
        assert upstream.asked[f"/packages/hit/{hit.name}"] == 1
        assert (await node.status())["bypasses"] == 0


async def test_without_a_fetcher_a_miss_is_told_so_and_is_served_when_one_comes_back(
    upstream: PackageServer,
) -> None:
    file = upstream.add("late", File("late-1.0-py3-none-any.whl", os.urandom(2 * MB)))
    path = f"/packages/late/{file.name}"
    async with running_node(pypi_upstream=upstream.url, claim_seconds="2", request_seconds="300") as node:
        url = await node.file_url("late")
        await node.dpm("stop", "fetcher")
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) > 0
                assert "no fetcher is running" in await answer.text()
            assert upstream.asked[path] == 0
            await node.dpm("start", "fetcher")
            await until(lambda: upstream.asked[path])  # nobody has asked again
            await read_all(session, url, file.body, Turnstile(1))
        assert upstream.asked[path] == 1
