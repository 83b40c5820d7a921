"""A real node without its bus: what is held is served, what is not is refused, and later it tells the rest."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TypeVar

import aiohttp
import pytest

from dpm_cli.ports import choose_free
from dpm_core.events import ArtifactEvicted, ArtifactStored, BlobQuarantined
from dpm_runtime.catalog import SqliteCatalog
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

E = TypeVar("E")
MIB = 1024 * 1024
SECONDS = 15.0
"""Within which a miss must have had its answer: three times what a machine of its own is promised."""


@pytest.fixture
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    """A node whose pages are asked for again after a second, and whose store holds 10 MiB."""
    async with running_node(
        pypi_upstream=upstream.url,
        pypi_port=str(choose_free()),
        index_fresh_seconds="1",
        store_bytes=str(10 * MIB),
    ) as node:
        yield node


def publish(upstream: PackageServer, name: str, size: int, *, hold_after: int | None = None) -> File:
    return upstream.add(name, File(f"{name}-1.0-py3-none-any.whl", os.urandom(size), hold_after=hold_after))


async def get(url: str) -> tuple[int, bytes, Mapping[str, str]]:
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


async def hold(node: Node, project: str) -> str:
    """Have a project's file served as held, which it is a moment after its first client has it; its link."""
    url = await node.file_url(project)

    async def hit() -> bool:
        status, _, headers = await get(url)
        return status == 200 and headers["Cache-Status"].endswith("; hit")

    await eventually(hit)
    return url


async def package(node: Node, project: str) -> bytes:
    """The first file of a project, once the gateway has found the bus again."""

    async def found() -> bytes | None:
        status, body, _ = await get(await node.file_url(project))
        return body if status == 200 else None

    async def index() -> bool:
        return (await get(f"{node.index}{project}/"))[0] == 200

    await eventually(index)
    return await eventually(found)


@contextmanager
def frozen(node: Node) -> Iterator[None]:
    """Meanwhile nats-server is there and does nothing."""
    pid = node.pid("nats")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def told(node: Node, kind: type[E]) -> list[E]:
    """All events of a kind that the log has."""
    return [each.event for each in await node.history() if isinstance(each.event, kind)]


def used(node: Node, file: File) -> float | None:
    """When the file was served last, as far as the fetcher has heard."""
    with closing(SqliteCatalog.reader(node.home.catalog)) as catalog:
        statement = "SELECT used_at FROM used JOIN artifact ON artifact.id = artifact_id WHERE artifact.name = ?"
        rows = catalog.rows(statement, (file.name,))
    return float(rows[0][0]) if rows else None


async def served_and_refused(node: Node, held: str, body: bytes) -> None:
    """What is held comes, its page too, and of what is not a client hears in seconds when to come back."""
    assert (await get(held))[:2] == (200, body)
    status, page, headers = await get(f"{node.index}held/")
    assert (status, b"held-1.0" in page) == (200, True)
    for url in (f"{node.index}other/", held.replace("held", "other")):
        status, text, headers = await get(url)
        assert (status, int(headers["Retry-After"]) > 0) == (503, True), text


async def test_without_a_bus_hits_and_stale_pages_are_served_and_a_miss_is_told_when_to_come_back(
    node: Node, upstream: PackageServer
) -> None:
    file = publish(upstream, "held", MIB)
    publish(upstream, "other", 1000)
    held = await hold(node, "held")
    with frozen(node):
        await served_and_refused(node, held, file.body)
    await node.dpm("stop", "nats")
    await served_and_refused(node, held, file.body)
    pid = node.pid("gateway-pypi")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: node.pid("gateway-pypi") not in (None, pid))

    async def serves() -> bool:
        try:
            return (await get(held))[:2] == (200, file.body)
        except aiohttp.ClientError:
            return False

    await eventually(serves)
    await node.dpm("start", "nats")
    assert await package(node, "other")


async def test_what_came_to_its_end_without_a_bus_is_told_once_it_is_back_and_room_is_made_then(
    node: Node, upstream: PackageServer
) -> None:
    old = publish(upstream, "old", 6 * MIB)
    await hold(node, "old")
    new = publish(upstream, "new", 6 * MIB, hold_after=3 * MIB)
    async with aiohttp.ClientSession() as session, session.get(await node.file_url("new")) as answer:
        start = await answer.content.readexactly(2 * MIB)
        await node.dpm("stop", "nats")
        new.release.set()
        assert start + await answer.read() == new.body
    await node.dpm("start", "nats")

    async def told_of() -> bool:
        stored = {each.name for each in await told(node, ArtifactStored)}
        gone = {each.ref.key.rpartition("/")[2] for each in await told(node, ArtifactEvicted)}
        return new.name in stored and old.name in gone

    await eventually(told_of, pause=0.2)
    assert await package(node, "new") == new.body
    assert upstream.asked[f"/packages/new/{new.name}"] == 1


async def test_what_a_fetcher_stored_and_never_told_is_told_by_the_next_one(
    node: Node, upstream: PackageServer
) -> None:
    file = publish(upstream, "late", 4 * MIB, hold_after=2 * MIB)
    async with aiohttp.ClientSession() as session, session.get(await node.file_url("late")) as answer:
        start = await answer.content.readexactly(MIB)
        await node.dpm("stop", "nats")
        file.release.set()
        assert start + await answer.read() == file.body
    await until(lambda: any(path.stat().st_size == 4 * MIB for path in node.home.blobs.glob("??/*")))
    pid = node.pid("fetcher")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: node.pid("fetcher") not in (None, pid))
    await node.dpm("start", "nats")
    assert await package(node, "late") == file.body
    assert upstream.asked[f"/packages/late/{file.name}"] == 1


async def test_what_was_served_and_what_was_set_aside_without_a_bus_is_told_once_it_is_back(
    node: Node, upstream: PackageServer
) -> None:
    served, rotten = publish(upstream, "served", MIB), publish(upstream, "rotten", MIB + 1)
    await hold(node, "rotten")
    url = await hold(node, "served")
    await node.dpm("stop", "nats")
    before = used(node, served)
    assert (await get(url))[1] == served.body
    (path,) = (each for each in node.home.blobs.glob("??/*") if each.stat().st_size == MIB + 1)
    path.write_bytes(bytes(MIB + 1))
    checking = asyncio.create_task(node.dpm("store", "check", check=False))
    await until(lambda: not path.exists())
    await node.dpm("start", "nats")
    assert path.name in await checking
    assert [each.cid for each in await told(node, BlobQuarantined)] == [path.name]
    assert await package(node, "rotten") == rotten.body
    await until(lambda: (used(node, served) or 0.0) > (before or 0.0), pause=0.2)
