"""Removes the files of blobs that no artifact has any more: evicted ones, and pages that newer ones replaced."""

import asyncio
import logging

from dpm_core.artifacts import Topic
from dpm_core.errors import Unavailable
from dpm_core.events import FetchStarted
from dpm_core.ports import Custody, Leftover, Tap
from dpm_core.sidecars import Sidecar
from dpm_core.taps import REMOVED, Removed
from dpm_fetcher.care import Care

GRACE_SECONDS = 10.0
"""A file stays so long after nobody finds it in the catalog any more, for readers that have looked already."""

TOLD_AT_ONCE = 1_000

log = logging.getLogger(__name__)


class Collector:
    """Removes leftovers. A reader that has opened one finishes; one that comes later finds a miss."""

    def __init__(self, care: Care, custody: Custody, tap: Tap) -> None:
        self._care = care
        self._custody = custody
        self._tap = tap

    async def collect(self) -> list[Leftover]:
        """Remove what is ripe; returns what went. Raises Unavailable if the log or the disk cannot be read."""
        now = self._care.clock.now()
        gone: list[Leftover] = []
        for leftover in await asyncio.to_thread(self._care.leftovers.leftovers):
            if now - leftover.since >= GRACE_SECONDS and await self._remove(leftover):
                gone.append(leftover)
        for start in range(0, len(gone), TOLD_AT_ONCE):
            part = gone[start : start + TOLD_AT_ONCE]
            await self._tap.tell(REMOVED, Removed(tuple(each.cid for each in part)))
        if gone:
            log.info("removed blobs", extra={"blobs": len(gone), "bytes": sum(each.size for each in gone)})
        return gone

    async def _remove(self, leftover: Leftover) -> bool:
        cid = leftover.cid
        sidecar = self._custody.sidecar(cid)
        if sidecar is not None and await self._may_come_back(sidecar):
            return False

        def stays(now: Sidecar | None) -> bool:
            return now != sidecar or self._care.leftovers.named(cid)

        if not await self._custody.remove(cid, unless=stays):
            return False
        await asyncio.to_thread(self._care.leftovers.forget, cid)
        return True

    async def _may_come_back(self, sidecar: Sidecar) -> bool:
        """Whether an artifact was stored with these bytes whose event is still to come, or to be folded."""
        for artifact_id, kept in sidecar.artifacts.items():
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
