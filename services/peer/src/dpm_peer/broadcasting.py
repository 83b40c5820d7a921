"""What a node says in a room, through outages and rate limits: its last advert, and its deltas in order."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from http.client import TOO_MANY_REQUESTS

from dpm_core.canonical import Content
from dpm_core.errors import Unavailable
from dpm_core.ports import Clock
from dpm_peer.pacing import SLOWEST_SECONDS, Pace
from dpm_peer.room import Room, check_content

MOST_DELTAS = 64
"""That wait to be sent: 3 MiB. A new inventory says more in less."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Before what could not be sent is sent again: doubled each time."""

log = logging.getLogger(__name__)


class Broadcasting:
    """Sends what it is given, for as long as it :meth:`run`.

    A waiting advert goes before waiting deltas, and takes the place of one that waits. What was not acknowledged
    is sent again, and a delta under the same name, so that others hear it once.
    """

    def __init__(self, room: Room, clock: Clock, *, pace: float = SLOWEST_SECONDS) -> None:
        self._room = room
        self._clock = clock
        self._advert: Content | None = None
        self._deltas: deque[tuple[str, Content]] = deque()
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pace = Pace(pace)

    def advertise(self, content: Content) -> None:
        """Say ``content`` as soon as can be. Raises Invalid for one that no room takes."""
        self._advert = check_content(content)
        self._wake()

    def tell(self, content: Content, name: str) -> bool:
        """Say the delta ``content`` after those before it; ``name`` is its own in this room. Raises Invalid.

        False if too many wait: then all that wait are dropped, this one too, and only an advert with a new
        inventory tells the others what they missed.
        """
        check_content(content)
        if len(self._deltas) >= MOST_DELTAS:
            log.warning(
                "%d changes could not be told to the room: an inventory must say it", len(self._deltas) + 1
            )
            self._deltas.clear()
            return False
        self._deltas.append((name, content))
        self._wake()
        return True

    async def idle(self) -> None:
        """Wait until nothing waits: who gathers changes until then says more in one delta."""
        await self._idle.wait()

    async def run(self) -> None:
        """For ever. Raises NotAllowed once the homeserver lets the account say nothing more in the room."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._something.wait()
            while wait := self._pace.wait(self._clock.now()):
                await self._clock.sleep(wait)
            limited = self._room.limited
            try:
                await self._say_next()
                self._pace.said(limited=self._room.limited > limited)
            except Unavailable as why:
                if why.lasting:
                    raise
                self._pace.said(limited=why.status == TOO_MANY_REQUESTS)
                await self._clock.sleep(max(pause, why.retry_after or 0.0))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
            if self._advert is None and not self._deltas:
                self._something.clear()
                self._idle.set()

    async def _say_next(self) -> None:
        if (advert := self._advert) is not None:
            await self._room.advertise(advert)
            if self._advert is advert:
                self._advert = None
        elif self._deltas:
            name, content = first = self._deltas[0]
            await self._room.tell(content, name)
            with suppress(ValueError):  # dropped meanwhile, with all that waited
                self._deltas.remove(first)

    def _wake(self) -> None:
        self._idle.clear()
        self._something.set()
