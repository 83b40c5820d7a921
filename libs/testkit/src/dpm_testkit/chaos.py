"""Rounds of faults on a real node under load, drawn by a seed; after each round the node must be as it should.

A round's faults and clients follow from the seed and its number alone, so any round can be run again.
"""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dpm_cli.ports import choose_free
from dpm_testkit.audit import Auditor
from dpm_testkit.crowd import Crowd, Tally, merged
from dpm_testkit.faults import Fault, draw, inflict
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer

PROCESSES = ("nats", "fetcher", "fetcher-1", "fusefs", "gateway-pypi", "gateway-pypi-1")
"""What runs, by the names of ``dpm status``."""

REPLICAS = "fetcher=2,gateway-pypi=2"
STALL_SECONDS = 3.0
"""Shorter than the longest pause, so that stopped fetchers are superseded."""

CLIENTS = 12
FILES_A_CLIENT = 4
OLD_SHARE = 0.4
"""So many of a client's files are of earlier rounds."""

SIZES = ((2_000, 0.0), (60_000, 0.0), (1_200_000, 0.5), (2_000_000, 2.0), (2_500_000, 3.0))
"""Bytes of a round's new files, and the seconds that upstream takes for each."""

ROUND_SECONDS = 120.0
"""Clients and audit of a round must have come to an end by then."""


@dataclass
class Round:
    """What happened in a round, and what was found wrong at its end."""

    number: int
    faults: list[Fault]
    tally: Tally = field(default_factory=Tally)
    settled_after: float = 0.0
    stored: int = 0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        met = self.tally
        return (
            f"round {self.number:>3}: {'; '.join(map(str, self.faults))} | {met.whole} files whole, "
            f"{met.cut} cuts, {met.resumed} resumed, {met.refused} refusals, longest {met.longest:.1f} s | "
            f"quiet after {self.settled_after:.1f} s, {self.stored} stored"
        )


class Failed(AssertionError):
    """A round ended otherwise than it should; the message says how to run it again."""


async def run(rounds: int, seed: int, *, first: int = 1, say: Callable[[str], None] = print) -> list[Round]:
    """Run rounds ``first`` to ``first + rounds - 1`` on a node of their own. Raises Failed."""
    done: list[Round] = []
    async with (
        PackageServer().running() as upstream,
        running_node(
            pypi_upstream=upstream.url,
            pypi_port=str(choose_free()),
            replicas=REPLICAS,
            stall_seconds=str(STALL_SECONDS),
            restart_seconds="1",
            index_fresh_seconds="20",
        ) as node,
    ):
        game = _Game(node, upstream, seed)
        for number in range(first, first + rounds):
            done.append(Round(number, game.faults(number)))
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await game.play(done[-1])
            except (Exception, TimeoutError) as error:
                say(str(done[-1]))
                raise Failed(_report(node, seed, done[-1], error)) from error
            say(str(done[-1]))
    say(_summary(done))
    return done


class _Game:
    def __init__(self, node: Node, upstream: PackageServer, seed: int) -> None:
        self._node = node
        self._upstream = upstream
        self._seed = seed
        self._index = node.index
        self._auditor = Auditor(node, PROCESSES)
        self._old: list[tuple[str, File]] = []

    def _chance(self, number: int, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{number}/{what}")

    def faults(self, number: int) -> list[Fault]:
        return draw(self._chance(number, "faults"), PROCESSES)

    async def play(self, this: Round) -> None:
        new = self._new_files(this.number)
        asked_before = self._upstream.asked.copy()
        async with asyncio.TaskGroup() as parts:
            for client in range(CLIENTS):
                chance = self._chance(this.number, f"client {client}")
                parts.create_task(self._client(this, chance, new, first=new[client : client + 1]))
            for fault in this.faults:
                parts.create_task(inflict(self._node, fault))
        begun = time.monotonic()
        while findings := await self._look():
            this.findings = findings
            await asyncio.sleep(0.2)
        this.findings = []
        this.settled_after = time.monotonic() - begun
        this.stored = self._auditor.stored()
        for project, file in self._old:
            path = f"/packages/{project}/{file.name}"
            if self._upstream.asked[path] != asked_before[path]:
                raise AssertionError(f"{file.name} was stored, and was fetched again")
        self._old += new

    async def _client(
        self, this: Round, chance: random.Random, new: list[tuple[str, File]], *, first: list[tuple[str, File]]
    ) -> None:
        crowd = Crowd(self._index, chance, this.tally)
        for place in range(FILES_A_CLIENT):
            old = self._old and chance.random() < OLD_SHARE
            any_one = chance.choice(self._old if old else new)
            await crowd.obtain(*(first[0] if first and not place else any_one))

    async def _look(self) -> list[str]:
        services = await self._node.services()
        waiting = [
            f"{name} is {each['state']}: {each['detail']}"
            for name, each in services.items()
            if each["state"] != "running"
        ]
        for name, each in services.items():
            if each["state"] == "stopped":  # killed before it was ready: a person would start it again
                await self._node.dpm("start", name, check=False)
        return waiting or await self._auditor.look()

    def _new_files(self, number: int) -> list[tuple[str, File]]:
        chance = self._chance(number, "files")
        files = []
        for place, (size, seconds) in enumerate(SIZES):
            project = f"round{number}-{place}"
            name = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
            files.append(
                (project, self._upstream.add(project, File(name, chance.randbytes(size), seconds=seconds)))
            )
        return files


def _report(node: Node, seed: int, failed: Round, error: BaseException) -> str:
    kept = Path(tempfile.mkdtemp(prefix="dpm-chaos-"))
    shutil.copytree(node.home.logs, kept / "logs")
    causes = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
    lines = [f"{type(cause).__name__}: {cause}" for cause in causes]
    return os.linesep.join(
        [
            f"round {failed.number} failed: {'; '.join(lines)}",
            *(f"  {finding}" for finding in failed.findings),
            f"the logs of its node are in {kept}",
            f"again: make chaos SEED={seed} FROM={failed.number} ROUNDS=1",
        ]
    )


def _summary(done: list[Round]) -> str:
    met = merged([each.tally for each in done])
    faults = sum(len(each.faults) for each in done)
    longest = max((each.tally.longest for each in done), default=0.0)
    quiet = max((each.settled_after for each in done), default=0.0)
    return (
        f"{len(done)} rounds, {faults} faults: {met['whole']} files whole, none wrong, none lost; "
        f"{met['cut']} cuts, {met['resumed']} resumed, {met['refused']} refusals; "
        f"longest for a file {longest:.1f} s, longest until quiet {quiet:.1f} s"
    )
