"""The operator's commands on a real node: what is held, what is pinned, what goes."""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(180)]

MIB = 1024 * 1024
SIZES = {"one": 3 * MIB, "two": 2 * MIB, "three": MIB}


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        for name, size in SIZES.items():
            server.add(name, File(wheel(name), os.urandom(size)))
        yield server


@pytest.fixture
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    """A node that holds a file of each size, fetched in their order, and the three pages."""
    async with running_node(pypi_upstream=upstream.url) as node:
        for name in SIZES:
            await node.package(name)
        yield node


def wheel(name: str) -> str:
    return f"{name}-1.0-py3-none-any.whl"


async def asked(node: Node, *arguments: str) -> Any:
    return json.loads(await node.dpm(*arguments, "--json"))


def names(items: list[dict[str, Any]]) -> list[str]:
    return [str(item["name"]) for item in items]


async def test_what_is_held_is_shown_by_ecosystem_by_size_and_by_last_use(node: Node) -> None:
    shelf = await asked(node, "store")
    assert shelf["held"]["artifacts"] == 6
    assert names(shelf["biggest"])[:3] == [wheel("one"), wheel("two"), wheel("three")]
    unused = [name for name in names(shelf["unused"]) if name.endswith(".whl")]
    assert unused == [wheel("one"), wheel("two"), wheel("three")]
    (pypi,) = shelf["ecosystems"]
    assert (pypi["ecosystem"], pypi["artifacts"], pypi["bytes"]) == ("pypi", 6, shelf["held"]["bytes"])
    assert (shelf["left_over"], shelf["unknown"], shelf["pinned"]) == (0, 0, [])
    assert names((await asked(node, "store", "--limit", "1"))["biggest"]) == [wheel("one")]
    shown = await node.dpm("store")
    assert "6 artifacts in 6 blobs" in shown
    assert shown.index("Biggest") < shown.index(wheel("one"))


async def test_what_is_pinned_outlives_a_store_that_is_emptied(node: Node, upstream: PackageServer) -> None:
    assert f"{wheel('two')} (pypi, 2.0 MiB) is pinned" in await node.dpm("pin", "two*", "--ecosystem", "pypi")
    plan = await asked(node, "gc", "--down-to", "0", "--dry-run")
    assert set(names(plan["evicted"])) == {wheel("one"), wheel("three"), "one", "three"}
    assert (await asked(node, "store"))["held"]["artifacts"] == 6

    done = await asked(node, "gc", "--down-to", "0")
    assert set(names(done["evicted"])) == set(names(plan["evicted"]))
    shelf = await asked(node, "store")
    assert {wheel("two"), "two"} == set(names(shelf["pinned"])) == set(names(shelf["biggest"]))
    assert (shelf["left_over"], shelf["unknown"]) == (0, 0)
    on_disk = [path for path in node.home.blobs.glob("??/*") if path.suffix != ".json"]
    assert len(on_disk) == 2

    before = upstream.asked.total()
    assert await node.package("two")
    assert upstream.asked.total() == before
    assert await node.package("one")
    assert upstream.asked.total() == before + 2

    assert "no longer pinned" in await node.dpm("unpin", "two*")
    assert f"{wheel('two')} (pypi, 2.0 MiB) is evicted" in await node.dpm("evict", wheel("two"))
    assert wheel("two") not in names((await asked(node, "store"))["biggest"])


async def test_commands_that_cannot_be_done_say_why(node: Node) -> None:
    assert "nothing that is held is called ghost" in await node.dpm("pin", "ghost", check=False)
    assert "it is not pinned" in await node.dpm("unpin", "one", check=False)
    assert "no amount of bytes" in await node.dpm("gc", "--down-to", "much", check=False)
    await node.dpm("stop", "fetcher")
    assert "no fetcher takes commands" in await node.dpm("pin", "one", check=False)
    await node.dpm("down")
    assert "no node runs" in await node.dpm("pin", "one", check=False)
    assert (await asked(node, "store"))["held"]["artifacts"] == 6
