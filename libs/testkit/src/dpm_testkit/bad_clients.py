"""What bad clients do to a gateway of a running node, and what good ones notice of it."""

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import aiohttp

from dpm_testkit.crowd import Crowd, WrongAnswer, WrongBytes
from dpm_testkit.footprint import Footprint
from dpm_testkit.loiterers import Habit, loitering
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until
from dpm_testkit.rude_clients import Reactions, harass

GATEWAY = "gateway-pypi"
PROJECT = "held"
SIZES = (2_000, 100_000, 400_000)
"""Bytes of the files that are held: read as they are opened, handed out by reading, and past this process."""

WORKERS = 4
"""Good clients at once: every other one makes a new connection for each request."""

AGAIN_SECONDS = 0.25
"""Until a good client that was refused tries again, as pip does."""

WATCH_SECONDS = 0.2

SPARE_FILES = 16
"""So many more than before a gateway may have open in the end: of threads, and of connections that are kept."""

HEAD_SECONDS = 1.0
"""Of those who never finish a request: most of the time of a run is theirs."""


@dataclass
class Hits:
    """Seconds that each hit took a good client, and how often one had to try again."""

    seconds: list[float] = field(default_factory=list)
    again: int = 0

    @property
    def median(self) -> float:
        """Half of them were quicker."""
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        """One in a hundred was slower."""
        return statistics.quantiles(self.seconds, n=100)[98]

    def __str__(self) -> str:
        return (
            f"{len(self.seconds)} hits, median {self.median * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms, "
            f"slowest {max(self.seconds) * 1e3:.0f} ms, {self.again} tried again"
        )


@dataclass(frozen=True)
class Victim:
    """A node that holds ``files`` of PROJECT, served at ``paths``."""

    node: Node
    files: list[File]
    paths: list[str]

    async def hits(self, requests: int) -> "Hits":
        """So many good clients' requests for the first file, WORKERS at a time. Raises WrongBytes, WrongAnswer."""
        hits = Hits()
        url, body, left = urljoin(self.node.address(), self.paths[1]), self.files[0].body, iter(range(requests))

        async def work(*, stays: bool) -> None:
            connector = aiohttp.TCPConnector(force_close=not stays)
            async with aiohttp.ClientSession(connector=connector) as session:
                for _ in left:
                    begun = time.perf_counter()
                    while not await _got(session, url, body):
                        hits.again += 1
                        await asyncio.sleep(AGAIN_SECONDS)
                    hits.seconds.append(time.perf_counter() - begun)

        async with asyncio.TaskGroup() as workers:
            for number in range(WORKERS):
                workers.create_task(work(stays=number % 2 == 0))
        return hits

    def footprint(self) -> Footprint:
        """That of its gateway."""
        pid = self.node.pid(GATEWAY)
        assert pid is not None
        return Footprint.of(pid)

    async def connections(self) -> int:
        """How many its gateway has of clients."""
        return int(await self.node.metric(GATEWAY, "dpm_server_connections"))

    async def deserted(self) -> None:
        """Wait until its gateway has no connection. Raises TimeoutError."""

        async def nobody_is_here() -> bool:
            return not await self.connections()

        await eventually(nobody_is_here)

    def errors(self) -> list[str]:
        """What its gateway has logged as an error."""
        lines = (self.node.home.logs / f"{GATEWAY}.log").read_text(errors="replace").splitlines()
        return [
            line for line in lines if line.startswith("{") and json.loads(line)["level"] in ("error", "critical")
        ]


@asynccontextmanager
async def victim(sizes: Sequence[int] = SIZES, *, head_seconds: float = 10.0) -> AsyncIterator[Victim]:
    """A node that holds files of so many bytes, and gives clients ``head_seconds`` to say a request."""
    chance = random.Random(len(sizes))
    async with (
        PackageServer().running() as upstream,
        running_node(
            pypi_upstream=upstream.url, client_head_seconds=str(head_seconds), log_level="warning"
        ) as node,
    ):
        files = [
            upstream.add(PROJECT, File(f"{PROJECT}-{number}.0-py3-none-any.whl", chance.randbytes(size)))
            for number, size in enumerate(sizes)
        ]
        good = Crowd(node.index)
        for file in files:
            await good.obtain(PROJECT, file)
        folder = f"/simple/files/{urlsplit(upstream.url).netloc}/packages/{PROJECT}"
        yield Victim(node, files, [f"/simple/{PROJECT}/", *(f"{folder}/{file.name}" for file in files)])


