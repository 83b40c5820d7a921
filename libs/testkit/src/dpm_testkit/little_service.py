"""What a peer service answers on its socket, in one network in memory."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from dpm_core.digests import Digest
from dpm_core.events import PeerJoined
from dpm_peer.blame import Blame, Doubts, Truth
from dpm_peer.finding import Finder
from dpm_peer.page_finding import PageFinder
from dpm_peer.register import Register
from dpm_peer.serving import Parts, PeerDoor
from dpm_runtime.ops import Readiness, serve_ops
from dpm_runtime.service import SystemClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_sharers import MemorySharers
from dpm_testkit.memory_swarm import MemoryKubo, MemoryNetwork


class Service:
    """A peer service on a socket, in one network in memory, whose store has ``truths``."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "peer-0.sock"
        clock = SystemClock()
        self.team = MemorySharers("team", MemoryNetwork(), folder, clock)
        self.register = Register(MemoryEventLog(), clock)
        self.truths: dict[Digest, Truth] = {}
        blame = Blame(self.register, clock)
        self.finder = Finder(lambda: [self.team], blame, clock)
        self.pages = PageFinder(lambda: [self.team], self.finder, blame, clock)
        self.doubts = Doubts(self._truth, self.finder.asked, blame, clock)
        self.door = PeerDoor()

    async def _truth(self, sha256: Digest) -> Truth | None:
        return self.truths.get(sha256)

    def open(self) -> None:
        """Answer from now on."""
        self.door.open(Parts(self.finder, self.pages, self.doubts, lambda: [self.team]))

    def joins(self, member: MemoryKubo, name: str) -> None:
        """The log knows of a member."""
        self.register.record([PeerJoined(member.id, "team", f"@{name}:example.org")])

    def strikes(self, name: str) -> int:
        """How often a member was shut out."""
        return self.register.peers.blame("team", f"@{name}:example.org").strikes

    async def asked(self, path: str, **sent: object) -> int:
        """The status of a GET, or of a POST with JSON."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with aiohttp.ClientSession("http://peer", connector=connector) as session:
            method = "POST" if "json" in sent or "data" in sent else "GET"
            async with session.request(method, path, **sent) as answer:  # type: ignore[arg-type]
                return answer.status


@asynccontextmanager
async def served() -> AsyncIterator[Service]:
    """A service that answers."""
    async with AsyncExitStack() as resources:
        # a socket's path has 107 bytes at most: unix(7)
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        service = Service(folder)
        resources.callback(service.team.close)
        resources.push_async_callback(service.finder.close)
        readiness = Readiness()
        await resources.enter_async_context(serve_ops(service.socket, readiness, lambda: b"", service.door.routes))
        service.open()
        yield service
