"""Last uses: gateways tell what they have served, and the catalog's writer notes it."""

import asyncio

from dpm_core.errors import Invalid
from dpm_core.ports import Clock, Tap, Uses
from dpm_core.registry import from_json
from dpm_core.taps import USED, Used


async def note(tap: Tap, uses: Uses, clock: Clock) -> None:
    """Note what all gateways tell, for ever. What is malformed is passed over; nothing is used in the future.

    Raises Unavailable if it cannot be written down.
    """
    async for message in tap.listen(USED):
        try:
            used = from_json(message, Used)
        except Invalid:
            continue
        now = clock.now()
        await asyncio.to_thread(uses.use, {each: min(at, now) for each, at in used.artifacts.items()})
