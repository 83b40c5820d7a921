"""``dpm repair``: the log is told of what lies in the store and is not in it, as after it was lost whole."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from dpm_core.cids import Cid
from dpm_core.commands import Bad, Repair, Repaired, Selection
from dpm_core.errors import Conflict
from dpm_core.eviction import Stay
from dpm_core.ports import Custody
from dpm_core.seeding import Gone, Known, Seed, decide_seeding
from dpm_core.sidecars import Kept, Sidecar
from dpm_fetcher.care import Care
from dpm_fetcher.commands import Say
from dpm_fetcher.operator import Operator
from dpm_runtime.lost_log import FormerCatalog

AT_ONCE = 64
"""Blobs that are looked at at the same time: each costs reads and appends of the log."""

SAY_EVERY = 1_000
"""Blobs between two words about how far it is."""

PATIENCE_SECONDS = 30.0
"""For an artifact that is being fetched."""

LOOK_SECONDS = 0.1

UNKNOWN = "nothing that can be read lies beside it"
"""What is said of a blob without a sidecar: its bytes are right, and nobody knows whose they are."""


@dataclass
class _Tally:
    told: int = 0
    known: int = 0
    evicted: int = 0
    busy: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    appended: int = 0


class Reseeder:
    """Tells the log what it has lost or missed. What it has told already is passed over: it may be done again."""

    def __init__(
        self,
        care: Care,
        custody: Custody,
        on_disk: Callable[[], Iterable[Cid]],
        operator: Operator,
        former: FormerCatalog,
    ) -> None:
        """``on_disk`` gives every blob that has a file."""
        self._care = care
        self._custody = custody
        self._on_disk = on_disk
        self._operator = operator
        self._former = former

    async def repair(self, command: Repair, say: Say) -> Repaired:
        """Look at every blob; returns once the catalog knows what was told. Raises Unavailable."""
        files = await asyncio.to_thread(lambda: sorted(self._on_disk()))
        tally = _Tally()
        said = 0
        for start in range(0, len(files), AT_ONCE):
            part = files[start : start + AT_ONCE]
            await asyncio.gather(*(self._blob(cid, tally) for cid in part))
            done = start + len(part)
            if done // SAY_EVERY > said:
                said = done // SAY_EVERY
                say(f"{done} of {len(files)} blobs")
        for each in tally.bad:
            say(f"{each.cid}: {each.why}")
        await self._care.folded(tally.appended)
        pinned = await self._remember(say)
        busy, bad = tuple(sorted(tally.busy)), tuple(tally.bad)
        return Repaired(len(files), tally.told, tally.known, tally.evicted, pinned, busy, bad)

    async def _remember(self, say: Say) -> int:
        """Pin what was pinned, note when things were last used; returns how many were pinned."""
        former = await asyncio.to_thread(self._former.read)
        if not former:
            return 0
        await asyncio.to_thread(self._care.uses.use, former.used)
        entries = [entry for each in former.pinned if (entry := self._care.catalog.find(each))]
        unpinned = tuple(entry.ref.id for entry in entries if not entry.pinned)
        done = (await self._operator.pin(Selection(unpinned), say)).done if unpinned else ()
        await asyncio.to_thread(self._former.forget)
        return len(done)

    async def _blob(self, cid: Cid, tally: _Tally) -> None:
        sidecar = await asyncio.to_thread(self._custody.sidecar, cid)
        if sidecar is None or sidecar.blob.cid != cid:
            tally.bad.append(Bad(cid, UNKNOWN))
            return
        for artifact_id, kept in sidecar.artifacts.items():
            if artifact_id == kept.ref.id:
                await self._artifact(sidecar, kept, tally)

    async def _artifact(self, sidecar: Sidecar, kept: Kept, tally: _Tally) -> None:
        deadline = self._care.clock.now() + PATIENCE_SECONDS
        while True:
            standing = await self._care.standing_of(kept.ref)
            match decide_seeding(sidecar.blob.cid, kept, standing, self._care.clock.now()):
                case Known():
                    tally.known += 1
                    return
                case Gone():
                    tally.evicted += 1
                    return
                case Stay():
                    if self._care.clock.now() >= deadline:
                        tally.busy.append(kept.name)
                        return
                    await self._care.clock.sleep(LOOK_SECONDS)
                case Seed(after=after):
                    with suppress(Conflict):
                        event = kept.stored(sidecar.blob)
                        sequence = await self._care.events.append(kept.ref.topic, event, after=after)
                        tally.told += 1
                        tally.appended = max(tally.appended, sequence)
                        return
