"""The whole nodes of a team, each on a host of its own, with a homeserver and an upstream on theirs. For root.

Nothing of it is made up: what people run with ``dpm up`` runs here, with real programs beside it.
"""

import json
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from dpm_core.decisions import Recorded
from dpm_core.events import ArtifactStored
from dpm_runtime import unix_http
from dpm_runtime.home import Home
from dpm_testkit.hosts import Host, hosts
from dpm_testkit.little_archive import LittleArchive, little_archive
from dpm_testkit.node import COMMAND, Node, running_node
from dpm_testkit.package_server import PackageServer
from dpm_testkit.patience import eventually, until
from dpm_testkit.registry import Registry, docker_registry
from dpm_testkit.synapse import Synapse, running_synapse
from dpm_testkit.team import Team, founded

HOMESERVER, UPSTREAM = "homeserver", "upstream"

_HOLDERS = "SELECT count(*) FROM file WHERE sha256 = ?"


@dataclass(frozen=True)
class Got:
    """An answer of a gateway, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class TeamNode:
    """A member's node on its host."""

    name: str
    host: Host
    node: Node
    network: str

    def session(self) -> aiohttp.ClientSession:
        """A client on the node's own host, where its gateways listen on loopback."""
        return aiohttp.ClientSession(
            connector=self.host.connector(), timeout=aiohttp.ClientTimeout(total=120), auto_decompress=False
        )

    async def get(self, path: str, service: str = "gateway-pypi", **headers: str) -> Got:
        """What a gateway answers for a path of its own, or an URL."""
        url = path if "://" in path else f"{self.node.address(service)}{path}"
        async with self.session() as session, session.get(url, headers=headers) as answer:
            return Got(answer.status, dict(answer.headers), await answer.read())

    async def life(self) -> str:
        """How its network does; nothing, if nobody says."""
        with suppress(Exception):
            _, body = await unix_http.request(self.node.home.socket("peer"), "/networks")
            return str(json.loads(body)[self.network]["life"])
        return ""

    async def runs(self) -> None:
        """Wait until it is in its network."""

        async def is_in() -> bool:
            return await self.life() == "running"

        await eventually(is_in)

    def holders(self, sha256: str) -> int:
        """How many members say that they have a file (its sha256 in hex), as this node heard it."""
        path = self.node.home.peers / f"{self.network}.sqlite"
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as table,
        ):
            return int(table.execute(_HOLDERS, (bytes.fromhex(sha256),)).fetchone()[0])
        return 0

    async def hears_of(self, *sha256s: str, holders: int = 1) -> None:
        """Wait until so many members say that they have each of these files."""
        await until(lambda: all(self.holders(each) >= holders for each in sha256s), pause=0.05)

    async def connected(self) -> frozenset[str]:
        """The peers that its Kubo is connected to."""
        socket = self.node.home.kubo_socket(self.network)
        config = json.loads((self.node.home.kubo(self.network) / "config").read_text())
        secret = config["API"]["Authorizations"]["dpm"]["AuthSecret"].removeprefix("bearer:")
        headers = {"Authorization": f"Bearer {secret}"}
        connector = aiohttp.UnixConnector(str(socket))
        session = aiohttp.ClientSession("http://kubo", connector=connector, headers=headers)
        async with session, session.post("/api/v0/swarm/peers") as answer:
            return frozenset(each["Peer"] for each in (await answer.json())["Peers"] or ())

    async def history(self) -> list[Recorded]:
        """Every event of its log."""
        with self.host.inside():
            return await self.node.history()

    def identity(self) -> str:
        """Its peer id."""
        path = self.node.home.networks / self.network / "identity.json"
        return str(json.loads(path.read_text())["PeerID"])

    async def up(self) -> None:
        """Start it again, and wait until it is in its network."""
        await self.node.dpm("up", "--detach")
        await self.runs()

    async def down(self) -> None:
        """Stop it as its owner does."""
        await self.node.dpm("down")

    async def dies(self) -> None:
        """Lose all of its processes at once, as when the power fails."""
        for each in self._processes():
            with suppress(psutil.Error):
                each.kill()
        await until(lambda: not self._processes())

    def freeze(self) -> None:
        """Stop all of its processes where they are: connections stay open, and nothing is answered."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for each in self._processes():
            with suppress(psutil.Error):
                each.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        found = self.host.processes()
        return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]


@dataclass
class Upstream:
    """What the world has on its host: packages, and if so wished images and an archive of Debian packages."""

    host: Host
    packages: PackageServer
    images: Registry | None = None
    archive: LittleArchive | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What a node is told of it."""
        told = {"pypi_upstream": self.packages.url}
        if self.images is not None:
            told["oci_upstream"] = self.images.url
        if self.archive is not None:
            told["apt_allow"] = self.archive.host
        return told

    def forget(self) -> None:
        """Nothing has been asked for yet."""
        self.packages.asked.clear()
        self.packages.sent.clear()
        if self.images is not None:
            self.images.forget()
        if self.archive is not None:
            self.archive.server.forget()

    async def gave(self) -> dict[str, int]:
        """The files that it was asked for since ``forget``, and how often: no index, no manifest, no Release."""
        gave = {path: times for path, times in self.packages.asked.items() if path.startswith("/packages/")}
        if self.images is not None:
            gave |= {
                what: times
                for what, times in self.images.asked.items()
                if what.startswith("GET") and "/blobs/" in what
            }
        if self.archive is not None:
            with self.host.inside():
                asked = await self.archive.server.asked()
            gave |= {what: times for what, times in asked.items() if "Release" not in what}
        return gave


