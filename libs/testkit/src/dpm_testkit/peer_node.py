"""A node's peer service in this process, with a real Kubo and a real room, and the store that it gives from."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dpm_core.artifacts import Blob
from dpm_core.events import ArtifactEvicted, ArtifactStored, OriginKind, Source
from dpm_core.networks import Network
from dpm_core.sidecars import told_by
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.factory import Peering, peering
from dpm_peer.network_files import NetworkFiles
from dpm_peer.orders import Orders
from dpm_peer.serving import PeerDoor
from dpm_runtime import unix_http
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.ops import Readiness, serve_ops
from dpm_runtime.peer_origin import SERVICE, PeerOrigin, PeerReferences
from dpm_runtime.service import SystemClock
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.patience import PATIENCE
from dpm_testkit.store_samples import stored, want

PACE = 0.05
"""Seconds between two messages: a test's homeserver has no rate limits."""

PEERS = Source(OriginKind.PEER, "team")


@dataclass
class PeerNode:
    """``origin`` is what its fetcher asks, ``references`` what its collector does."""

    home: Home
    store: DiskBlobStore
    catalog: SqliteCatalog
    log: MemoryEventLog
    service: Peering
    origin: PeerOrigin
    references: PeerReferences

    async def order(self, path: str, **asked: object) -> Any:
        """What its peer service answers to an operator: to a GET, or to a POST of what is ``asked``."""
        body = json.dumps(asked).encode() if asked else None
        status, answer = await unix_http.request(self.home.socket(SERVICE), path, body, seconds=PATIENCE)
        assert status == 200, (status, answer)
        return json.loads(answer)

    async def has(self, body: bytes, name: str, source: Source | None = None) -> Blob:
        """Have a file with this body in the store, as the fetcher puts it there; ``source`` gave it."""
        it, token = want(body, name), len(self.log.events) + 1
        blob = await stored(self.store, token, body, name)
        event = told_by(self.store.sidecar(blob.cid), it.ref.id, token)
        assert event is not None
        await self._happens(event if source is None else replace(event, source=source))
        return blob

    async def evicts(self, blob: Blob, name: str) -> None:
        """Have it no longer, as the fetcher does that."""
        await self._happens(ArtifactEvicted(want(b"", name).ref, blob.cid, "room"))
        await self.references.drop([blob.cid])
        assert await self.store.remove(blob.cid)

    async def _happens(self, event: ArtifactStored | ArtifactEvicted) -> None:
        await self.log.append(event.ref.topic, event)
        self.catalog.apply(self.log.recorded)


@contextlib.asynccontextmanager
async def peer_node(root: Path, network: Network, key: SwarmKey, log: MemoryEventLog) -> AsyncIterator[PeerNode]:
    """A node in one network, that runs meanwhile. ``root`` is its home, made at its first start."""
    async with contextlib.AsyncExitStack() as resources:
        home, door, orders = Home(root), PeerDoor(), Orders()
        home.prepare()
        files = NetworkFiles(home.networks / network.name)
        if not files.swarm_key.exists():
            files.folder.mkdir(parents=True)
            files.keep(network, key)
        store = await resources.enter_async_context(DiskBlobStore(home))
        catalog = SqliteCatalog.writer(home.catalog)
        resources.callback(catalog.close)
        socket = home.socket(SERVICE)
        routes = [*door.routes, *orders.routes]
        await resources.enter_async_context(serve_ops(socket, Readiness(), lambda: b"", routes))
        origin = await resources.enter_async_context(PeerOrigin(socket))
        service = await resources.enter_async_context(
            peering(home, store, catalog, log, SystemClock(), door, pace=PACE)
        )
        orders.open(service.networks)
        yield PeerNode(home, store, catalog, log, service, origin, PeerReferences(socket))
