"""How quick a file comes from a peer, beside plain HTTP and beside Kubo's own `cat` between the same two hosts.

Prints a table, judges what is promised, and exits with 1 if something misses. The hosts are network namespaces of
this machine, so both sides share its processors. The three take turns, ratios are of the same round, and what
counts is the median of the rounds. For root.
"""

import asyncio
import json
import os
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import psutil

sys.path.insert(0, str(Path(__file__).with_name("speed")))

from client import fetch  # type: ignore[import-not-found]
from table import Rounds, Table, judged, ratios, turns  # type: ignore[import-not-found]

from dpm_core.adverts import Advert, seal_advert
from dpm_core.cids import cid_of
from dpm_core.digests import Digest
from dpm_core.events import ArtifactStored
from dpm_core.inventory import SharedFile, encode_inventory, place
from dpm_core.seals import SealKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.swarm import Lot
from dpm_runtime import unix_http
from dpm_runtime.service import SystemClock
from dpm_testkit.hosts import Host, hosts
from dpm_testkit.kubo import KuboNode, kubo_node, new_key
from dpm_testkit.node import COMMAND, Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until, until_now
from dpm_testkit.synapse import running_synapse
from dpm_testkit.team import Team, founded

NGINX = Path(__file__).parents[1] / ".tools" / "rivals" / "bin" / "nginx"
MIB = 1024 * 1024
PORT = 8080

SIZES = {"4 KiB": (4096, 10), "1 MiB": (MIB, 10), "100 MiB": (100 * MIB, 1), "1 GiB": (1024 * MIB, 1)}
"""Bytes, and how many files a round: of small ones several."""

ADVERTISED = 100_000
"""Files that a member says it has who is there already when another joins."""

OF_CAT = 0.9
FETCHABLE_SECONDS = 2.0


@dataclass(frozen=True)
class Ours:
    """A node that holds what is asked for, and one that asks."""

    holder: Node
    asker: Node
    host: Host

    def seconds(self, project: str, _round: int) -> tuple[float, float]:
        """The median of the project's files, from request to last byte, and the processor time of one of them.

        The asker does not hold them afterwards.
        """
        with self.host.inside():
            links = links_of(self.asker, project)
            before, used = _copied(self.asker), _used(self.processes)
            seconds = [_got(link) for link in links]
            used = _used(self.processes) - used
            until_now(lambda: _copied(self.asker) - before < 1024)
            asyncio.run(self.asker.dpm("evict", f"*{project}*"))
        return statistics.median(seconds), used / len(links)

    @property
    def processes(self) -> list[psutil.Process]:
        """Of both nodes, their Kubos among them."""
        roots = [part[0] for node in (self.holder, self.asker) for part in node.processes().values()]
        return [each for root in roots for each in (root, *root.children(recursive=True))]


@dataclass(frozen=True)
class Cat:
    """Two Kubos in a swarm of their own, configured as those of nodes, and what the one has."""

    holder: KuboNode
    asker: KuboNode
    lots: dict[str, list[Lot]]
    loop: asyncio.AbstractEventLoop

    def seconds(self, project: str, _round: int) -> tuple[float, float]:
        """As of our nodes."""
        config = json.loads((self.asker.repository / "config").read_text())
        token = config["API"]["Authorizations"]["dpm"]["AuthSecret"].partition(":")[2]
        lots, used = self.lots[project], _used(self.processes)
        seconds = [_cat(self.asker.kubo.place.api, token, lot) for lot in lots]
        used = _used(self.processes) - used
        dropping = self.asker.member.repository.drop(block for lot in lots for block in lot.blocks)
        asyncio.run_coroutine_threadsafe(dropping, self.loop).result()
        return statistics.median(seconds), used / len(lots)

    @property
    def processes(self) -> list[psutil.Process]:
        """The two daemons."""
        return [psutil.Process(each.kubo.pid) for each in (self.holder, self.asker)]


