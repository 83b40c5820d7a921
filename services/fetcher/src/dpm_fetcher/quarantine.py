"""Sets blobs aside whose bytes on disk are no longer what their name says, and tells the log."""

import logging

from dpm_core.artifacts import Topic
from dpm_core.cids import Cid
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import BlobQuarantined
from dpm_core.ports import Clock, Custody, EventLog, Tap
from dpm_core.registry import from_json
from dpm_core.taps import REMOVED, Mismatch, Removed
from dpm_runtime.meters import counter

RETRY_SECONDS = 1.0
"""Between two tries to record what was set aside while the bus is away."""

log = logging.getLogger(__name__)
_quarantined = counter("dpm.store.quarantined", "{blob}", "blobs that were set aside because the disk lied")


class Quarantine:
    """Looks at blobs that somebody doubts."""

    def __init__(self, custody: Custody, events: EventLog, tap: Tap, clock: Clock) -> None:
        self._custody = custody
        self._events = events
        self._tap = tap
        self._clock = clock

    async def examine(self, cid: Cid) -> str | None:
        """Hash a blob, and set it aside if it is wrong; returns what was wrong. Raises Unavailable."""
        if await self._custody.check(cid) is None:
            return None
        why = await self._custody.quarantine(cid)
        if why is not None:
            log.error("a blob was set aside", extra={"cid": cid, "why": why})
            _quarantined.add(1)
            await self._tap.tell(REMOVED, Removed((cid,)))
            await self.record(cid, why)
        return why

    async def record(self, cid: Cid, why: str) -> None:
        """Tell the log that a blob is gone, once the bus is there. Until then it is an entry without a file."""
        while True:
            try:
                await self._events.append(Topic("blob", cid), BlobQuarantined(cid, why))
                return
            except Unavailable as error:
                log.warning("will be recorded later", extra={"cid": cid, "why": error.what})
                await self._clock.sleep(RETRY_SECONDS)

    async def listen(self, name: str) -> None:
        """Examine every blob that is told under the tap ``name``, for ever, one after the other."""
        async for message in self._tap.listen(name):
            try:
                await self.examine(Cid(from_json(message, Mismatch).cid))
            except Invalid:
                continue
            except Unavailable as error:
                log.warning("a blob could not be examined", extra={"why": error.what})
