"""The catalog is a cache of the log: deleted, it comes back as it was."""

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from dpm_runtime.catalog import SqliteCatalog
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import until

pytestmark = pytest.mark.real

PROJECTS = 12


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        for number in range(PROJECTS):
            body = os.urandom(1000 * (number + 1) ** 3)
            server.add(f"demo-{number}", File(f"demo_{number}-1.0-py3-none-any.whl", body, metadata=b"Name: demo"))
        yield server


@pytest.fixture
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url) as node:
        yield node


def position(node: Node) -> int:
    catalog = SqliteCatalog.reader(node.home.catalog)
    try:
        return catalog.position()
    finally:
        catalog.close()


def folded(node: Node) -> dict[str, list[tuple[object, ...]]]:
    catalog = SqliteCatalog.reader(node.home.catalog)
    try:
        return catalog.folded_tables()
    finally:
        catalog.close()


async def test_a_catalog_that_was_deleted_comes_back_equal_in_every_folded_table(
    node: Node, upstream: PackageServer
) -> None:
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> int:
            async with session.get(node.index + path) as answer:
                await answer.read()
                return answer.status

        host = upstream.url.split("/")[2]
        files = [
            f"files/{host}/packages/demo-{number}/demo_{number}-1.0-py3-none-any.whl{suffix}"
            for number in range(PROJECTS)
            for suffix in ("", ".metadata")
        ]
        assert set(await asyncio.gather(*map(get, files))) == {200}
        assert await get("no-such-project/") == 404
        status = await node.status()
        assert status["artifacts"] == 3 * PROJECTS
        await until(lambda: len(folded(node)["artifact"]) == 3 * PROJECTS, pause=0.05)
        end, before = position(node), folded(node)

        await node.dpm("stop", "fetcher")
        for file in node.home.catalog.glob("catalog-*"):
            file.unlink()
        assert folded(node)["artifact"] == []
        await node.dpm("start", "fetcher")
        await until(lambda: position(node) >= end, pause=0.05)
        assert folded(node) == before
        asked = upstream.asked.total()
        assert set(await asyncio.gather(*map(get, files))) == {200}
        assert upstream.asked.total() == asked
