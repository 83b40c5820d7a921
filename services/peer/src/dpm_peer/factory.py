"""All that a peer service does, put together; a test replaces what it stands on, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dpm_core.digests import Digest
from dpm_core.ports import Clock, EventLog
from dpm_peer.blame import Blame, Doubts, Truth
from dpm_peer.finding import Finder
from dpm_peer.kubo_metrics import KuboMetrics
from dpm_peer.kubo_ports import KuboPorts
from dpm_peer.network_life import Node, open_network
from dpm_peer.networks import Networks
from dpm_peer.pacing import SLOWEST_SECONDS
from dpm_peer.page_finding import PageFinder
from dpm_peer.register import PeerLog, Register
from dpm_peer.serving import Parts, PeerDoor
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore


class Log(EventLog, PeerLog, Protocol):
    """The node's log, as all parts need it."""


@dataclass(frozen=True)
class Peering:
    """What is at work."""

    register: Register
    networks: Networks


@asynccontextmanager
async def peering(
    home: Home,
    store: DiskBlobStore,
    catalog: SqliteCatalog,
    events: Log,
    clock: Clock,
    door: PeerDoor,
    *,
    pace: float = SLOWEST_SECONDS,
    ports: KuboPorts | None = None,
    metrics: KuboMetrics | None = None,
) -> AsyncIterator[Peering]:
    """Be in all networks that have a folder in the home, and answer at the door, while the context lasts.

    ``pace``, ``ports`` and ``metrics`` are as in :class:`dpm_peer.network_life.Node`.
    Raises ReaderTooOld, in a group.
    """
    register = Register(events, clock)
    blame = Blame(register, clock)
    node = Node(
        home, store, catalog, events, register, blame, clock, pace, ports or KuboPorts(), metrics or KuboMetrics()
    )
    networks = Networks(lambda: home.network_names, partial(open_network, node), clock)
    finder = Finder(networks.living, blame, clock)
    pages = PageFinder(networks.living, finder, blame, clock)
    doubts = Doubts(partial(_truth, store), finder.asked, blame, clock)
    async with AsyncExitStack() as resources:
        resources.push_async_callback(finder.close)
        works = (register.kept(), networks.kept(), finder.kept(), doubts.settled())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
            door.open(Parts(finder, pages, doubts, networks.living, networks.health, networks.look))
            yield Peering(register, networks)
            for task in tasks:
                task.cancel()


async def _truth(store: DiskBlobStore, sha256: Digest) -> Truth | None:
    """What the store has under a digest. Raises Unavailable."""
    cid = await asyncio.to_thread(store.find_sha256, sha256.hex)
    sidecar = None if cid is None else await asyncio.to_thread(store.sidecar, cid)
    return None if cid is None or sidecar is None else Truth(cid, sidecar.blob.size)
