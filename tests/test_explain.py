"""``dpm explain`` on a real node, as a package goes its way."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, soon
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
MIB = 1024 * 1024
HELD_UP = "large-1.0-py3-none-any.whl"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("demo", wheel("demo"))
        server.add("large", File(HELD_UP, b"x" * (4 * MIB), hold_after=2 * MIB))
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url) as node:
        yield node


async def explained(node: Node, what: str, why: str) -> dict[str, Any]:
    """What ``dpm explain`` says once it gives that reason: a client has its answer before log and catalog."""

    async def said() -> dict[str, Any] | None:
        told: dict[str, Any] = json.loads(await node.dpm("explain", what, "--json"))
        return told if told["why"] == why else None

    return await eventually(said, pause=0.2)


async def test_a_file_is_followed_from_a_miss_to_a_hit_and_out_of_the_store(
    node: Node, upstream: PackageServer
) -> None:
    await explained(node, "demo", "never-asked")
    url = await node.file_url("demo")
    assert (await explained(node, url, "never-asked"))["answer"] == "miss"
    body = await node.package("demo")

    told = await explained(node, url, "held")
    assert (told["answer"], told["held"]["size"]) == ("hit", len(body))
    assert told["held"]["verified"] == f"sha256 of {upstream.url}demo/"
    assert told["held"]["origin"].startswith("upstream 127.0.0.1")
    assert [each["event"] for each in told["events"]] == ["fetch-requested", "fetch-started", "artifact-stored"]
    shown = await node.dpm("explain", told["url"])
    assert "hit: it is in the store" in shown and f"  {told['events'][-1]['sequence']}  " in shown

    await node.dpm("evict", told["name"])
    assert (await explained(node, url, "evicted"))["answer"] == "miss"


async def test_a_fetch_under_way_says_how_far_it_is(node: Node, upstream: PackageServer) -> None:
    (file,) = upstream.projects["large"]
    url = await node.file_url("large")
    async with httpx.AsyncClient(timeout=120) as client:  # upstream sends the rest only in the end
        getting = asyncio.create_task(client.get(url))
        await soon(asyncio.ensure_future(file.withheld.wait()))
        told = await explained(node, url, "started")
        file.release.set()
        assert len((await getting).content) == 4 * MIB
    assert told["answer"] == "fetching" and f"of {4 * MIB} bytes" in told["text"]


async def test_upstreams_no_is_told_with_its_end(node: Node) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(node.index + "nothing/", headers=JSON)).status_code == 404
    told = await explained(node, "nothing", "failed")
    assert told["answer"] == "refused" and told["events"][-1]["time"] < told["until"]
