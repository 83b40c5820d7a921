"""The log of a node is lost whole: what lies in the store is held again, and nobody asks upstream."""

import json
import os
import shutil
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from dpm_core.cids import CHUNK
from dpm_core.events import ArtifactPinned, ArtifactStored
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

BODIES = {"small": os.urandom(5_000), "one": os.urandom(CHUNK), "large": os.urandom(3 * CHUNK + 7)}


async def findings(node: Node) -> dict[str, dict[str, Any]]:
    told = json.loads(await node.dpm("doctor", "--json", check=False))
    return {each["code"]: each for each in told["findings"]}


async def status_of(node: Node, project: str) -> int:
    headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
    url = f"{node.index}{project}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status


async def test_a_log_that_was_lost_whole_is_seeded_from_the_store_without_a_network() -> None:
    network = AsyncExitStack()
    upstream = await network.enter_async_context(PackageServer().running())
    for name, body in BODIES.items():
        upstream.add(name, File(f"{name}-1.0-py3-none-any.whl", body))
    async with network, running_node(pypi_upstream=upstream.url) as node:
        for name, body in BODIES.items():
            assert await node.package(name) == body
        await node.dpm("pin", "large-*")
        before = {
            each.event.ref.id: each.event
            for each in await node.history()
            if isinstance(each.event, ArtifactStored)
        }
        assert len(before) == 2 * len(BODIES)
        await node.dpm("down")
        await network.aclose()
        shutil.rmtree(node.home.nats)

        await node.dpm("up", "--detach")
        assert "`dpm repair` tells it what lies in the store" in (node.home.logs / "node.log").read_text()
        assert await status_of(node, "small") == 503
        told = await node.dpm("repair")
        assert "6 blobs: 6 artifacts told to the log, 0 known to it" in told
        assert "1 artifacts are pinned again" in told

        for name, body in BODIES.items():
            assert await node.package(name) == body
        after = {
            each.event.ref.id: each.event
            for each in await node.history()
            if isinstance(each.event, ArtifactStored)
        }
        assert after.keys() == before.keys()
        for each, event in after.items():
            was = before[each]
            assert (event.blob, event.source, event.name, event.validators, event.media_type) == (
                was.blob, was.source, was.name, was.validators, was.media_type,
            )  # fmt: skip
        assert any(isinstance(each.event, ArtifactPinned) for each in await node.history())
        shelf = json.loads(await node.dpm("store", "--json"))
        assert [item["name"] for item in shelf["pinned"]] == ["large-1.0-py3-none-any.whl"]
        assert (shelf["held"]["artifacts"], shelf["unknown"]) == (6, 0)
        again = json.loads(await node.dpm("repair", "--json"))
        assert (again["blobs"], again["told"], again["known"], again["bad"]) == (6, 0, 6, [])
        assert (await findings(node))["DPM-LOG"]["level"] == "ok"
        await node.dpm("down")
        assert "no node runs" in await node.dpm("repair", check=False)
