"""A node among bad clients: what ten thousand of them cost good ones, and what it answers to whatever they send.

First crowds hold connections and hardly use them: they say nothing, drip their request or its body, stay after
an answer, or take theirs a byte a second; then a crowd only takes its answers so. Good clients ask for a file that
is held, before and meanwhile. Then rude clients send a hundred thousand inputs that no client should. Prints and
judges the times of good clients, what was answered, and what the gateway needed of the machine, before and after.
Exits with 1 if something is over its limit.
"""

import argparse
import asyncio
import sys

from dpm_testkit.bad_clients import SPARE_FILES, Crowded, Hits, Victim, crowded, harassed, victim
from dpm_testkit.loiterers import Habit
from dpm_testkit.verdicts import Verdicts

MIB = 1024 * 1024
HITS = 4_000
FILES = (100_000, 20 * MIB)
"""Bytes of what good clients ask for, and of what others take slowly."""

SHARES = {Habit.IDLE: 0.5, Habit.HEAD: 0.3, Habit.ANSWER: 0.2, Habit.KEPT: 0.05, Habit.BODY: 0.05}
"""The last two are sent away soon, as they should be: they come on top of those who fill the house."""

SLOW_SHARE = 0.6
"""Of those who take their answers slowly: half as many again as a gateway has files for."""

MEDIAN_RATIO = 3.0
P99_RATIO = 10.0
"""A good client's times among bad ones, to those before: their comings and goings take a share of a core."""

AGAIN_SHARE = 0.01
CONNECTION_BYTES = 32 * 1024
"""Of memory, for each connection of a crowd."""

GROWTH_BYTES = 32 * MIB
"""More than after the same crowd before, or a tenth of the rude: what grows then, grows for ever."""

verdicts = Verdicts()


def judge_crowd(name: str, run: Crowded, quiet: Hits, least_held: int) -> None:
    """Print and judge what good clients noticed of a crowd."""
    print(f"{name}: {run.served}; {run.held} connections; needed {run.needed}, left {run.left}")
    for habit, told in run.comings.items():
        print(f"  {habit}: {', '.join(f'{count} {what}' for what, count in sorted(told.items()))}")
    verdicts.judge("median of hits among them, to before", run.served.median / quiet.median, MEDIAN_RATIO, "x")
    verdicts.judge("p99 of hits among them, to before", run.served.p99 / quiet.p99, P99_RATIO, "x")
    verdicts.judge("hits that had to be tried again", 100 * run.served.again / HITS, 100 * AGAIN_SHARE, "%")
    verdicts.judge("connections missing in the house", max(0, least_held - run.held), 0, "")


def judge_growth(what: str, before: int, after: int) -> None:
    """Judge bytes of memory that did not come back."""
    verdicts.judge(what, (after - before) / MIB, GROWTH_BYTES / MIB, "MiB")


async def crowds(clients: int) -> None:
    """The same crowd twice, then one of slow takers alone."""
    async with victim(FILES) as it:
        quiet = await warm(it)
        print(f"before: {quiet}; {(before := it.footprint())}")
        counts = {habit: int(share * clients) for habit, share in SHARES.items()}
        runs = [await crowded(it, counts, HITS) for _ in range(2)]
        held = int(0.9 * clients)
        for number, run in enumerate(runs, 1):
            judge_crowd(f"crowd {number}", run, quiet, held)
        slow = await crowded(it, {Habit.ANSWER: int(SLOW_SHARE * clients)}, HITS)
        judge_crowd("takers of answers", slow, quiet, 0)
        most = max(run.needed.memory for run in (*runs, slow)) - before.memory
        verdicts.judge("memory of a crowd", most / MIB, CONNECTION_BYTES * clients / MIB, "MiB")
        judge_growth("memory more after the second than the first", runs[0].left.memory, runs[1].left.memory)
        verdicts.judge("open files left over", max(0, slow.left.files - before.files), SPARE_FILES, "")
        verdicts.judge("errors in the log", len(it.errors()), 0, "")


async def warm(it: Victim) -> Hits:
    """Hits of a quiet node, which has served some already."""
    await it.hits(HITS // 4)
    return await it.hits(HITS)


async def rude(inputs: int, seed: int) -> None:
    """What is answered to ``inputs`` that follow from ``seed``."""
    run = await harassed(inputs, seed)
    print(f"{inputs} inputs of seed {seed}: {run.reactions}")
    print(f"before: {run.before}; after: {run.after}; {run.served} files served to good clients meanwhile")
    for finding in run.findings:
        print(f"  {finding[:500]}")
    verdicts.judge("findings: 5xx, hangs, garbled answers, errors", len(run.findings), 0, "")
    judge_growth("memory more than after a tenth of them", run.before.memory, run.after.memory)
    verdicts.judge("open files left over", max(0, run.after.files - run.before.files), SPARE_FILES, "")


async def main() -> int:
    """Read the arguments, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="what all inputs follow from")
    arguments = parser.parse_args()
    if arguments.clients:
        await crowds(arguments.clients)
    if arguments.inputs:
        await rude(arguments.inputs, arguments.seed)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
