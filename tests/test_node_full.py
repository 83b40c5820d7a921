"""A real node on a disk of its own that somebody else fills: hits go on, misses are 507, and all is well again."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from dpm_core.errors import Unavailable
from dpm_core.events import FetchRequested
from dpm_runtime.bus_address import bus_url
from dpm_runtime.disk import Space
from dpm_runtime.nats_bus import NatsBus
from dpm_testkit.disks import MIB, SmallDisk, small_disk
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until
from dpm_testkit.store_samples import want

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(180)]

SMALL, LARGE, HUGE = os.urandom(20_000), os.urandom(3 * MIB), os.urandom(30 * MIB)


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        for name, body in (("small", SMALL), ("large", LARGE), ("huge", HUGE), ("later", SMALL[::-1])):
            server.add(name, File(f"{name}-1.0-py3-none-any.whl", body))
        yield server


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with TemporaryDirectory(prefix="dpm-") as folder, small_disk(Path(folder) / "disk", mib=160) as disk:
        yield disk


@pytest.fixture
async def node(upstream: PackageServer, disk: SmallDisk) -> AsyncIterator[Node]:
    """A node that holds two files and their pages, pinned."""
    async with running_node(
        pypi_upstream=upstream.url,
        folder=str(disk.folder),
        store_bytes=str(1000 * MIB),
        reserve_bytes=str(16 * MIB),
    ) as node:
        assert (await node.package("small"), await node.package("large")) == (SMALL, LARGE)
        await eventually(lambda: held(node, 4))
        await node.dpm("pin", "*")
        yield node


async def held(node: Node, artifacts: int) -> bool:
    return int(json.loads(await node.dpm("store", "--json"))["held"]["artifacts"]) == artifacts


async def refused(node: Node, path: str) -> str:
    """What a client is told of a miss that cannot be stored."""
    async with aiohttp.ClientSession() as session, session.get(node.address() + path) as answer:
        assert answer.status == 507
        assert answer.headers["Retry-After"] == "30"
        return await answer.text()


async def hits(node: Node) -> None:
    assert (await node.package("small"), await node.package("large")) == (SMALL, LARGE)


async def miss(node: Node, name: str, body: bytes) -> None:
    """The file is fetched, once the node has noticed that there is room."""

    async def whole() -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{node.index}{name}/") as page:
            return page.status == 200 and await node.package(name) == body

    assert await eventually(whole, pause=0.5)


async def test_half_of_the_reserve_is_left_to_the_log(node: Node, disk: SmallDisk) -> None:
    disk.fill(left=7 * MIB)
    for _ in range(2):
        said = await refused(node, "simple/later/")
        assert "No space left on device but for 8 MiB" in said and "dpm gc" in said
    await hits(node)
    assert "no longer pinned" in await node.dpm("unpin", "small*")
    disk.free()
    await miss(node, "later", SMALL[::-1])


async def test_what_may_go_makes_room_for_what_is_asked_for(node: Node, disk: SmallDisk) -> None:
    assert await node.package("huge") == HUGE
    await eventually(lambda: held(node, 6))
    disk.fill(left=6 * MIB)
    await refused(node, "simple/later/")
    await until(lambda: Space.of(disk.folder).free > 16 * MIB, pause=0.2)
    await miss(node, "later", SMALL[::-1])
    await hits(node)
    assert "huge-1.0-py3-none-any.whl" not in await node.dpm("store")


async def test_a_disk_without_a_byte_left_stops_no_hit(node: Node, disk: SmallDisk) -> None:
    disk.fill()
    await refused(node, "simple/later/")
    await hits(node)
    assert "nothing is fetched until there is more room" in await node.dpm("status")
    assert "nothing is fetched while they are less than 8.0 MiB" in await node.dpm("doctor", check=False)
    disk.free()
    await miss(node, "later", SMALL[::-1])
    await hits(node)


async def test_a_log_that_a_full_disk_has_stopped_goes_on_once_there_is_room(node: Node, disk: SmallDisk) -> None:
    disk.fill()
    # a gateway looks at the disk before it appends: this is what comes between its look and its append
    async with NatsBus.open(bus_url(node.home), "gateway-pypi", node.home.key("gateway-pypi")) as bus:
        await bus.up()
        with pytest.raises(Unavailable, match="no answer"):
            await bus.log.append(want().ref.topic, FetchRequested(want(), 0.0, "x" * 200_000))

    async def told() -> bool:
        return "no space left on device" in str((await node.services())["nats"]["detail"])

    await eventually(told)
    assert "write error" in await node.dpm("doctor", check=False)
    await hits(node)
    stuck = (await node.services())["nats"]["pid"]
    disk.free()
    await node.back("nats", stuck)
    await miss(node, "later", SMALL[::-1])


async def test_a_download_that_the_disk_has_no_room_for_is_cut_and_told(node: Node, disk: SmallDisk) -> None:
    url = await node.file_url("huge")
    disk.fill(left=20 * MIB)
    received = b""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            async for part in answer.content.iter_any():
                received += part
    assert received == HUGE[: len(received)]
    events = await node.events(until=lambda event: event["event"] == "fetch-failed")
    assert events[-1]["body"]["reason"] == "disk"
    await hits(node)
    disk.free()
    await miss(node, "huge", HUGE)


async def test_a_download_waits_for_room_that_is_made(node: Node, disk: SmallDisk) -> None:
    url = await node.file_url("huge")
    disk.fill(left=20 * MIB)
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        received = await answer.content.readexactly(5 * MIB)
        await until(lambda: Space.of(disk.folder).free < 9 * MIB)
        disk.free()
        received += await answer.read()
    assert received == HUGE
