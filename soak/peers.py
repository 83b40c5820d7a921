"""A team of four whole nodes, each on a host of its own, and what can happen to it, judged.

A Synapse, an upstream that counts, and four nodes are in network namespaces on one switch: each node has a home, a
bus, a Kubo and an address of its own, and upstream's line is slower than theirs. Real pip, docker, skopeo and apt
install from them, givers die at half of a file, members lie, strangers try, all that can stop stops, and
members go. Prints what was seen, and exits with 1 if anything was otherwise than it must be.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from dpm_testkit import team_lies as lies
from dpm_testkit import team_outages as outages
from dpm_testkit import team_partings as partings
from dpm_testkit import team_scenarios as passing
from dpm_testkit.team_nodes import TeamNodes, team_nodes
from dpm_testkit.team_offline import offline

Scenario = Callable[[TeamNodes], Awaitable[str]]

MIB = 1024 * 1024
NAMES = ("anna", "ben", "carol", "dave")
STRANGERS = ("eve", "mallory")
UPSTREAM_BYTES = 20 * MIB
"""What upstream gives a second, to all of them together."""

SETTINGS = {"peer_least_bytes": "0", "peer_first_byte_seconds": "3"}
"""Small files are asked of peers, too; and a machine that is busy does not have upstream give the large ones."""


def scenarios(size: int, files: int) -> dict[str, Sequence[Scenario]]:
    """By their letters: the large file has ``size`` bytes, of the small ones there are ``files``."""
    breaks = [partial(passing.breaks_off, mishap=each, size=size, rate=60 * MIB) for each in passing.Mishap]
    return {
        "a": [
            partial(passing.one_for_all, engine=True),
            partial(passing.many_at_once, files=files),
            partial(passing.of_several, size=size),
        ],
        "b": breaks,
        "c": [lies.another_files_cid, lies.what_it_has_not, lies.what_has_rotted, lies.another_large_files_cid],
        "d": [partial(lies.strangers, outside=STRANGERS[0], between=STRANGERS[1])],
        "e": [outages.without_homeserver, outages.kubo_dies, outages.bus_restarts, outages.nodes_restart],
        "f": [outages.upstream_away_for_one, partial(offline, engine=True), partial(offline, told=False)],
        "g": [partings.leaves, partings.is_kicked],
    }


async def run(folder: Path, letters: str, size: int, files: int) -> bool:
    """Those of these letters, one after the other with the same team."""
    well = True
    begun = time.monotonic()
    async with team_nodes(
        folder, *NAMES, images=True, archive=True, pages=True, strangers=STRANGERS, **SETTINGS
    ) as team:
        team.far.limit(UPSTREAM_BYTES)
        print(f"four nodes are in one network after {time.monotonic() - begun:.0f} s", flush=True)
        for letter, listed in scenarios(size, files).items():
            for scenario in listed if letter in letters else ():
                try:
                    print(f"({letter}) ok     {await scenario(team)}", flush=True)
                except Exception:  # the others are still to be seen
                    well = False
                    print(f"({letter}) FAILED {scenario}\n{traceback.format_exc()}", flush=True)
    return well


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="soak/peers.py", description=__doc__)
    parser.add_argument("--only", default="abcdefg", help="letters of what is to happen (default all)")
    parser.add_argument("--large-mb", type=int, default=200, help="the file that breaks off (default 200 MiB)")
    parser.add_argument("--files", type=int, default=500, help="small ones at once (default 500)")
    told = parser.parse_args()
    if os.geteuid():
        parser.error("only root may make network namespaces")
    with tempfile.TemporaryDirectory(prefix="dpm-soak-", ignore_cleanup_errors=True) as folder:
        well = asyncio.run(run(Path(folder), told.only, told.large_mb * MIB, told.files))
    print("well" if well else "NOT WELL")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
