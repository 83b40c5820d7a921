"""What telemetry costs on a hit: processor time of a gateway for each, without telemetry, with it, and traced.

Three nodes run side by side, and are asked in turns for a small file that they hold: one with OTEL_SDK_DISABLED,
one as it comes, one that sends all its spans by OTLP to a receiver in this process. Prints the processor time of a
hit, and exits with 1 if telemetry as it comes costs more than LIMIT. Rounds are short and many, and the best of
each counts: what else the machine does makes a hit dearer, and never cheaper.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp

from dpm_testkit.node import Node, running_node
from dpm_testkit.otlp_receiver import OtlpReceiver
from dpm_testkit.package_server import File, PackageServer

ROUNDS = 30
REQUESTS = 50
HIT_BYTES = 10_000
LIMIT = 1.20


async def hits(url: str, session: aiohttp.ClientSession) -> None:
    """REQUESTS hits, one after the other over a connection that stays open."""
    for _ in range(REQUESTS):
        async with session.get(url) as answer:
            assert answer.status == 200 and len(await answer.read()) == HIT_BYTES


def processor_time(pid: int) -> int:
    """Nanoseconds that the threads of a process have run (proc(5), schedstat: finer than its times)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total


async def measure(nodes: dict[str, Node]) -> dict[str, float]:
    """Microseconds of processor time that the gateway of each node takes for a hit."""
    pids = {way: (await node.status())["services"]["gateway-pypi"]["pid"] for way, node in nodes.items()}
    urls = {way: await node.file_url("hit") for way, node in nodes.items()}
    best = dict.fromkeys(nodes, float("inf"))
    async with aiohttp.ClientSession() as session:
        for way in nodes:
            await hits(urls[way], session)  # warm
        for _ in range(ROUNDS):
            for way in nodes:
                before = processor_time(pids[way])
                await hits(urls[way], session)
                best[way] = min(best[way], (processor_time(pids[way]) - before) / REQUESTS / 1e3)
    return best


async def main() -> int:
    """Measure, print, judge."""
    async with (
        PackageServer().running() as upstream,
        OtlpReceiver().running() as receiver,
        AsyncExitStack() as stack,
    ):
        upstream.add("hit", File("hit-1.0-py3-none-any.whl", os.urandom(HIT_BYTES)))
        ways = {
            "without (OTEL_SDK_DISABLED)": {"sdk_disabled": "true"},
            "as it comes": {},
            "traced, sent by OTLP": {"exporter_otlp_endpoint": receiver.url},
        }
        nodes = {
            way: await stack.enter_async_context(running_node(otel=otel, pypi_upstream=upstream.url))
            for way, otel in ways.items()
        }
        costs = await measure(nodes)
        assert receiver.spans
    without, comes, _ = costs.values()
    for way, each in costs.items():
        print(f"{way:<28} {each:6.0f} µs a hit   {each / without - 1:+6.1%}")
    verdict = "ok" if comes / without <= LIMIT else "TOO SLOW"
    print(f"{'telemetry on a hit':<28} {comes / without - 1:+6.1%}   limit {LIMIT - 1:+.0%}   {verdict}")
    return int(comes / without > LIMIT)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
