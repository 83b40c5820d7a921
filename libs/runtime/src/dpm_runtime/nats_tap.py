"""Taps over core NATS: unstored, lost when nobody listens."""

import asyncio
import logging
from collections.abc import AsyncGenerator

from dpm_core.errors import Unavailable
from dpm_core.registry import to_json
from dpm_core.subjects import tap_subject
from dpm_runtime.nats_link import Link
from dpm_runtime.nats_log import PAUSE
from dpm_runtime.nats_reading import subscribed

log = logging.getLogger("dpm.bus")


class NatsTap:
    """Tap over a link that may be down: what is told then is lost, listeners wait."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def tell(self, name: str, message: object) -> None:
        """See Tap."""
        try:
            await self._link.publish(tap_subject(name), to_json(message))
        except Unavailable as error:
            log.debug("tap %s is lost: %s", name, error)

    async def listen(self, name: str) -> AsyncGenerator[bytes, None]:
        """See Tap."""
        while True:
            connection = await self._link.up()
            try:
                async with subscribed(connection, tap_subject(name)) as queue:
                    while (message := await queue.get()) is not None:
                        yield message.data
            except Unavailable as error:
                log.info("listening to %s starts again: %s", name, error)
            await asyncio.sleep(PAUSE)