def links_of(node: Node, project: str) -> list[str]:
    """Where a node says that the project's files are."""
    page = f"{node.address()}simple/{project}/"
    with urlopen(Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"}), timeout=120) as answer:
        return [urljoin(page, file["url"]) for file in json.load(answer)["files"]]


def _got(url: str) -> float:
    answer = fetch(url)
    if answer.status != 200:
        raise RuntimeError(f"{url}: {answer.status}")
    return float(answer.last)


def _plain(host: Host, url: str, count: int, _round: int) -> float:
    with host.inside():
        return statistics.median(_got(f"{url}{number}") for number in range(count))


def _cat(api: Path, token: str, lot: Lot) -> float:
    """Seconds of Kubo's own reading: a request on its socket, by HTTP/1.0: the body ends with the connection."""
    buffer, size = bytearray(MIB), 0
    with socket.socket(socket.AF_UNIX) as connection:
        begun = time.perf_counter()
        connection.connect(str(api))
        request = f"POST /api/v0/cat?arg={lot.cid}&progress=false HTTP/1.0\r\nHost: kubo"
        connection.sendall(f"{request}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        size = len(data.partition(b"\r\n\r\n")[2])
        while size < lot.size and (more := connection.recv_into(buffer)):
            size += more
        seconds = time.perf_counter() - begun
    if size != lot.size:
        raise RuntimeError(f"cat gave {size} of {lot.size} bytes: {data[:200]!r}")
    return seconds


def _copied(node: Node) -> int:
    """Bytes of blocks in a node's Kubo that are not references."""
    total = 0
    for path in node.home.kubo("team").rglob("*.data"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _used(processes: Iterable[psutil.Process]) -> float:
    """Seconds of processor time."""
    return sum(sum(each.cpu_times()[:2]) for each in processes)


def body(size: int, number: int) -> bytes:
    """Bytes that no other file has, and that do not compress."""
    block = os.urandom(min(size, 4 * MIB))
    return b"".join((number.to_bytes(8) + at.to_bytes(8) + block[16:]) for at in range(max(1, size // len(block))))


@asynccontextmanager
async def nginx(host: Host, folder: Path, root: Path) -> AsyncIterator[str]:
    """nginx with the files below ``root``; its URL, with a closing slash."""
    (folder / "nginx.conf").write_text(f"""
        daemon off; worker_processes 1; pid {folder}/pid; user root;
        events {{ worker_connections 64; }}
        http {{
            access_log off; sendfile on; tcp_nopush on;
            client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{ listen {host.address}:{PORT}; root {root}; }}
        }}
    """)
    arguments = ("-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf")
    process = await asyncio.create_subprocess_exec(*host.command(NGINX, *arguments))
    try:
        await until(lambda: (folder / "pid").exists())
        yield f"http://{host.address}:{PORT}/"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def cats(holder: Host, asker: Host, folder: Path, bodies: dict[str, list[bytes]]) -> AsyncIterator[Cat]:
    """The two Kubos, connected."""
    key = new_key()
    for each in ("holder", "asker"):
        (folder / each).mkdir(parents=True)
    async with (
        kubo_node(folder / "holder", key, host=holder) as one,
        kubo_node(folder / "asker", key, host=asker) as other,
    ):
        lots = {name: [await one.member.gives(each) for each in them] for name, them in bodies.items()}
        await other.member.meets(one.member)
        yield Cat(one, other, lots, asyncio.get_running_loop())


async def advertise(team: Team, name: str, kubo: KuboNode, count: int) -> None:
    """Say in the room that a member has so many files."""
    digests = [Digest(f"sha256:{number:064x}") for number in range(1, count + 1)]
    root = cid_of([bytes(MIB + 1)])
    files = [
        SharedFile(each, 2 * MIB, root) if n % 4 == 0 else SharedFile(each, 40_000)
        for n, each in enumerate(digests)
    ]
    lot = await kubo.member.gives(b"".join(encode_inventory(count, 0, sorted(files, key=place))))
    network = team.members[name]
    now = int(time.time() * 1000)
    advert = Advert(
        peer=kubo.member.id, addresses=tuple(kubo.member.addresses), epoch=now, n=0, inventory=lot.cid,
        files=count, pages=0, size=sum(each.size for each in files), at=now, box=bytes.fromhex(network.box),
        inventory_size=lot.size,
    )  # fmt: skip
    account = Account(network.homeserver, network.user, network.device, network.token)
    clock = SystemClock()
    async with MatrixLink.open(network.homeserver, clock, account) as link:
        sealed = seal_advert(advert, SealKey(team.key, network.room, network.generation), network.user)
        await MatrixRoom(link, network.room, clock).advertise(sealed)


def known(node: Node) -> int:
    """How many files others have, as far as a node knows."""
    path = node.home.peers / "team.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        try:
            [[count]] = database.execute("SELECT count(*) FROM file")
        except sqlite3.OperationalError:  # no table yet
            return 0
    return int(count)


async def joins(team: Team, name: str, node: Node, count: int) -> float:
    """Seconds from a node's folder of the network until it knows so many files of others."""
    begun = time.perf_counter()
    team.moves_in(name, node.home)
    await node.dpm("start", "peer")
    await until(lambda: known(node) >= count)
    return time.perf_counter() - begun


async def fetchable(holder: Node, asker: Node, host: Host, file: File, project: str) -> float:
    """Seconds from ArtifactStored on one node until the other can have the file from it."""
    await asyncio.to_thread(_hold, holder, host, [project])

    async def had() -> bool:
        status, _ = await unix_http.request(
            asker.home.socket("peer"), f"/blobs/{file.sha256}?size={len(file.body)}"
        )
        return status == 200

    await eventually(had)
    now = time.time()
    with host.inside():
        stored = [each for each in await holder.history() if isinstance(each.event, ArtifactStored)]
    return now - stored[-1].time


async def run(folder: Path, rounds: int) -> Table:
    """Measure all of it."""
    table = Table()
    async with AsyncExitStack() as stack:
        h = stack.enter_context(hosts("anna", "ben", "carol", "far"))
        upstream = PackageServer()
        with h["far"].inside():
            synapse = await stack.enter_async_context(
                running_synapse(folder / "synapse", address=h["far"].address)
            )
            team = await founded(synapse, "anna", "ben", "carol")
            await stack.enter_async_context(upstream.running(host=h["far"].address))
        nodes = {}
        for name in ("anna", "ben"):
            program = h[name].program(COMMAND, folder)
            nodes[name] = await stack.enter_async_context(
                running_node(folder / name, command=program, pypi_upstream=upstream.url, peer_least_bytes="0")
            )
        (folder / "carol").mkdir()
        carol = await stack.enter_async_context(kubo_node(folder / "carol", team.key, host=h["carol"]))
        with h["far"].inside():
            await advertise(team, "carol", carol, ADVERTISED)
        table.heading("two nodes, each in a namespace of its own")
        seconds = await joins(team, "ben", nodes["ben"], ADVERTISED)
        table.row(f"from joining until {ADVERTISED:,} files are known", {"dpm": [seconds]}, "s")
        team.moves_in("anna", nodes["anna"].home)
        await nodes["anna"].dpm("start", "peer")
        await _fetchable(table, nodes, h, upstream, rounds)
        await _transfers(table, nodes, h, upstream, folder, rounds)
    return table


async def _fetchable(
    table: Table, nodes: dict[str, Node], h: dict[str, Host], upstream: PackageServer, rounds: int
) -> None:
    took = []
    for number in range(2 * rounds + 1):
        project = f"fresh{number}"
        file = upstream.add(project, File(f"{project}-1.0-py3-none-any.whl", os.urandom(MIB)))
        took.append(await fetchable(nodes["anna"], nodes["ben"], h["anna"], file, project))
    took = took[1:]  # the first waits until the two know each other
    table.row("from ArtifactStored until another can fetch it", {"dpm": took}, "s")
    table.at_most("seconds", took, FETCHABLE_SECONDS, "s")


async def _transfers(
    table: Table, nodes: dict[str, Node], h: dict[str, Host], upstream: PackageServer, folder: Path, rounds: int
) -> None:
    bodies = {
        _project(name): [body(size, number) for number in range(count)] for name, (size, count) in SIZES.items()
    }
    for project, them in bodies.items():
        for number, each in enumerate(them):
            upstream.add(project, File(f"{project}-{number}.0-py3-none-any.whl", each))
            path = folder / "plain" / project / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each)
    ours, before = Ours(nodes["anna"], nodes["ben"], h["ben"]), known(nodes["ben"])
    await asyncio.to_thread(_hold, nodes["anna"], h["anna"], bodies)
    await until(lambda: known(nodes["ben"]) >= before + sum(map(len, bodies.values())))
    sent = upstream.sent.total()
    async with nginx(h["anna"], folder, folder / "plain") as url, cats(h["anna"], h["ben"], folder, bodies) as cat:
        bodies.clear()
        for name, (size, _) in SIZES.items():
            await asyncio.to_thread(_compare, table, name, size, ours, cat, url, rounds)
    if upstream.sent.total() != sent:
        raise RuntimeError("upstream gave some of it")


def _project(name: str) -> str:
    return f"file-{name.replace(' ', '').lower()}"


def _hold(node: Node, host: Host, bodies: Iterable[str]) -> None:
    with host.inside():
        for project in bodies:
            for link in links_of(node, project):
                _got(link)


def _compare(table: Table, name: str, size: int, ours: Ours, cat: Cat, url: str, rounds: int) -> None:
    project = _project(name)
    used: Rounds = {"dpm": [], "ipfs cat": []}

    def costing(who: str, what: Ours | Cat, number: int) -> float:
        seconds, processor = what.seconds(project, number)
        used[who].append(processor / size * 1024 * MIB)
        return seconds

    reached, busy = turns(
        rounds,
        {
            "dpm": partial(costing, "dpm", ours),
            "ipfs cat": partial(costing, "ipfs cat", cat),
            "plain HTTP": partial(_plain, ours.host, f"{url}{project}/", SIZES[name][1]),
        },
    )
    if size < MIB:
        table.row(
            f"{name}, to the last byte",
            {who: [each * 1000 for each in all] for who, all in reached.items()},
            "ms",
            busy,
        )
    else:
        rates = {who: [size / MIB / each for each in all] for who, all in reached.items()}
        table.row(f"{name}, to the last byte", rates, "MiB/s", busy)
    table.at_least("of Kubo's own cat", ratios(reached, "ipfs cat", "dpm"), OF_CAT)
    if size >= 100 * MIB:
        table.row("processor, both sides", used, "s/GiB")


if __name__ == "__main__":
    sys.exit(judged("bench/peers.py", __doc__, run))
