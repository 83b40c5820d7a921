"""Bytes that rot on the disk of a real node: found on read or by a check, set aside, and fetched again."""

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from dpm_core.cids import CHUNK, cid_of
from dpm_runtime.catalog import SqliteCatalog
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

SMALL, LARGE = os.urandom(20_000), os.urandom(5 * CHUNK)


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        for name, body in (("small", SMALL), ("large", LARGE)):
            server.add(name, File(f"{name}-1.0-py3-none-any.whl", body))
        yield server


@pytest.fixture(params=["true", "false"], ids=["fuse", "no fuse"])
async def node(upstream: PackageServer, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    """A node that holds both files."""
    async with running_node(pypi_upstream=upstream.url, fuse=request.param) as node:
        assert (await node.package("small"), await node.package("large")) == (SMALL, LARGE)
        await until(lambda: held(node) == 4)
        yield node


def held(node: Node) -> int:
    """How many artifacts the catalog has."""
    with closing(SqliteCatalog.reader(node.home.catalog)) as catalog:
        return catalog.totals().artifacts


def path_of(node: Node, body: bytes) -> Path:
    cid = cid_of(body[start : start + CHUNK] for start in range(0, len(body), CHUNK))
    return next(node.home.blobs.glob(f"??/{cid}"))


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), at)


async def forgotten(node: Node) -> None:
    """No process has the files' bytes in its memory any more, nor has the page cache behind the mount."""
    services = ["gateway-pypi", *(["fusefs"] if node.settings["DPM_FUSE"] == "true" else [])]
    for service in services:
        await node.dpm("stop", service)
    for service in reversed(services):
        await node.dpm("start", service)


async def quarantined(node: Node) -> str:
    """The blob that was set aside, once the log tells of it."""
    events = await node.events(until=lambda event: event["event"] == "blob-quarantined")
    return str(events[-1]["body"]["cid"])


async def test_a_small_file_is_mended_before_anybody_sees_it(node: Node, upstream: PackageServer) -> None:
    path = path_of(node, SMALL)
    flip(path, 7)
    before = upstream.asked.total()
    await forgotten(node)
    assert await node.package("small") == SMALL
    assert upstream.asked.total() == before + 1
    assert path.read_bytes() == SMALL
    assert await node.package("small") == SMALL
    assert upstream.asked.total() == before + 1


async def test_a_large_file_is_cut_short_set_aside_and_whole_again(node: Node, upstream: PackageServer) -> None:
    path = path_of(node, LARGE)
    flip(path, 3 * CHUNK + 7)
    await forgotten(node)
    url = await node.file_url("large")
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        received = b""
        with pytest.raises(aiohttp.ClientPayloadError):
            async for part in answer.content.iter_any():
                received += part
    assert received == LARGE[: len(received)]
    assert await quarantined(node) == path.name
    assert (
        hashlib.sha256((node.home.quarantine / path.name).read_bytes()).digest() != hashlib.sha256(LARGE).digest()
    )

    async def whole() -> bool:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.read() == LARGE

    assert await eventually(whole)
    await until(path.exists)  # it is sent while it comes, and has its name a little later
    assert path.read_bytes() == LARGE


async def test_a_check_of_all_finds_what_nobody_has_read(node: Node) -> None:
    clean = json.loads(await node.dpm("store", "check", "--json"))
    assert (clean["blobs"], clean["bad"], clean["lost"], clean["unnamed"]) == (4, [], [], 0)
    rotten, gone = path_of(node, LARGE), path_of(node, SMALL)
    flip(rotten, 0)
    gone.unlink()
    said = await node.dpm("store", "check", check=False)
    assert f"{rotten.name}: its {len(LARGE)} bytes are those of" in said
    assert f"{gone.name}: its file is gone" in said
    assert "4 blobs" not in said
    assert "3 blobs: 1 set aside, 1 without a file" in said
    assert await node.package("large") == LARGE
    assert await node.package("small") == SMALL
    await until(lambda: held(node) == 4)
    assert "4 blobs: 0 set aside" in await node.dpm("store", "check")
