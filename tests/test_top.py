"""``dpm top`` on a real node that is in the middle of a fetch."""

import asyncio
import json

import aiohttp
import pytest

from dpm_testkit.node import running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import soon

pytestmark = pytest.mark.real

JSON = "application/vnd.pypi.simple.v1+json"
MIB = 1024 * 1024


async def test_a_transfer_is_shown_with_its_name_and_how_far_it_is() -> None:
    server = PackageServer()
    name = "large-1.0-py3-none-any.whl"
    async with (
        server.running(),
        running_node(pypi_upstream=server.url) as node,
        aiohttp.ClientSession() as session,
    ):
        file = server.add("large", File(name, b"x" * (4 * MIB), hold_after=2 * MIB))

        async def get() -> bytes:
            async with session.get(node.index + "large/", headers={"Accept": JSON}) as page:
                url = json.loads(await page.read())["files"][0]["url"]
            async with session.get(f"{node.index}large/{url}") as answer:
                return await answer.read()

        getting = asyncio.create_task(get())
        await soon(asyncio.ensure_future(file.withheld.wait()))
        told = await node.dpm("top", "--json", "--times", "3", "--interval", "0.5")
        moments = [json.loads(line) for line in told.splitlines()]
        (transfer,) = moments[-1]["transfers"]
        assert (transfer["name"], transfer["length"]) == (name, 4 * MIB)
        assert 0 < transfer["bytes"] <= 2 * MIB
        assert set(moments[-1]["processes"]) == {"fetcher-0", "fusefs-0", "gateway-pypi-0"}

        file.release.set()
        assert len(await getting) == 4 * MIB
        (line,) = (await node.dpm("top", "-n", "1")).splitlines()
        assert "2 miss" in line and "0 under way" in line
