"""``dpm store check``: every blob is hashed, and what the catalog has is looked for on the disk."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dpm_core.cids import Cid
from dpm_core.commands import Bad, Check, Checked
from dpm_core.ports import Leftovers
from dpm_fetcher.commands import Say
from dpm_fetcher.quarantine import Quarantine

LOST = "its file is gone"
"""What is said of a blob that the catalog has and the disk has not."""

SAY_EVERY = 1_000
"""Blobs between two words about how far it is."""


@dataclass(frozen=True)
class Checker:
    """Checks all blobs. ``on_disk`` gives those that have a file, ``held`` those that the catalog has."""

    quarantine: Quarantine
    leftovers: Leftovers
    on_disk: Callable[[], Iterable[Cid]]
    held: Callable[[], Iterable[Cid]]

    async def check(self, command: Check, say: Say) -> Checked:
        """Hash everything. Raises Unavailable if the disk cannot be read."""
        # the catalog first: what is stored meanwhile has a file before it has an entry
        held = await asyncio.to_thread(lambda: set(self.held()))
        files = await asyncio.to_thread(lambda: sorted(self.on_disk()))
        bad: list[Bad] = []
        for count, cid in enumerate(files, start=1):
            why = await self.quarantine.examine(cid)
            if why is not None:
                say(f"{cid}: {why}")
                bad.append(Bad(cid, why))
            if count % SAY_EVERY == 0:
                say(f"{count} of {len(files)} blobs")
        lost = [
            cid for cid in sorted(held.difference(files)) if await asyncio.to_thread(self.leftovers.named, cid)
        ]
        for cid in lost:
            say(f"{cid}: {LOST}")
            await self.quarantine.record(cid, LOST)
        return Checked(len(files), tuple(bad), tuple(lost), len(set(files) - held))
