"""A node that holds very many artifacts: how long it takes to serve again, and what it costs to hold them.

Kills fusefs, a gateway and nats-server under load, each in turn, and prints how long hits and misses took to be
served again; then a gateway's start, look-ups in the catalog, and the memory of nats-server. Exits with 1 if one
of them is over its limit, a client got a wrong byte, or something that was stored had to be fetched again.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from dpm_cli.ports import choose_free
from dpm_core.cids import Cid, CidHasher
from dpm_core.events import ArtifactStored
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.layout import Layout
from dpm_testkit.crowd import Crowd
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.recovery import load, recovered
from dpm_testkit.seeding import PROJECT, seed
from dpm_testkit.verdicts import Verdicts

KILLED = ("fusefs", "gateway-pypi", "nats")
AGAIN_SECONDS = 5.0
GATEWAY_SECONDS = 10.0
LOOK_UP_SECONDS = 0.001
NATS_BYTES = 1024**3
LOOK_UPS = 100_000
ON_DISK = 100_000
MOUNTED = 5_000

verdicts = Verdicts()


async def kills(node: Node, upstream: PackageServer, files: list[File], rounds: int) -> None:
    """Kill each service so often, under load, and judge how long the node took to serve again."""
    asked = upstream.asked.copy()
    async with load(node, PROJECT, files) as crowd:
        for process in KILLED * rounds:
            recovery = await recovered(node, upstream, process, PROJECT, random.choice(files))
            print(recovery, flush=True)
            verdicts.judge(f"serving again after a kill of {process}", recovery.serving, AGAIN_SECONDS, "s")
    print(f"beside it {crowd.tally.whole} files were served whole, with {crowd.tally.cut} cuts, none wrong")
    client = Crowd(node.index)
    for file in files:
        await client.obtain(PROJECT, file)
    lost = [
        file.name for file in files if upstream.asked[path := f"/packages/{PROJECT}/{file.name}"] != asked[path]
    ]
    verdicts.judge("stored artifacts that were fetched again", len(lost), 0, "")
    begun = time.monotonic()
    wrong = await asyncio.to_thread(wrong_blobs, node)
    print(
        f"{ON_DISK} blobs at most were read, {MOUNTED} below the mount, in {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    verdicts.judge("blobs that are lost or wrong", wrong, 0, "")


def wrong_blobs(node: Node) -> int:
    """How many blobs of the catalog are lost or not what they are called: some on disk, fewer below the mount."""
    catalog, layout = SqliteCatalog.reader(node.home.catalog), Layout(node.home)
    cids = [Cid(cid) for (cid,) in catalog.rows("SELECT cid FROM blob")]
    catalog.close()
    paths = [(cid, layout.blob(cid)) for cid in random.sample(cids, min(ON_DISK, len(cids)))]
    paths += [(cid, node.home.mount / "cid" / cid) for cid in random.sample(cids, min(MOUNTED, len(cids)))]
    return sum(cid_at(path) != cid for cid, path in paths)


def cid_at(path: Path) -> Cid | None:
    """The CID of what lies there, None if nothing does."""
    hasher = CidHasher()
    try:
        hasher.update(path.read_bytes())
    except OSError:
        return None
    return hasher.cid()


async def gateway_start(node: Node) -> float:
    """Seconds from the start of a gateway until it is ready, the command that starts it included."""
    await node.dpm("stop", "gateway-pypi")
    begun = time.monotonic()
    await node.dpm("start", "gateway-pypi")
    return time.monotonic() - begun


async def look_ups(node: Node) -> list[float]:
    """Seconds of look-ups of artifacts drawn at random, half of them not held."""
    ids = [each.event.ref.id for each in await node.history() if isinstance(each.event, ArtifactStored)]
    drawn = [random.choice(ids) if number % 2 else f"{random.getrandbits(128):032x}" for number in range(LOOK_UPS)]
    catalog = SqliteCatalog.reader(node.home.catalog)
    seconds = []
    for artifact_id in drawn:
        begun = time.perf_counter()
        catalog.find(artifact_id)
        seconds.append(time.perf_counter() - begun)
    catalog.close()
    return seconds


@asynccontextmanager
async def seeded(artifacts: int) -> AsyncIterator[tuple[Node, PackageServer, list[File]]]:
    """A node that holds so many artifacts, with the files that were really fetched."""
    async with (
        PackageServer().running() as upstream,
        running_node(pypi_upstream=upstream.url, pypi_port=str(choose_free()), log_level="warning") as node,
    ):
        begun = time.monotonic()
        files = await seed(node, upstream, artifacts)
        print(f"{artifacts} artifacts are held, after {time.monotonic() - begun:.0f} s", flush=True)
        yield node, upstream, files


async def main() -> int:
    """Read the arguments, fill a node, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=2, help="how often each service is killed; 0: not at all")
    arguments = parser.parse_args()
    async with seeded(arguments.artifacts) as (node, upstream, files):
        await kills(node, upstream, files, arguments.kills)
        verdicts.judge("gateway ready after `dpm start`", await gateway_start(node), GATEWAY_SECONDS, "s")
        p99 = statistics.quantiles(await look_ups(node), n=100)[98]
        verdicts.judge("look-up in the catalog, p99", p99 * 1000, LOOK_UP_SECONDS * 1000, "ms")
        pid = node.pid("nats")
        assert pid is not None
        verdicts.judge(
            "memory of nats-server", psutil.Process(pid).memory_info().rss / 1024**2, NATS_BYTES / 1024**2, "MiB"
        )
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
