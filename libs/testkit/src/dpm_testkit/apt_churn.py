"""Clients use a repository while it is published again and again: nobody may ever see two generations mixed."""

import asyncio
import math
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from dpm_testkit.apt_client import HASH_SUM_MISMATCH, AptClient
from dpm_testkit.apt_repository import AptlyRepository
from dpm_testkit.debs import Deb
from dpm_testkit.ftp_archive import ArchiveRepository
from dpm_testkit.patience import PATIENCE
from dpm_testkit.publication import Order

PACKAGES = 12
"""How many a repository has."""

_ENTRY = re.compile(r"^Package: (\S+)$.*?^Version: (\S+)$", re.MULTILINE | re.DOTALL)


@dataclass
class Outcome:
    """What a crowd has seen: counts, and in ``wrong`` what must not be."""

    publications: int = 0
    updates: int = 0
    generations: int = 0
    installs: int = 0
    wrong: list[str] = field(default_factory=list)


class Churn:
    """A repository and those who use it, in whatever way they do."""

    def __init__(
        self,
        repository: AptlyRepository | ArchiveRepository,
        clients: Sequence[AptClient],
        *,
        seed: int = 1,
        pause: float = 0.02,
    ) -> None:
        """``pause``: seconds between two files at most."""
        self._repository, self._clients = repository, clients
        self._random, self._longest_pause = random.Random(seed), pause
        self._versions = dict.fromkeys((f"p{number}" for number in range(PACKAGES)), 0)
        self._published: list[dict[str, str]] = []
        self._over = False
        self.outcome = Outcome()

    async def begin(self) -> None:
        """Publish the first generation, which all clients then have."""
        await self._publish(Order.AT_ONCE, set(self._versions))
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
            said = await client.update(fails=None)
            self._judge(client, said)
            seen = self._generation(client)
            self.outcome.updates += 1
            self.outcome.generations += seen > latest
            if seen < latest:
                self._wrong(client, f"generation {seen} after {latest}", said)
            latest = max(latest, seen)
            said = await client.apt_get(*(["install", *self._versions] if first else ["dist-upgrade"]), fails=None)
            self._judge(client, said)
            if seen >= 0 and await client.installed() != self._published[seen]:
                self._wrong(client, f"what is installed is not generation {seen}", said)
            self.outcome.installs += 1
            first = False
            if self._over and seen == len(self._published) - 1:
                return
        self._wrong(client, f"the last generation is never seen, only {latest}", "")

    def _generation(self, client: AptClient) -> int:
        """The number of the generation that a client has the index of; -1 and wrong if it is none."""
        entries = [_ENTRY.findall(body.decode()) for name, body in client.lists().items() if "_Packages" in name]
        found = dict(entry for each in entries for entry in each)
        if found not in self._published:
            self._wrong(client, "no generation has these versions", str(found))
            return -1
        return self._published.index(found)

    def _judge(self, client: AptClient, said: str) -> None:
        bad = (HASH_SUM_MISMATCH, "unexpected size", "\nE: ", "\nW: ", "\nErr:")
        if any(each in f"\n{said}" for each in bad):
            self._wrong(client, "apt is not content", said)

    def _wrong(self, client: AptClient, what: str, said: str) -> None:
        self.outcome.wrong.append(f"{client.release}: {what}\n{said}")
