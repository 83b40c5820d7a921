"""The peers of all networks of the node, as its log knows them, and the one place where that log is told of them.

The bus may be away: what is recorded meanwhile counts at once, and is told once it is back.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from dpm_core.artifacts import Topic
from dpm_core.decisions import Recorded
from dpm_core.errors import Unavailable
from dpm_core.events import Event, PeerEvent
from dpm_core.peers import Peers
from dpm_core.ports import Clock

RETRY_SECONDS = 1.0
"""Between two tries to reach the log."""

LONGEST = 10_000
"""So many events wait for a log that is away; the oldest of more are never told."""

log = logging.getLogger(__name__)


class PeerLog(Protocol):
    """What is needed of the log."""

    async def append(self, topic: Topic, event: Event) -> int:
        """See :class:`dpm_core.ports.EventLog`. Raises Unavailable."""

    async def past(self, kind: str) -> list[Recorded]:
        """Every event of topics of ``kind`` that the log has now, in order.

        Raises Unavailable, and ReaderTooOld at an event that only a newer reader understands.
        """


class Register:
    """The node's fold of peer-* events; nobody else of the node records any."""

    def __init__(self, events: PeerLog, clock: Clock) -> None:
        self.loaded = asyncio.Event()
        """Set once the past is known; until then only what was recorded here is."""
        self._events = events
        self._clock = clock
        self._peers = Peers()
        self._untold: deque[Recorded] = deque(maxlen=LONGEST)
        self._told = asyncio.Event()

    @property
    def peers(self) -> Peers:
        """All that is known. Not to be kept: it is another object once the past is known."""
        return self._peers

    def record(self, events: Iterable[PeerEvent]) -> None:
        """Take these for true, and tell the log of them, in order, as soon as it can be."""
        recorded = [Recorded(0, self._clock.now(), event, "") for event in events]
        self._peers.apply(recorded)
        self._untold.extend(recorded)
        if recorded:
            self._told.set()

    async def kept(self) -> None:
        """Learn the past, and tell the log what is recorded, for ever. Raises ReaderTooOld."""
        while True:
            try:
                past = await self._events.past("peer")
                break
            except Unavailable as error:
                log.debug("the past of peers is not known yet: %s", error)
                await self._clock.sleep(RETRY_SECONDS)
        peers = Peers()
        peers.apply([*past, *self._untold])
        self._peers = peers
        self.loaded.set()
        while True:
            self._told.clear()
            while self._untold:
                await self._tell(self._untold[0])
            await self._told.wait()

    async def _tell(self, recorded: Recorded) -> None:
        event = recorded.event
        assert isinstance(event, PeerEvent)
        try:
            await self._events.append(Topic("peer", event.peer), event)
        except Unavailable as error:
            log.info("peers are recorded later", extra={"why": error.what})
            await self._clock.sleep(RETRY_SECONDS)
            return
        if self._untold and self._untold[0] is recorded:
            self._untold.popleft()
