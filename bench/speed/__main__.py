"""How quick a node is, beside nginx, proxpi and devpi, on the same files in the same run.

Prints a table, judges what is promised, and exits with 1 if something misses. All of it is on loopback, with a
made-up index as everybody's upstream. Contestants take turns, ratios are of the same round, and what counts is the
median of the rounds.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import cold
import content
import contestants
import costs
import warm
from load import Generator
from table import Table

PARTS = ("cold", "installs", "warm", "processor", "memory")


async def run(folder: Path, parts: list[str], rounds: int) -> Table:
    """Measure these parts."""
    table = Table()
    root = folder / "index"
    first = 5 * rounds
    content.make(root, first=first, slow=rounds, sets=rounds, huge="memory" in parts)
    async with AsyncExitStack() as stack:
        nginx = stack.enter_context(contestants.files(folder / "nginx", root))
        direct = stack.enter_context(contestants.line(nginx.index, cold.LINE))
        node, far = await stack.enter_async_context(contestants.dpm(nginx.index, direct.index))
        if "cold" in parts:
            cold.measure(table, far, direct, first=first, slow=rounds)
        if "installs" in parts:
            cold.installs(table, far, direct, folder, sets=rounds)
        if "memory" in parts:
            costs.memory(table, node)
        if "warm" in parts or "processor" in parts:
            rivals = [
                stack.enter_context(contestants.cache(folder / "nginx-cache", nginx.index)),
                stack.enter_context(contestants.proxpi(folder / "proxpi", nginx.index)),
                stack.enter_context(contestants.devpi(folder / "devpi", nginx.index)),
            ]
            load = Generator(contestants.RIVALS / "wrk", folder)
            if "warm" in parts:
                warm.measure(table, node, nginx, rivals, load, rounds)
            if "processor" in parts:
                costs.processor(table, [node, nginx, *rivals], load, rounds)
    return table


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="bench/speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="in which the contestants take turns (default 5)")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="dpm-bench-"))
    try:
        table = asyncio.run(run(folder, arguments.parts or list(PARTS), arguments.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return table.verdict()


if __name__ == "__main__":
    sys.exit(main())
