"""Blobs about which the disk was found to lie: told to the fetcher that keeps the store."""

import asyncio

from dpm_core.cids import Cid
from dpm_core.ports import Tap
from dpm_core.taps import MISREAD, Mismatch


class Doubts:
    """Tells in the background; what cannot be told is found again by the next reader."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._telling: set[asyncio.Task[None]] = set()

    def about(self, cid: Cid) -> None:
        """The bytes of a blob are not what its name says."""
        task = asyncio.get_running_loop().create_task(self._tap.tell(MISREAD, Mismatch(cid, 0)))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Wait until all is told."""
        await asyncio.gather(*self._telling)
