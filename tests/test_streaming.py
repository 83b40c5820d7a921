"""A package streams through the node while it arrives, and wrong bytes never arrive whole."""

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer

pytestmark = pytest.mark.real

MIB = 1024 * 1024
PATIENCE = 30.0


@pytest.fixture
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url) as node:
        yield node


async def fetch(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_the_first_byte_comes_while_upstream_withholds_the_rest(node: Node, upstream: PackageServer) -> None:
    body = os.urandom(50 * MIB)
    file = upstream.add("held", File("held-1.0-py3-none-any.whl", body, hold_after=25 * MIB))
    url = await node.file_url("held")
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE), session.get(url) as first:
        assert first.status == 200
        assert first.headers["Content-Length"] == str(len(body))
        early = await first.content.readexactly(20 * MIB)
        await file.withheld.wait()
        async with session.get(url) as second:
            joined = await second.content.readexactly(20 * MIB)
            assert early == joined == body[: 20 * MIB]
            file.release.set()
            assert early + await first.read() == body
            assert joined + await second.read() == body
    assert upstream.asked["/packages/held/held-1.0-py3-none-any.whl"] == 1
    assert await node.metric("fusefs", "dpm_fuse_reads_total") > 0
    assert (await node.status())["bypasses"] == 0


async def test_a_wrong_body_reaches_nobody_whole_and_is_mended_by_the_next_try(
    node: Node, upstream: PackageServer
) -> None:
    body = os.urandom(3 * MIB)
    wrong = bytes([body[0] ^ 1]) + body[1:]
    file = upstream.add("forged", File("forged-1.0-py3-none-any.whl", body, sent=wrong, hold_after=2 * MIB))
    url = await node.file_url("forged")
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        received = await answer.content.readexactly(MIB)
        file.release.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            async for part in answer.content.iter_any():
                received += part
    assert len(received) < len(body)
    held = [path for path in node.home.blobs.rglob("*") if path.is_file() and path.stat().st_size == len(body)]
    assert held == []
    shown = await node.events(until=lambda event: event["event"] == "fetch-failed")
    assert shown[-1]["body"]["reason"] == "untrusted"
    file.sent = None
    assert await fetch(url) == body


async def test_a_small_wrong_body_is_a_clean_error(node: Node, upstream: PackageServer) -> None:
    upstream.add("small", File("small-1.0-py3-none-any.whl", b"right", sent=b"wrong"))
    url = await node.file_url("small")
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 502
        assert "sha256" in await answer.text()


async def test_a_transfer_that_breaks_off_goes_on_from_where_it_stood(node: Node, upstream: PackageServer) -> None:
    body = os.urandom(4 * MIB)
    upstream.add("broken", File("broken-1.0-py3-none-any.whl", body, cut_after=2 * MIB))
    assert await fetch(await node.file_url("broken")) == body
    ranges = [headers["range"] for path, headers in upstream.headers if "range" in headers and "broken" in path]
    assert len(ranges) == 1
