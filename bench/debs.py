"""How quick a node is with Debian packages that it holds, beside apt-cacher-ng and beside the repository itself.

Prints a table, judges what is promised, and exits with 1 if something misses. All of it is on loopback, and apt is
the real one of the newest release. The three take turns, ratios are of the same round, and what counts is the
median of the rounds.
"""

import asyncio
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("speed")))

from client import fetch  # type: ignore[import-not-found]
from table import Table, each, judged, ratios, turns  # type: ignore[import-not-found]

from dpm_testkit.apt_client import RELEASES, AptClient
from dpm_testkit.apt_repository import publisher
from dpm_testkit.debian_roots import ENVIRONMENT, in_root
from dpm_testkit.debs import Deb
from dpm_testkit.file_server import FileServer, file_server
from dpm_testkit.ftp_archive import ArchiveRepository
from dpm_testkit.node import running_node
from dpm_testkit.patience import eventually

MIB = 1024 * 1024
LARGE_BYTES = 100 * MIB
LISTED, TAKEN = 3000, 200
"""Packages that the repository has, and those that are installed."""

_CACHER = """
CacheDir: /srv/cache
LogDir: /srv/log
Port: {port}
BindAddress: 127.0.0.1
PidFile: /srv/pid
SocketPath: /srv/socket
AllowUserPorts: 0
ForeGround: 1
ReportPage: report.html
"""


def low_port() -> int:
    """A free port that apt-cacher-ng can have: it takes one above 32767 for a negative number."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as trying, suppress(OSError):
            trying.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port below 32768 is free")


@asynccontextmanager
async def apt_cacher(folder: Path) -> AsyncIterator[str]:
    """apt-cacher-ng as Debian sets it up; its URL, with a closing slash."""
    port = low_port()
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "acng.conf").write_text(_CACHER.format(port=port))
    with (folder / "said").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *in_root("publisher", folder), "apt-cacher-ng", "-c", "/srv/conf",
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT,
        )  # fmt: skip

    async def listens() -> bool:
        if process.returncode is not None:
            raise RuntimeError((folder / "said").read_text())
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    try:
        await eventually(listens)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def fill(server: FileServer, folder: Path) -> Path:
    """Have the server serve a repository with many packages and a large one; its key."""
    async with publisher(folder) as made:
        repository = ArchiveRepository(made, server.served / "debian")
        text = "It has a description as long as those of Debian are, which is what an index mostly consists of."
        for number in range(LISTED):
            name = f"package-{number:04}"
            body = os.urandom(20_000 if number < TAKEN else 10)
            long = {"Description": f"{name} of the bench\n " + f"{text}\n " * 4 + f"{number * 7919}"}
            repository.add(Deb(name, files={f"usr/share/{name}/data": body}, fields=long))
        block = os.urandom(MIB)
        repository.add(Deb("large", files={"usr/share/large/data": block * (LARGE_BYTES // MIB)}))
        await repository.publish()
        return made.keyring


def large(base: str, _round: int) -> float:
    """MiB/s of one download. Raises RuntimeError for any other answer."""
    answer = fetch(f"{base}pool/main/large_1.0_all.deb")
    if answer.status != 200 or answer.size < LARGE_BYTES:
        raise RuntimeError(f"{base}: {answer.status}, {answer.size} bytes")
    return float(answer.size) / MIB / float(answer.last)


def update(client: AptClient, _round: int) -> float:
    """Seconds of ``apt-get update`` on a machine without lists."""
    client.forget(lists=True)
    begun = time.perf_counter()
    asyncio.run(client.update())
    return time.perf_counter() - begun


def install(client: AptClient, _round: int) -> float:
    """Seconds until all packages of a set are here; dpkg is the same for everybody, and so left out."""
    client.forget()
    names = [f"package-{number:04}" for number in range(TAKEN)]
    begun = time.perf_counter()
    asyncio.run(client.apt_get("install", "--download-only", *names))
    return time.perf_counter() - begun


async def run(folder: Path, rounds: int) -> Table:
    """Measure all of it."""
    table = Table()
    async with (
        file_server(folder / "site", port=low_port) as server,
        apt_cacher(folder / "cacher") as cacher,
        running_node(apt_allow=(host := server.url.split("/")[2])) as node,
    ):
        key = await fill(server, folder / "site")
        bases = {
            "dpm": f"{node.address('gateway-apt')}{host}/debian/",
            "apt-cacher-ng": f"{cacher}{host}/debian/",
            "direct": f"{server.url}debian/",
        }
        clients = {}
        for name, base in bases.items():
            clients[name] = client = AptClient(RELEASES[-1], folder / name)
            client.trusts(key)
            client.sources(f"deb {base} stable main")
        table.heading("packages held already")
        await asyncio.to_thread(_measure, table, bases, clients, rounds)
    return table


def _measure(table: Table, bases: dict[str, str], clients: dict[str, AptClient], rounds: int) -> None:
    for _ in range(2):  # the first time it is fetched, and a second one finds it where it is to stay
        for name, base in bases.items():
            large(base, 0)
            update(clients[name], 0)
            install(clients[name], 0)
    reached, busy = turns(rounds, each(bases, large))
    table.row(".deb of 100 MiB", reached, "MiB/s", busy)
    table.at_least("of apt-cacher-ng", ratios(reached, "dpm", "apt-cacher-ng"), 1.0)
    for what, measure in ((f"update, {LISTED} packages", update), (f"fetch {TAKEN} packages", install)):
        reached, busy = turns(rounds, each(clients, measure))
        table.row(f"apt-get: {what}", reached, "s", busy)
        table.at_most("times apt-cacher-ng", ratios(reached, "dpm", "apt-cacher-ng"), 1.0, "")


if __name__ == "__main__":
    sys.exit(judged("bench/debs.py", __doc__, run))
