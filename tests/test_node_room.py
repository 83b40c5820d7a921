"""A real node with little room: what was used longest ago goes, and no reader is torn from a file."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial

import aiohttp
import pytest

from dpm_core.cids import CHUNK, cid_of
from dpm_runtime.catalog import SqliteCatalog
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import until

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(180)]

MIB = 1024 * 1024


@pytest.fixture
def fuse() -> str:
    return "true"


@pytest.fixture
async def node(upstream: PackageServer, fuse: str) -> AsyncIterator[Node]:
    async with running_node(
        pypi_upstream=upstream.url, store_bytes=str(100 * MIB), reserve_bytes=str(16 * MIB), fuse=fuse
    ) as node:
        yield node


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def publish(upstream: PackageServer, name: str, size: int) -> bytes:
    """A project with one file; returns the file's bytes."""
    body = os.urandom(size)
    upstream.add(name, File(f"{name}-1.0-py3-none-any.whl", body))
    return body


def cid(body: bytes) -> str:
    return cid_of(body[start : start + CHUNK] for start in range(0, len(body), CHUNK))


def blobs(node: Node) -> set[str]:
    """The blobs that are on the node's disk, by their CIDs."""
    return {path.name for path in node.home.blobs.glob("??/*") if path.suffix != ".json"}


def on_disk(node: Node, body: bytes) -> bool:
    """Whether the node has a file with these bytes."""
    return cid(body) in blobs(node)


async def evicted(node: Node, count: int) -> list[str]:
    """The names of the artifacts that were evicted, once there are so many."""
    keys: list[str] = []

    def enough(event: dict[str, object]) -> bool:
        body = event["body"]
        if event["event"] == "artifact-evicted" and isinstance(body, dict):
            keys.append(body["ref"]["key"].rpartition("/")[2])
        return len(keys) >= count

    await node.events(until=enough)
    return keys


def used(node: Node, name: str) -> bool:
    """Whether it was noted that the file was served."""
    with closing(SqliteCatalog.reader(node.home.catalog)) as catalog:
        statement = "SELECT 1 FROM used JOIN artifact ON artifact.id = used.artifact_id WHERE artifact.name = ?"
        return bool(catalog.rows(statement, (f"{name}-1.0-py3-none-any.whl",)))


@pytest.mark.parametrize("fuse", ["true", "false"], ids=["fuse", "no fuse"])
async def test_the_file_that_was_used_longest_ago_goes_and_its_reader_finishes(
    node: Node, upstream: PackageServer, client: aiohttp.ClientSession
) -> None:
    bodies = {name: publish(upstream, name, 20 * MIB) for name in ("one", "two", "three", "four", "five")}
    for name in ("one", "two", "three", "four"):
        assert await node.package(name) == bodies[name]
    async with client.get(await node.file_url("two")) as slow:
        start = await slow.content.readexactly(1000)
        for name in ("one", "three", "four"):
            assert await node.package(name) == bodies[name]
        for name in ("one", "three", "four"):
            await until(partial(used, node, name), pause=0.2)
        assert await node.package("five") == bodies["five"]
        assert await evicted(node, 1) == ["two-1.0-py3-none-any.whl"]
        await until(lambda: not on_disk(node, bodies["two"]), pause=0.2)
        await until(lambda: not (node.home.mount / "cid" / cid(bodies["two"])).exists())
        assert start + await slow.read() == bodies["two"]
    asked = upstream.asked.copy()
    assert await node.package("two") == bodies["two"]
    assert (upstream.asked - asked).total() == 1
    assert await node.metric("gateway-pypi", "dpm_fuse_bypass_total") == 0


async def test_a_page_that_a_newer_one_replaced_leaves_the_disk(
    node: Node, upstream: PackageServer, client: aiohttp.ClientSession
) -> None:
    publish(upstream, "demo", 1000)
    await node.file_url("demo")
    (old,) = blobs(node)
    publish(upstream, "demo", 1000)
    async with client.get(f"{node.index}demo/", headers={"Cache-Control": "no-cache"}) as answer:
        assert answer.status == 200
    assert len(blobs(node)) == 2
    await until(lambda: old not in blobs(node), pause=0.2)
    await node.file_url("demo")


async def test_while_room_is_made_all_the_time_every_body_is_whole(node: Node, upstream: PackageServer) -> None:
    names = [f"p{number}" for number in range(12)]
    bodies = {name: publish(upstream, name, 12 * MIB) for name in names}

    async def some(order: list[str]) -> None:
        for name in order:
            assert await node.package(name) == bodies[name]

    rng = random.Random(7)
    await asyncio.gather(*(some(rng.sample(names, len(names)) * 2) for _ in range(4)))
    assert await evicted(node, 3)
    with closing(SqliteCatalog.reader(node.home.catalog)) as catalog:
        await until(lambda: catalog.totals().bytes <= 90 * MIB, pause=0.2)