@dataclass(frozen=True)
class Harassed:
    """How a gateway took it: ``before`` and ``after`` are what it needed of the machine, without a client.

    ``served`` is how many files good clients got meanwhile.
    """

    reactions: Reactions
    before: Footprint
    after: Footprint
    served: int
    findings: list[str]


async def harassed(inputs: int, seed: int) -> Harassed:
    """Send so many rude connections to a gateway, of which the first tenth fills its caches.

    Raises WrongBytes, WrongAnswer.
    """
    async with victim(head_seconds=HEAD_SECONDS) as it:
        pid = it.node.pid(GATEWAY)
        bodies = [file.body for file in it.files]
        served = 0

        async def be_good() -> None:
            nonlocal served
            good = Crowd(it.node.index)
            while True:
                await good.obtain(PROJECT, random.choice(it.files))
                served += 1
                await asyncio.sleep(0.1)  # they are few among the bad

        being_good = asyncio.create_task(be_good())
        try:
            warm = await harass(it.node.address(), it.paths, bodies, range(inputs // 10), seed)
            before = it.footprint()
            reactions = await harass(it.node.address(), it.paths, bodies, range(inputs // 10, inputs), seed)
        finally:
            being_good.cancel()
            await asyncio.wait([being_good])
        if not being_good.cancelled():
            being_good.result()
        await it.deserted()
        with suppress(TimeoutError):
            await until(lambda: it.footprint().files <= before.files + SPARE_FILES)
        findings = [*warm.findings, *reactions.findings, *it.errors()]
        if it.node.pid(GATEWAY) != pid:
            findings.append("the gateway has died")
        return Harassed(reactions, before, it.footprint(), served, findings)


@dataclass(frozen=True)
class Crowded:
    """What a crowd of loiterers did to a gateway.

    ``served`` are the hits beside them, ``held`` the connections that the gateway had then, ``needed`` what it
    needed of the machine at most, ``left`` what it needs when all have gone.
    """

    served: Hits
    held: int
    needed: Footprint
    left: Footprint
    comings: dict[Habit, Counter[str]]


async def crowded(it: Victim, counts: Mapping[Habit, int], requests: int) -> Crowded:
    """Let so many loiter, who ask for the last file, and good clients ask for the first one meanwhile.

    Raises WrongBytes, WrongAnswer, and TimeoutError if the loiterers cannot come in, or leave something behind.
    """
    before = most = it.footprint()

    async def watch() -> None:
        nonlocal most
        while True:
            now = it.footprint()
            most = Footprint(max(most.memory, now.memory), max(most.files, now.files))
            await asyncio.sleep(WATCH_SECONDS)

    watching = asyncio.create_task(watch())
    async with loitering(it.node.address(), it.paths[-1], counts) as crowd:
        served = await it.hits(requests)
        held = await it.connections()
    watching.cancel()
    await it.deserted()
    with suppress(TimeoutError):
        await until(lambda: it.footprint().files <= before.files + SPARE_FILES)
    return Crowded(served, held, most, it.footprint(), crowd.told)


async def _got(session: aiohttp.ClientSession, url: str, body: bytes) -> bool:
    """Whether the file came whole; else it is to be tried again."""
    try:
        async with session.get(url) as answer:
            if answer.status == 503:
                return False
            if answer.status != 200:
                raise WrongAnswer(f"{url} was answered {answer.status}")
            if await answer.read() != body:
                raise WrongBytes(url)
    except (aiohttp.ClientError, OSError):
        return False
    return True
