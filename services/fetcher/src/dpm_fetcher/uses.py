"""Last uses: gateways tell what they have served, and the catalog's writer notes it."""

import asyncio
import logging

from dpm_core.errors import DiskFails, Invalid
from dpm_core.ports import Clock, Tap, Uses
from dpm_core.registry import from_json
from dpm_core.taps import USED, Used

log = logging.getLogger(__name__)


async def note(tap: Tap, uses: Uses, clock: Clock) -> None:
    """Note what all gateways tell, for ever. What is malformed is passed over; nothing is used in the future.

    What a full disk does not take is lost. Raises Unavailable if it cannot be written down otherwise.
    """
    async for message in tap.listen(USED):
        try:
            used = from_json(message, Used)
        except Invalid:
            continue
        now = clock.now()
        try:
            await asyncio.to_thread(uses.use, {each: min(at, now) for each, at in used.artifacts.items()})
        except DiskFails as error:
            log.warning("last uses are lost", extra={"artifacts": len(used.artifacts), "why": error.what})
