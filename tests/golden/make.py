"""Makes a golden home: what a node of this version left, for every later version to open, fold and serve.

    .venv/bin/python tests/golden/make.py     # as root: writes tests/golden/<version>.tar.xz and <version>.json

A real node fetches from a small server that is called upstream.example here, and lives through all that leaves
a trace: pages and files, one of them larger than a MiB, one that is pinned, one evicted, one that rotted, one that
upstream has not, a page that was confirmed, tokens, and a transfer that the node's end cut off. Then it is ended,
and its home is packed, without its keys, sockets and logs. Make one when a format changes, beside those that are
there, and never again for a version that was released.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from dpm_cli.version import own_version
from dpm_core.cids import CHUNK
from dpm_core.events import lifetime
from dpm_core.registry import type_of
from dpm_runtime.layout import DATA
from dpm_runtime.tokens import issue
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import until
from dpm_testkit.wheels import wheel

HERE = Path(__file__).parent
HOST, PORT = "upstream.example", 8099
UPSTREAM = f"http://{HOST}:{PORT}/simple/"
PACKED = (
    "VERSION", "blobs", "incoming", "quarantine", "catalog", "facts", "tokens.json", "keys/readers.json",
    "nats/jetstream",
)  # fmt: skip
HELD_AT = 2 * CHUNK + 100_000
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


def files() -> dict[str, File]:
    """What upstream has, by project. The large ones are of one line each, so that they take no room here."""
    large = b"a line of a large file\n" * (CHUNK // 10)
    broken = b"a line of a file that was cut off\n" * (CHUNK // 10)
    return {
        "golden": wheel("golden", says="kept for ever"),
        "pinned": wheel("pinned", says="never evicted"),
        "evicted": wheel("evicted", says="gone"),
        "rotten": wheel("rotten", says="no longer what it was"),
        "large": File("large-1.0.tar.gz", large),
        "cut-off": File("cut_off-1.0.tar.gz", broken, hold_after=HELD_AT),
    }


async def main() -> None:
    """Live, and pack."""
    os.umask(0o077)
    name = own_version()
    async with PackageServer().running(PORT) as server:
        for project, file in files().items():
            server.add(project, file)
        async with running_node(pypi_upstream=UPSTREAM) as node:
            told = await live(node, server)
            pack(node.home.root, HERE / f"{name}.tar.xz")
    (HERE / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    print(f"{name}: {(HERE / f'{name}.tar.xz').stat().st_size} bytes")


async def live(node: Node, server: PackageServer) -> dict[str, Any]:
    """All that leaves a trace, until the node has ended; returns what every later version must find."""
    for project in ("golden", "pinned", "evicted", "rotten", "large"):
        await node.package(project)
    async with aiohttp.ClientSession(headers=JSON) as session:
        async with session.get(f"{node.index}nothing/") as answer:
            assert answer.status == 404
        async with session.get(f"{node.index}golden/", headers={"Cache-Control": "no-cache"}) as answer:
            assert answer.status == 200
    await node.dpm("token", "events", "a-reader", "--output", str(node.home.root / "credentials"))
    issue(node.home, "a-client", "pypi/private")
    await node.dpm("evict", "evicted-1.0*")
    await node.dpm("pin", "golden-1.0*", "pinned*")
    await node.dpm("unpin", "golden-1.0*")
    evicted = blob_of(node, server.projects["evicted"][0].body)
    await until(lambda: not evicted.exists())
    with blob_of(node, server.projects["rotten"][0].body).open("r+b") as file:
        file.write(b"!")
    await node.dpm("store", "check", check=False)
    cut = server.projects["cut-off"][0]
    downloading = asyncio.create_task(node.package("cut-off"))
    await cut.withheld.wait()
    data = await until(lambda: [each for each in node.home.incoming.rglob(DATA) if each.stat().st_size])
    await node.dpm("pin", "large-1.0*")  # the log ends with an event that never expires
    told = await expected(node, server)
    await node.dpm("down")
    with contextlib.suppress(aiohttp.ClientError):
        await downloading
    (attempt,) = data
    told["attempt"] = [attempt.parent.parent.name, int(attempt.parent.name), attempt.stat().st_size]
    return told


def blob_of(node: Node, body: bytes) -> Path:
    """Where a file lies in the store."""
    blobs = [each for each in node.home.blobs.glob("??/*") if not each.suffix and each.read_bytes() == body]
    (blob,) = blobs
    return blob


async def expected(node: Node, server: PackageServer) -> dict[str, Any]:
    """What is held, what lasts in the log, and what clients get."""
    shelf = json.loads(await node.dpm("store", "--limit", "1000", "--json"))
    return {
        "upstream": UPSTREAM,
        "layout": int((node.home.root / "VERSION").read_text()),
        "held": {
            each["id"]: [each["name"], each["cid"], each["size"], each["pinned"]] for each in shelf["biggest"]
        },
        "events": [
            [each.sequence, type_of(each.event).name]
            for each in await node.history()
            if lifetime(each.event) is None
        ],
        "files": {
            project: hashlib.sha256(server.projects[project][0].body).hexdigest()
            for project in ("golden", "pinned", "large")
        },
    }


def pack(home: Path, into: Path) -> None:
    """The home as one archive, by names in order, of nobody and no time but that of each file."""

    def anybody(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(into, "w:xz", preset=9) as archive:
        for name in PACKED:
            archive.add(home / name, name, filter=anybody)


if __name__ == "__main__":
    if HOST not in Path("/etc/hosts").read_text():  # the name is known to this process and what it starts, alone
        with tempfile.NamedTemporaryFile("w", delete=False) as hosts:
            hosts.write(f"127.0.0.1 localhost {HOST}\n")
        script = f'mount --bind {hosts.name} /etc/hosts; exec "$@"'
        again = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, __file__]
        ended = subprocess.run(again, env=os.environ, check=False).returncode
        Path(hosts.name).unlink()
        sys.exit(ended)
    asyncio.run(main())
