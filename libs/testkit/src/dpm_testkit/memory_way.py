"""The way of a package with memory twins for everything outside: a gateway and a fetcher."""

import asyncio
import hashlib
import json
from contextlib import suppress
from pathlib import Path

import httpx
from starlette.types import Receive, Scope, Send

from dpm_core.artifacts import Lane, Want
from dpm_core.ecosystem import Ecosystem
from dpm_core.errors import Unavailable
from dpm_core.origins import Headed
from dpm_fetcher import librarian
from dpm_fetcher.copying import HeldOrigin
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.hedge import Pace
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.sources import Peering
from dpm_fetcher.waiters import Waiters
from dpm_gateway.app import create_app
from dpm_gateway.bulletin import Bulletin
from dpm_gateway.doorkeeper import Doorkeeper
from dpm_gateway.facts import Desk
from dpm_gateway.flights import Flights
from dpm_gateway.handler import Handler
from dpm_gateway.kit import Kit, Policy, Witness
from dpm_gateway.marks import Marks
from dpm_gateway.small_blobs import SmallBlobs
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_runtime.host_names import CONNECTION
from dpm_runtime.react import react
from dpm_runtime.service import SystemClock
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import Held, MemoryOrigin, MemoryPeers
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import until

INDEX = "http://index.example/simple/"


PRIVATE = "http://acme.example/simple/"


JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


BODY = hashlib.shake_256(b"demo").digest(3 * 1024 * 1024)


class MovableClock(SystemClock):
    """The machine's clock, set forward at will; nobody sleeps long."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class Door:
    """The node's one token, what upstream says to whoever shows other credentials, and what fetchers are told."""

    def __init__(self, origin: MemoryOrigin) -> None:
        self._origin = origin
        self.status = 401
        self.asked: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.lent: dict[str, tuple[str, str]] = {}
        self.headed: list[str] = []

    async def tell_credentials(self, handle: str, upstream: str, authorization: str) -> None:
        self.lent[handle] = (upstream, authorization)

    async def head(self, want: Want) -> Headed:
        self.headed.append(want.url)
        if self._origin.down:
            raise Unavailable("it is down")
        item = self._origin.held.get(want.url)
        if item is None or (item.for_strangers and not want.whose):
            return Headed(404 if item is None else item.for_strangers or 404, None, "text/html")
        return Headed(200, len(item.body), item.media_type)

    async def tell_query(self, url: str) -> None:
        self.told.append(url)

    def admits(self, realm: str, secret: str) -> bool:
        return realm in ("pypi/acme", "made-up/shop") and secret == "token"

    async def status_for(self, want: Want, authorization: str) -> int:
        self.asked.append((want.url, authorization))
        return self.status


class Way:
    """A gateway and, while ``fetching``, a fetcher, among memory twins.

    One ``beside`` another way is a further gateway of the same node. What is ``networked`` has peers, and may have
    a ``witness`` of what they give.
    """

    def __init__(
        self,
        folder: Path,
        ecosystem: Ecosystem,
        *,
        beside: "Way | None" = None,
        networked: bool = False,
        witness: Witness | None = None,
    ) -> None:
        self.clock: MovableClock = beside.clock if beside else MovableClock()
        self.log: MemoryEventLog = beside.log if beside else MemoryEventLog(ack_wait=0.3, now=self.clock.now)
        self.store: MemoryBlobStore = beside.store if beside else MemoryBlobStore(self.clock.now)
        self.catalog: MemoryCatalog = beside.catalog if beside else MemoryCatalog()
        self.origin: MemoryOrigin = beside.origin if beside else MemoryOrigin()
        self.peers = MemoryPeers()
        self.networked = networked
        bulletin = Bulletin()
        # bytes that rot are to be seen at once
        small = SmallBlobs(self.store, self.store.blobs.__contains__, capacity=0)
        self.flights = Flights(
            "gateway-0", self.log, small, bulletin, self.clock, claim_seconds=0.5, request_seconds=5.0
        )
        self.door = Door(self.origin)
        doorkeeper = Doorkeeper(ecosystem, self.door, self.door, self.clock)
        self.desk = Desk(ecosystem, small, folder)
        self.marks = Marks("gateway-0", self.clock)
        kit = Kit(
            ecosystem, self.catalog, small, self.flights, self.desk, self.marks, doorkeeper, self.door,
            self.clock, Policy(stale_seconds=86_400), networked=lambda: self.networked,
            witness=witness,
        )  # fmt: skip
        self._handler = Handler(kit)
        self.app = create_app(self._handler, hosts=())
        self.client = self.on("")
        self._tasks = [asyncio.create_task(bulletin.read(self.log, ecosystem.name, after=0))]
        self._fetching: asyncio.Task[None] | None = None
        if beside is None:
            self._tasks.append(asyncio.create_task(librarian.keep(self.catalog, self.log)))
            self.start_fetcher()

    def on(self, connection: str) -> httpx.AsyncClient:
        """A client on a connection of that name."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, CONNECTION: connection}, receive, send)

        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:3141")

    def start_fetcher(self) -> None:
        fetcher = Fetcher(
            "fetcher-0", self.log, self.store, [self.origin], Lanes({Lane.INDEX: 8, Lane.BLOB: 8}, 8),
            Waiters(self.clock, lambda: True), self.clock, Limits(10.0, 30.0),
            peering=Peering(self.peers, Pace()) if self.networked else None,
            copying=HeldOrigin(self.catalog, self.store),
        )  # fmt: skip
        self._fetching = asyncio.create_task(react(self.log, fetcher.on_request, at_once=50))

    async def kill_fetcher(self) -> None:
        assert self._fetching is not None
        self._fetching.cancel()
        await asyncio.wait({self._fetching})

    async def folded(self) -> None:
        """Wait until the catalog knows all that has happened."""
        await until(lambda: self.catalog.position() == len(self.log.events))

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.log.events)

    async def close(self) -> None:
        await self.client.aclose()
        await self._handler.close()
        await self.flights.close()
        self.desk.close()
        if self._fetching:
            self._tasks.append(self._fetching)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task


class World(Way):
    """The way of Python packages."""

    def __init__(self, folder: Path, *, networked: bool = False) -> None:
        indexes = [Index(INDEX, lists=True), Index(PRIVATE, "acme", private=True)]
        super().__init__(folder, PyPI(indexes, fresh_for=600.0, limit=1 << 20), networked=networked)

    def publish(
        self,
        body: bytes = BODY,
        *,
        name: str = "demo-1.0-py3-none-any.whl",
        vouched: bool = True,
        index: str = INDEX,
        host: str = "files.example",
        query: str = "",
    ) -> Held:
        """Put a project with one file on the index; returns the file."""
        url = f"http://{host}/p/{name}"
        file = {"filename": name, "url": url + query, "hashes": {}, "size": len(body)}
        if vouched:
            file["hashes"] = {"sha256": hashlib.sha256(body).hexdigest()}
        page = {"meta": {"api-version": "1.1"}, "name": "demo", "files": [file], "versions": ["1.0"]}
        self.origin.has(index + "demo/", json.dumps(page).encode()).media_type = JSON["Accept"]
        return self.origin.has(url, body)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={**JSON, **headers})


FILE = "/simple/files/files.example/p/demo-1.0-py3-none-any.whl"
FILE_URL = "http://files.example/p/demo-1.0-py3-none-any.whl"
