"""Clients use a repository while it is published again and again: nobody may ever see two generations mixed."""

import asyncio
import math
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from dpm_testkit.apt_client import HASH_SUM_MISMATCH, AptClient
from dpm_testkit.apt_repository import AptlyRepository
from dpm_testkit.debs import Deb
from dpm_testkit.ftp_archive import ArchiveRepository
from dpm_testkit.node import Node
from dpm_testkit.patience import PATIENCE
from dpm_testkit.publication import Order

PACKAGES = 12
"""How many a repository has."""

MIXED = (HASH_SUM_MISMATCH, "unexpected size", "Clearsigned file isn't valid", "GPG error")
"""What apt says when it got bytes of two generations; nothing excuses that."""

FAILED = ("\nE: ", "\nW: ", "\nErr:")

_ENTRY = re.compile(r"^Package: (\S+)$.*?^Version: (\S+)$", re.MULTILINE | re.DOTALL)


@dataclass
class Outcome:
    """What a crowd has seen: counts, and in ``wrong`` what must not be.

    ``excused``: commands of apt that failed as they may.
    """

    publications: int = 0
    updates: int = 0
    generations: int = 0
    installs: int = 0
    excused: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.publications} publications, {self.updates} updates that saw {self.generations} generations, "
            f"{self.installs} installs, {self.excused} failed as they may, {len(self.wrong)} wrong"
        )


class Spells:
    """The times in which something is not as it should be, and ``after`` seconds behind each."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._now = 0
        self._last_end = -math.inf

    @contextmanager
    def spell(self) -> Iterator[None]:
        """Something is not as it should be while the context lasts."""
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1
            self._last_end = time.monotonic()

    def met(self, since: float) -> bool:
        """Whether there was such a time after ``since``, of time.monotonic()."""
        return self._now > 0 or since <= self._last_end + self._after


BEHIND = ("fetcher", "nats")
ALL = ("gateway-apt", "fetcher", "gateway-apt-1", "nats")
"""Services that can be killed, by the names of ``dpm status``; with the first no client loses its connection."""

WELL_AGAIN_SECONDS = 5.0
"""After a service has come back, until all others have found it again."""


class Killing:
    """Services of a node are killed, one while each publication is under way; meanwhile it is ``ill``."""

    def __init__(self, node: Node, killed: Sequence[str]) -> None:
        self.ill = Spells(WELL_AGAIN_SECONDS)
        self._node, self._killed = node, killed

    async def __call__(self, number: int) -> None:
        """Kill the one whose turn it is, and wait until it is back."""
        with self.ill.spell():
            await self._node.dies(self._killed[number % len(self._killed)])


class Churn:
    """A repository and those who use it, in whatever way they do."""

    def __init__(
        self,
        repository: AptlyRepository | ArchiveRepository,
        clients: Sequence[AptClient],
        *,
        seed: int = 1,
        pause: float = 0.02,
        torn: Spells | None = None,
        killing: Killing | None = None,
    ) -> None:
        """``pause``: seconds between two files at most.

        While upstream is ``torn``, which is said here, a client may fail that has seen nothing yet; while the node
        is ill by ``killing``, any. What is mixed is wrong all the same.
        """
        self._repository, self._clients = repository, clients
        self._random, self._longest_pause = random.Random(seed), pause
        self._torn, self._killing = torn or Spells(-math.inf), killing
        self._versions = dict.fromkeys((f"p{number}" for number in range(PACKAGES)), 0)
        self._published: list[dict[str, str]] = []
        self._over = False
        self.outcome = Outcome()

    async def begin(self, *, cold: bool = False) -> None:
        """Publish the first generation, which all clients then have, unless it is ``cold``."""
        await self._publish(Order.AT_ONCE, set(self._versions))
        if not cold:
            await asyncio.gather(*(client.update() for client in self._clients))

    async def run(self, publications: int) -> Outcome:
        """Publish so often, in all orders by turns, while each client updates and installs; what came of it."""
        crowd = asyncio.gather(*(self._use(client) for client in self._clients))
        for _, order in zip(range(publications), cycle(Order), strict=False):
            changed = self._random.sample(sorted(self._versions), self._random.randint(1, PACKAGES))
            await self._publish(order, set(changed))
        self._over = True
        await crowd
        return self.outcome

    async def _publish(self, order: Order, changed: set[str]) -> None:
        for name in changed:
            self._versions[name] += 1
        packages = [Deb(name, f"{self._versions[name]}.0") for name in sorted(changed)]
        if isinstance(self._repository, AptlyRepository):
            await self._repository.add(*packages)
        else:
            self._repository.add(*packages)
        # before the first file is there: whoever is quick may have it in a moment
        self._published.append({name: f"{number}.0" for name, number in self._versions.items()})
        async with asyncio.TaskGroup() as parts:
            if self._killing is not None and self.outcome.publications:  # before the second nobody uses it
                parts.create_task(self._killing(self.outcome.publications))
            with self._torn.spell():
                await self._repository.publish(order, self._pause)
        self.outcome.publications += 1

    async def _pause(self, _path: Path) -> None:
        """Between two files, so that clients come in between."""
        await asyncio.sleep(self._random.uniform(0, self._longest_pause))

    async def _use(self, client: AptClient) -> None:
        """Update and upgrade until the last generation is seen, never going back."""
        latest, first = -1, True
        deadline = math.inf
        while time.monotonic() < deadline:
            if self._over and deadline == math.inf:
                deadline = time.monotonic() + PATIENCE
            well = await self._well(client, ["update", "-o", "APT::Update::Error-Mode=any"], new=latest < 0)
            if latest < 0 and not well:
                continue
            seen = self._generation(client)
            self.outcome.updates += 1
            self.outcome.generations += seen > latest
            if seen < latest:
                self._wrong(client, f"generation {seen} after {latest}", "")
            latest = max(latest, seen)
            well = await self._well(client, ["install", *self._versions] if first else ["dist-upgrade"])
            if well and seen >= 0 and await client.installed() != self._published[seen]:
                self._wrong(client, f"what is installed is not generation {seen}", "")
            self.outcome.installs += well
            first = first and not well
            if self._over and well and seen == len(self._published) - 1:
                return
        self._wrong(client, f"the last generation is never seen, only {latest}", "")

    async def _well(self, client: AptClient, arguments: Sequence[str], *, new: bool = False) -> bool:
        """Run apt-get and judge; whether it did what it was to. ``new``: the client has seen nothing yet."""
        begun = time.monotonic()
        said = f"\n{await client.apt_get(*arguments, fails=None)}"
        mixed = any(each in said for each in MIXED)
        well = not mixed and not any(each in said for each in FAILED)
        ill = self._killing is not None and self._killing.ill.met(begun)
        if not well and not mixed and (ill or (new and self._torn.met(begun))):
            self.outcome.excused += 1
        elif not well:
            self._wrong(client, f"apt-get {arguments[0]} is not content", said)
        return well

    def _generation(self, client: AptClient) -> int:
        """The number of the generation that a client has the index of; -1 and wrong if it is none."""
        entries = [_ENTRY.findall(body.decode()) for name, body in client.lists().items() if "_Packages" in name]
        found = dict(entry for each in entries for entry in each)
        if found not in self._published:
            self._wrong(client, "no generation has these versions", str(found))
            return -1
        return self._published.index(found)

    def _wrong(self, client: AptClient, what: str, said: str) -> None:
        self.outcome.wrong.append(f"{client.release} at {time.strftime('%X')}: {what}\n{said}")
