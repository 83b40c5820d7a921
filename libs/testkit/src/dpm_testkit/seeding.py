"""A node that holds very many artifacts, a thousand of them fetched, the others put where a fetcher puts them."""

import asyncio
import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from dpm_core.artifacts import Blob
from dpm_core.cids import raw_cid
from dpm_core.digests import Digest
from dpm_core.events import ArtifactStored
from dpm_core.sidecars import Kept, Sidecar
from dpm_runtime.blob_files import BlobFiles
from dpm_runtime.bus_address import bus_url
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.layout import Layout
from dpm_runtime.nats_bus import NatsBus
from dpm_testkit.crowd import Crowd
from dpm_testkit.node import Node
from dpm_testkit.package_server import File, PackageServer

PROJECT = "seed-0"
"""The project whose files are really fetched."""

FILE_BYTES = 10_000
OTHER_BYTES = 200
CLIENTS = 16
IN_FLIGHT = 256
LOOK_SECONDS = 0.2


async def seed(node: Node, upstream: PackageServer, artifacts: int, *, fetched: int = 1000) -> list[File]:
    """Let the node hold so many files, ``fetched`` of them by way of its gateway, which are returned.

    Returns when the catalog has all of them. The others have a blob, a sidecar, an event and an entry like any,
    but no page names them.
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
        await _at_once(IN_FLIGHT, (_told(bus, event) for event in _kept(node.home, more)))
        end = await bus.log.end()
    catalog = SqliteCatalog.reader(node.home.catalog)
    while catalog.position() < end:  # noqa: ASYNC110 - another process folds
        await asyncio.sleep(LOOK_SECONDS)
    catalog.close()
    return files


def _others(genuine: list[ArtifactStored]) -> Iterator[tuple[bytes, ArtifactStored]]:
    for project in itertools.count(1):
        for event in genuine:
            name = event.name.replace("seed_0-", f"seed_{project}-")
            key = event.ref.key.replace("seed-0", f"seed-{project}").replace(event.name, name)
            body = name.encode().ljust(OTHER_BYTES, b".")
            digests = tuple(
                Digest(f"{digest.algorithm}:{hashlib.new(digest.algorithm, body).hexdigest()}")
                for digest in event.blob.digests
            )
            sha256 = next(digest for digest in digests if digest.algorithm == "sha256")
            blob = Blob(raw_cid(sha256), len(body), digests)
            yield body, replace(event, ref=replace(event.ref, key=key), name=name, blob=blob)


def _kept(home: Home, others: Iterator[tuple[bytes, ArtifactStored]]) -> Iterator[ArtifactStored]:
    """Each event, once its blob and its sidecar lie in the store."""
    layout = Layout(home)
    files, data, scratch = BlobFiles(layout), home.blobs / "seed.data", home.blobs / "seed.scratch"
    for body, event in others:
        data.write_bytes(body)
        kept = Kept(
            1, 0.0, event.ref, event.name, event.media_type, event.validators, event.source, event.vouched
        )  # fmt: skip
        sidecar = Sidecar(event.blob, artifacts={event.ref.id: kept})
        files.keep(data, sidecar, scratch=scratch, safe=False)
        yield event


async def _told(bus: NatsBus, event: ArtifactStored) -> None:
    await bus.log.append(event.ref.topic, event)


async def _at_once(count: int, work: Iterator[object]) -> None:
    """Await each of ``work``, so many at a time."""

    async def some() -> None:
        for each in work:
            await each  # type: ignore[misc]

    async with asyncio.TaskGroup() as workers:
        for _ in range(count):
            workers.create_task(some())
