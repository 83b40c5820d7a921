"""The whole nodes of a team, each on a host of its own, with a homeserver and an upstream on theirs. For root.

Nothing of it is made up: what people run with ``dpm up`` runs here, with real programs beside it.
"""

import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from dpm_core.decisions import Recorded
from dpm_core.events import ArtifactStored
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.network_files import NetworkFiles
from dpm_runtime import unix_http
from dpm_testkit.hosts import Host, hosts
from dpm_testkit.little_archive import LittleArchive, little_archive
from dpm_testkit.node import COMMAND, Node, running_node
from dpm_testkit.package_server import PackageServer
from dpm_testkit.patience import PATIENCE, eventually, until
from dpm_testkit.registry import Registry, docker_registry
from dpm_testkit.synapse import Synapse, running_synapse

HOMESERVER, UPSTREAM = "homeserver", "upstream"
NETWORK = "team"

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
    network: str = NETWORK

    @property
    def files(self) -> NetworkFiles:
        """Where it keeps what it is in the network."""
        return NetworkFiles(self.node.home.networks / self.network)

    @property
    def member(self) -> Network:
        """What it keeps of the network, and what it is in it."""
        return self.files.network()

    @property
    def key(self) -> SwarmKey:
        """The swarm key that it has."""
        return self.files.key()

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

    async def hears_of(self, *sha256s: str, holders: int = 1, seconds: float = 2 * PATIENCE) -> None:
        """Wait until so many members say that they have each of these files."""

        async def heard() -> bool:
            return all(self.holders(each) >= holders for each in sha256s)

        await eventually(heard, pause=0.05, seconds=seconds)

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

    def identity(self) -> PeerId:
        """Its peer id."""
        return PeerId(json.loads(self.files.identity.read_text())["PeerID"])

    def address(self) -> Address:
        """Where its Kubo can be reached from other hosts."""
        return Address(f"/ip4/{self.host.address}/tcp/{json.loads(self.files.ports.read_text())['tcp']}")

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
            told["apt_keyrings"] = str(self.archive.keyring)
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

    @property
    def keeper(self) -> TeamNode:
        """Who has made the network."""
        return next(iter(self.members.values()))

    async def synapse_starts(self) -> None:
        """Start the Synapse again where it was."""
        with self.homeserver.inside():
            await self.synapse.start()

    async def founds(self, keeper: TeamNode, *options: str) -> None:
        """Have the network made by who is to keep it."""
        with self.homeserver.inside():
            token = await self.synapse.administrator(keeper.name)
        file = self.folder / "token"
        file.write_text(token)
        told = ("--homeserver", self.synapse.url, "--token-file", str(file), *options)
        await keeper.node.dpm("network", "create", keeper.network, *told)

    async def lets_in(self, member: TeamNode) -> None:
        """Invite a node's owner, who joins, as people do it."""
        file = self.folder / f"invitation-{member.name}"
        await self.keeper.node.dpm("network", "invite", self.keeper.network, member.name, "--output", str(file))
        await member.node.dpm("network", "join", str(file))
        file.unlink()


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
    pages: bool = False,
    strangers: Iterable[str] = (),
    **settings: str,
) -> AsyncIterator[TeamNodes]:
    """A team whose members have these names, with a node each that is in its network.

    Upstream has ``images`` and an ``archive`` if so wished; with ``pages`` the network shares indexes, too.
    ``settings`` are of all nodes, as of ``running_node``. ``strangers`` are hosts on which nothing runs.
    """
    async with AsyncExitStack() as open:
        there = open.enter_context(hosts(HOMESERVER, UPSTREAM, *names, *strangers))
        upstream = await open.enter_async_context(
            upstream_on(there[UPSTREAM], folder, images=images, archive=archive)
        )
        with there[HOMESERVER].inside():
            address = there[HOMESERVER].address
            synapse = await open.enter_async_context(running_synapse(folder / "synapse", address=address))
        made = TeamNodes(there, synapse, upstream, folder)
        for name in names:
            command = there[name].program(COMMAND, folder)
            running = running_node(None, otel=None, command=command, **{**upstream.settings, **settings})
            made.members[name] = TeamNode(name, there[name], await open.enter_async_context(running))
        await made.founds(made.keeper, *(["--pages"] if pages else []))
        for member in list(made.members.values())[1:]:
            await made.lets_in(member)
        for member in made.members.values():
            await member.runs()
        yield made


def stored(history: Iterable[Recorded]) -> list[ArtifactStored]:
    """What came, by a node's log."""
    return [each.event for each in history if isinstance(each.event, ArtifactStored)]
