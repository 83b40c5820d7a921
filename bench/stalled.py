"""What fifty stalled fetches cost those who ask for something that is held: the p99 of hits, with and without.

Prints the times of a quiet node, of one with stalled fetches, and of the same node quiet again, and exits with 1
if the p99 beside stalled fetches is more than LIMIT times that of the quiet phases. The process that measures is
the same in all phases, so its own cost is in all of them.
"""

import asyncio
import os
import statistics
import sys
import time

import aiohttp

from dpm_testkit.node import running_node
from dpm_testkit.package_server import File, PackageServer

STALLED = 50
WORKERS = 4
REQUESTS = 8_000
HIT_BYTES = 100_000
LIMIT = 1.25


async def hits(url: str) -> list[float]:
    """Seconds that each of REQUESTS hits took, WORKERS at a time over connections that stay open."""
    seconds: list[float] = []
    left = iter(range(REQUESTS))

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in left:
            begun = time.perf_counter()
            async with session.get(url) as answer:
                assert answer.status == 200 and len(await answer.read()) == HIT_BYTES
            seconds.append(time.perf_counter() - begun)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as workers:
        for _ in range(WORKERS):
            workers.create_task(work(session))
    return seconds


def show(what: str, seconds: list[float]) -> float:
    """Print the median and the p99, and return the p99 (seconds)."""
    p99 = statistics.quantiles(seconds, n=100)[98]
    print(f"{what:<28} median {statistics.median(seconds) * 1e3:6.2f} ms   p99 {p99 * 1e3:6.2f} ms", flush=True)
    return p99


async def swallow(url: str, answers: list[aiohttp.ClientResponse], session: aiohttp.ClientSession) -> None:
    """Ask for a file that will stall, and keep its answer open."""
    answer = await session.get(url)
    assert answer.status == 200
    answers.append(answer)


async def main() -> int:
    """Measure, print, judge."""
    async with PackageServer().running() as upstream:
        upstream.add("hit", File("hit-1.0-py3-none-any.whl", os.urandom(HIT_BYTES)))
        files = [
            upstream.add(f"stalled-{number}", File(f"stalled_{number}-1.0-py3-none-any.whl", body))
            for number, body in enumerate(os.urandom(4_000_000) for _ in range(STALLED))
        ]
        for file in files:
            file.hold_after = len(file.body) // 2
        async with (
            running_node(
                pypi_upstream=upstream.url,
                transfers_per_host=str(STALLED),
                blob_lane=str(STALLED),
                stall_seconds="3600",
            ) as node,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            hit = await node.file_url("hit")
            await hits(hit)  # warm
            before = show("quiet", await hits(hit))
            answers: list[aiohttp.ClientResponse] = []
            async with asyncio.TaskGroup() as clients:
                for number in range(STALLED):
                    clients.create_task(swallow(await node.file_url(f"stalled-{number}"), answers, session))
            for file in files:
                await file.withheld.wait()
            beside = show(f"beside {STALLED} stalled fetches", await hits(hit))
            for file in files:
                file.release.set()
            for answer in answers:
                await answer.read()
            after = show("quiet again", await hits(hit))
    ratio = beside / statistics.mean((before, after))
    verdict = "ok" if ratio <= LIMIT else "TOO SLOW"
    print(f"{'p99, stalled to quiet':<28} {ratio:.2f}   limit {LIMIT:.2f}   {verdict}")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
