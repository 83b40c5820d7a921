"""A node that holds very many artifacts, without fetching each: a thousand are, the others have the same bytes."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from dpm_core.events import ArtifactStored
from dpm_runtime.bus_address import bus_url
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.nats_bus import NatsBus
from dpm_testkit.crowd import Crowd
from dpm_testkit.node import Node
from dpm_testkit.package_server import File, PackageServer

PROJECT = "seed-0"
"""The project whose files are really fetched."""

FILE_BYTES = 10_000
CLIENTS = 16
IN_FLIGHT = 256
LOOK_SECONDS = 0.2


async def seed(node: Node, upstream: PackageServer, artifacts: int, *, fetched: int = 1000) -> list[File]:
    """Let the node hold so many files, ``fetched`` of them by way of its gateway, which are returned.

    Returns when the catalog has all of them. The others have events and entries like any, but no page names them.
    """
    chance = random.Random(artifacts)
    files = [
        upstream.add(PROJECT, File(f"seed_0-{number}-py3-none-any.whl", chance.randbytes(FILE_BYTES)))
        for number in range(min(fetched, artifacts))
    ]
    crowd = Crowd(node.index)
    await _at_once(CLIENTS, (crowd.obtain(PROJECT, file) for file in files))
    genuine = [
        each.event
        for each in await node.history()
        if isinstance(each.event, ArtifactStored) and each.event.name.startswith("seed_0-")
    ]
    async with NatsBus.open(bus_url(node.home), "fetcher", node.home.key("fetcher"), timeout=60.0) as bus:
        await bus.up()
        more = itertools.islice(_others(genuine), artifacts - len(files))
        await _at_once(IN_FLIGHT, (bus.log.append(event.ref.topic, event) for event in more))
        end = await bus.log.end()
    catalog = SqliteCatalog.reader(node.home.catalog)
    while catalog.position() < end:  # noqa: ASYNC110 - another process folds
        await asyncio.sleep(LOOK_SECONDS)
    catalog.close()
    return files


def _others(genuine: list[ArtifactStored]) -> Iterator[ArtifactStored]:
    for project in itertools.count(1):
        for event in genuine:
            name = event.name.replace("seed_0-", f"seed_{project}-")
            key = event.ref.key.replace("seed-0", f"seed-{project}").replace(event.name, name)
            yield replace(event, ref=replace(event.ref, key=key), name=name)


async def _at_once(count: int, work: Iterator[object]) -> None:
    """Await each of ``work``, so many at a time."""

    async def some() -> None:
        for each in work:
            await each  # type: ignore[misc]

    async with asyncio.TaskGroup() as workers:
        for _ in range(count):
            workers.create_task(some())