@dataclass
class TeamNodes:
    """All of it. ``members`` by their names, the keeper first."""

    hosts: Mapping[str, Host]
    synapse: Synapse
    upstream: Upstream
    team: Team
    folder: Path
    members: dict[str, TeamNode] = field(default_factory=dict)

    @property
    def homeserver(self) -> Host:
        """Where the Synapse runs."""
        return self.hosts[HOMESERVER]

    @property
    def far(self) -> Host:
        """Where upstream is."""
        return self.hosts[UPSTREAM]

    async def synapse_starts(self) -> None:
        """Start the Synapse again where it was."""
        with self.homeserver.inside():
            await self.synapse.start()


@asynccontextmanager
async def upstream_on(host: Host, folder: Path, *, images: bool, archive: bool) -> AsyncIterator[Upstream]:
    """Its servers on a host, for as long as the context lasts."""
    async with AsyncExitStack() as open:
        with host.inside():
            made = Upstream(host, await open.enter_async_context(PackageServer().running(host=host.address)))
            if images:
                serving = docker_registry(folder / "registry", address=host.address)
                made.images = await open.enter_async_context(serving)
            if archive:
                made.archive = await open.enter_async_context(little_archive(folder / "archive", host.address))
        yield made


@asynccontextmanager
async def team_nodes(
    folder: Path,
    *names: str,
    images: bool = False,
    archive: bool = False,
    strangers: Iterable[str] = (),
    **settings: str,
) -> AsyncIterator[TeamNodes]:
    """A team whose members have these names, with a node each that is in its network.

    Upstream has ``images`` and an ``archive`` if so wished. ``settings`` are of all nodes, as of ``running_node``.
    ``strangers`` are hosts on which nothing runs.
    """
    async with AsyncExitStack() as open:
        there = open.enter_context(hosts(HOMESERVER, UPSTREAM, *names, *strangers))
        upstream = await open.enter_async_context(
            upstream_on(there[UPSTREAM], folder, images=images, archive=archive)
        )
        with there[HOMESERVER].inside():
            address = there[HOMESERVER].address
            synapse = await open.enter_async_context(running_synapse(folder / "synapse", address=address))
            team = await founded(synapse, *names)
        made = TeamNodes(there, synapse, upstream, team, folder)
        for name in names:
            # sockets have short paths
            root = Path(tempfile.mkdtemp(prefix="dpm-"))
            open.callback(shutil.rmtree, root, ignore_errors=True)
            home = Home(root)
            home.prepare()
            team.moves_in(name, home)
            command = there[name].program(COMMAND, folder)
            running = running_node(root, otel=None, command=command, **{**upstream.settings, **settings})
            node = await open.enter_async_context(running)
            made.members[name] = TeamNode(name, there[name], node, team.members[name].name)
        for member in made.members.values():
            await member.runs()
        yield made


def stored(history: Iterable[Recorded]) -> list[ArtifactStored]:
    """What came, by a node's log."""
    return [each.event for each in history if isinstance(each.event, ArtifactStored)]
