"""Removes the files of blobs that no artifact has any more: evicted ones, and pages that newer ones replaced.

Whoever gives them to other nodes is told first: to promise what is gone would have those wait in vain.
"""

import asyncio
import logging
from collections.abc import Sequence

from dpm_core.artifacts import Topic
from dpm_core.cids import Cid
from dpm_core.errors import Unavailable
from dpm_core.events import FetchStarted
from dpm_core.ports import Custody, Leftover, References, Tap
from dpm_core.sidecars import Sidecar
from dpm_core.taps import REMOVED, Removed
from dpm_fetcher.care import Care

GRACE_SECONDS = 10.0
"""A file stays so long after nobody finds it in the catalog any more, for readers that have looked already."""

REFERENCE_SECONDS = 60.0
"""So much longer it stays while those who refer to it cannot be asked; then it goes all the same."""

TOLD_AT_ONCE = 1_000

log = logging.getLogger(__name__)


class NoReferences:
    """Port References where nobody refers to anything."""

    async def drop(self, cids: Sequence[Cid]) -> None:
        """See :class:`dpm_core.ports.References`."""


class Collector:
    """Removes leftovers. A reader that has opened one finishes; one that comes later finds a miss."""

    def __init__(self, care: Care, custody: Custody, tap: Tap, references: References | None = None) -> None:
        self._care = care
        self._custody = custody
        self._tap = tap
        self._references: References = references or NoReferences()

    async def collect(self) -> list[Leftover]:
        """Remove what is ripe; returns what went. Raises Unavailable if the log or the disk cannot be read."""
        now = self._care.clock.now()
        found = await asyncio.to_thread(self._care.leftovers.leftovers)
        ripe = [each for each in found if now - each.since >= GRACE_SECONDS]
        gone: list[Leftover] = []
        for start in range(0, len(ripe), TOLD_AT_ONCE):
            gone += await self._remove_all(ripe[start : start + TOLD_AT_ONCE], now)
        for start in range(0, len(gone), TOLD_AT_ONCE):
            part = gone[start : start + TOLD_AT_ONCE]
            await self._tap.tell(REMOVED, Removed(tuple(each.cid for each in part)))
        if gone:
            log.info("removed blobs", extra={"blobs": len(gone), "bytes": sum(each.size for each in gone)})
        return gone

    async def _remove_all(self, ripe: Sequence[Leftover], now: float) -> list[Leftover]:
        """Remove those that nobody is about to have again; returns what went."""
        going = [
            (each, sidecar)
            for each in ripe
            if not await self._may_come_back(sidecar := self._custody.sidecar(each.cid))
        ]
        dropped = await self._dropped([each.cid for each, _ in going])
        longest = GRACE_SECONDS + REFERENCE_SECONDS
        return [
            each
            for each, sidecar in going
            if (dropped or now - each.since >= longest) and await self._remove(each, sidecar)
        ]

    async def _dropped(self, cids: Sequence[Cid]) -> bool:
        try:
            if cids:
                await self._references.drop(cids)
        except Unavailable as error:
            log.warning("others may still be promised blobs that go", extra={"why": error.what})
            return False
        return True

    async def _remove(self, leftover: Leftover, sidecar: Sidecar | None) -> bool:
        cid = leftover.cid

        def stays(now: Sidecar | None) -> bool:
            return now != sidecar or self._care.leftovers.named(cid)

        if not await self._custody.remove(cid, unless=stays):
            return False
        await asyncio.to_thread(self._care.leftovers.forget, cid)
        return True

    async def _may_come_back(self, sidecar: Sidecar | None) -> bool:
        """Whether an artifact was stored with these bytes whose event is still to come, or to be folded."""
        for artifact_id, kept in sidecar.artifacts.items() if sidecar else ():
            topic: Topic = kept.ref.topic
            last = await self._care.events.last(topic)
            if last is None:
                continue
            if last.sequence > self._care.catalog.position():
                return True
            if isinstance(last.event, FetchStarted):
                attempt = self._care.intake.view(artifact_id, last.sequence)
                if attempt is not None and attempt.locked:
                    return True
        return False


async def keep(collector: Collector, seconds: float) -> None:
    """Collect every so many seconds, for ever; with the bus or the disk away, later."""
    while True:
        try:
            await collector.collect()
        except Unavailable as error:
            log.info("leftovers stay for now", extra={"why": error.what})
        await asyncio.sleep(seconds)
