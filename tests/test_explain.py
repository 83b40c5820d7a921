"""``dpm explain`` on a real node, as a package goes its way."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from dpm_cli.explain.explanation import Explanation
from dpm_cli.explain.gather import explanations
from dpm_cli.explain.verdict import Answer, Why
from dpm_runtime.settings import load
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


async def explained(node: Node, upstream: PackageServer, what: str, why: Why) -> Explanation:
    """What ``dpm explain`` says once it gives that reason: a client has its answer before log and catalog."""
    settings = load(home=node.home.root, pypi_upstream=upstream.url, pypi_port=0)

    async def said() -> Explanation | None:
        told = (await explanations(settings, what))[0]
        return told if told.verdict.why is why else None

    return await eventually(said)


async def test_a_file_is_followed_from_a_miss_to_a_hit_and_out_of_the_store(
    node: Node, upstream: PackageServer
) -> None:
    await explained(node, upstream, "demo", Why.NEVER_ASKED)
    url = await node.file_url("demo")
    assert (await explained(node, upstream, url, Why.NEVER_ASKED)).verdict.answer is Answer.MISS
    body = await node.package("demo")
    await explained(node, upstream, url, Why.HELD)

    told = json.loads(await node.dpm("explain", url, "--json"))
    assert (told["answer"], told["why"], told["held"]["size"]) == ("hit", "held", len(body))
    assert told["held"]["verified"] == f"sha256 of {upstream.url}demo/"
    assert told["held"]["origin"].startswith("upstream 127.0.0.1")
    assert [each["event"] for each in told["events"]] == ["fetch-requested", "fetch-started", "artifact-stored"]
    shown = await node.dpm("explain", told["url"])
    assert "hit: it is in the store" in shown and f"  {told['events'][-1]['sequence']}  " in shown

    await node.dpm("evict", told["name"])
    assert (await explained(node, upstream, url, Why.EVICTED)).verdict.answer is Answer.MISS


async def test_a_fetch_under_way_says_how_far_it_is(node: Node, upstream: PackageServer) -> None:
    (file,) = upstream.projects["large"]
    url = await node.file_url("large")
    async with httpx.AsyncClient(timeout=120) as client:  # upstream sends the rest only in the end
        getting = asyncio.create_task(client.get(url))
        await soon(asyncio.ensure_future(file.withheld.wait()))
        told = await explained(node, upstream, url, Why.STARTED)
        file.release.set()
        assert len((await getting).content) == 4 * MIB
    assert told.verdict.answer is Answer.FETCHING and f"of {4 * MIB} bytes" in told.verdict.text


async def test_upstreams_no_is_told_with_its_end(node: Node, upstream: PackageServer) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(node.index + "nothing/", headers=JSON)).status_code == 404
    told = await explained(node, upstream, "nothing", Why.FAILED)
    assert told.verdict.answer is Answer.REFUSED
    assert told.events and told.verdict.until and told.events[-1].time < told.verdict.until
