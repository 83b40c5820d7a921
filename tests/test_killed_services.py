"""A service is killed or stopped in the middle of its work: another goes on, nothing is lost, no byte is wrong."""

import asyncio
import os
import signal

import aiohttp
import pytest

from dpm_cli.ports import choose_free
from dpm_core.artifacts import Topic
from dpm_core.decisions import Recorded
from dpm_core.events import ArtifactStored, Event, FetchStarted
from dpm_runtime.cards import read_card
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.crowd import Crowd
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until
from dpm_testkit.recovery import load, recovered
from dpm_testkit.seeding import PROJECT, seed

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(300)]

MB = 1_000_000
AGAIN_SECONDS = 25.0
"""Five times what a node on a machine of its own is promised to need until it serves again."""


async def fetch(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def newest_attempt(node: Node) -> tuple[Recorded, int]:
    """The last FetchStarted, and the process (pid) of the fetcher that appended it."""
    events = [each for each in await node.history() if isinstance(each.event, FetchStarted)]
    started = events[-1].event
    assert isinstance(started, FetchStarted)
    card = read_card(node.home.card("fetcher", int(started.fetcher.rpartition("-")[2])))
    assert card is not None
    return events[-1], card.pid


async def newest_of(node: Node, topic: Topic, kind: type[Event]) -> Recorded:
    """The last event of an artifact, once it is one of this kind: bytes are served before their event is there."""
    async with node.log() as log:

        async def last() -> Recorded | None:
            recorded = await log.last(topic)
            return recorded if recorded and isinstance(recorded.event, kind) else None

        return await eventually(last)


@pytest.mark.parametrize(("fetchers", "percent"), [(1, 25), (2, 75)])
async def test_what_a_killed_fetcher_had_is_gone_on_from_and_its_client_gets_the_whole(
    upstream: PackageServer, fetchers: int, percent: int
) -> None:
    body = os.urandom(20 * MB)
    had = len(body) * percent // 100
    file = upstream.add("killed", File("killed-1.0-py3-none-any.whl", body, hold_after=had))
    path = f"/packages/killed/{file.name}"
    async with running_node(pypi_upstream=upstream.url, replicas=f"fetcher={fetchers}") as node:
        url = await node.file_url("killed")
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            received = await answer.content.readexactly(had)
            assert upstream.sent[path] == had
            _, pid = await newest_attempt(node)
            os.kill(pid, signal.SIGKILL)
            assert received + await answer.read() == body
        second = [headers for asked, headers in upstream.headers if asked == path][-1]
        assert second["range"] == f"bytes={had}-"
        assert second["if-range"] == f'"{file.sha256[:16]}"'
        assert (upstream.asked[path], upstream.sent[path]) == (2, len(body))


async def test_a_stopped_fetcher_that_wakes_after_its_successor_has_finished_changes_nothing(
    upstream: PackageServer,
) -> None:
    body = os.urandom(8 * MB)
    file = upstream.add("paused", File("paused-1.0-py3-none-any.whl", body, hold_after=4 * MB))
    async with running_node(pypi_upstream=upstream.url, replicas="fetcher=2", stall_seconds="3") as node:
        url = await node.file_url("paused")
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.content.readexactly(4 * MB)
            attempt, pid = await newest_attempt(node)
            assert isinstance(attempt.event, FetchStarted)
            topic = attempt.event.want.ref.topic
            os.kill(pid, signal.SIGSTOP)
            try:
                file.release.set()
                with pytest.raises(aiohttp.ClientPayloadError):  # its successor has bytes of its own
                    await answer.read()
                assert await fetch(url) == body
                stored = await newest_of(node, topic, ArtifactStored)
            finally:
                os.kill(pid, signal.SIGCONT)
        async with DiskBlobStore(node.home) as store:
            await until(lambda: not (view := store.view(topic.key, attempt.sequence)) or not view.locked)
        assert await fetch(url) == body
        async with node.log() as log:
            assert await log.last(topic) == stored
        # the one that woke may ask for its rest before it hears that it has a successor
        assert upstream.asked[f"/packages/paused/{file.name}"] in (2, 3)


@pytest.mark.parametrize("process", ["fusefs", "gateway-pypi", "nats"])
async def test_a_node_serves_again_soon_after_a_kill_under_load_and_has_lost_nothing(
    upstream: PackageServer, process: str
) -> None:
    async with running_node(pypi_upstream=upstream.url, pypi_port=str(choose_free())) as node:
        files = await seed(node, upstream, 60, fetched=40)
        asked = upstream.asked.copy()
        async with load(node, PROJECT, files):
            async with asyncio.timeout(AGAIN_SECONDS):
                await recovered(node, upstream, process, PROJECT, files[0])
        crowd = Crowd(node.index)
        for file in files:
            await crowd.obtain(PROJECT, file)
        again = [
            file.name
            for file in files
            if upstream.asked[path := f"/packages/{PROJECT}/{file.name}"] != asked[path]
        ]
        assert again == []
