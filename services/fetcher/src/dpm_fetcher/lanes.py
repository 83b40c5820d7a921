"""Who may transfer when: lanes of their own for pages and blobs, and a limit for each upstream host."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakValueDictionary

from dpm_core.artifacts import Lane, Want, authority
from dpm_core.errors import Unavailable
from dpm_runtime.meters import Kind, observed

QUEUE_SECONDS = 20.0
"""A transfer waits so long for its turn."""

QUEUE_ENTRIES = 1_000
"""So many may wait in one lane."""

_LANE = ", ".join(f"`{lane}`" for lane in Lane)
_queues = observed("dpm.fetcher.queue", Kind.GAUGE, "{transfer}", "transfers that wait for their turn", lane=_LANE)
_at_work = observed("dpm.fetcher.transfers", Kind.GAUGE, "{transfer}", "transfers under way", lane=_LANE)


class Lanes:
    """Slots for transfers, given first come, first served: ``sizes`` at once in each lane, ``per_host`` a host.

    A flood of layers never holds up an index: it fills the blob lane, and only the host's share of blobs.
    """

    def __init__(self, sizes: Mapping[Lane, int], per_host: int, *, patience: float = QUEUE_SECONDS) -> None:
        self._lanes = {lane: asyncio.Semaphore(size) for lane, size in sizes.items()}
        self._per_host = per_host
        # a host is forgotten with the last transfer that has to do with it
        self._hosts: WeakValueDictionary[tuple[Lane, str], asyncio.Semaphore] = WeakValueDictionary()
        self._waiting = dict.fromkeys(sizes, 0)
        self._busy = dict.fromkeys(sizes, 0)
        self._patience = patience

    @asynccontextmanager
    async def slot(self, want: Want) -> AsyncIterator[None]:
        """Hold a slot for ``want``. Raises Unavailable if the lane's queue is too long, or does not move."""
        lane = self._lanes[want.lane]
        host = self._hosts.setdefault((want.lane, authority(want.url)), asyncio.Semaphore(self._per_host))
        if self._waiting[want.lane] >= QUEUE_ENTRIES:
            raise Unavailable(f"{QUEUE_ENTRIES} fetches wait in the {want.lane} lane", retry_after=5.0)
        self._waiting[want.lane] += 1
        try:
            async with asyncio.timeout(self._patience):
                await host.acquire()
                try:
                    await lane.acquire()
                except BaseException:
                    host.release()
                    raise
        except TimeoutError:
            raise Unavailable(
                f"no turn in the {want.lane} lane within {self._patience:.0f} s", retry_after=5.0
            ) from None
        finally:
            self._waiting[want.lane] -= 1
        self._busy[want.lane] += 1
        try:
            yield
        finally:
            self._busy[want.lane] -= 1
            lane.release()
            host.release()

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Show how full they are, for as long as the context lasts."""
        with _queues.by(lambda: _by_lane(self._waiting)), _at_work.by(lambda: _by_lane(self._busy)):
            yield


def _by_lane(counts: Mapping[Lane, int]) -> list[tuple[float, Mapping[str, str]]]:
    return [(count, {"lane": lane.value}) for lane, count in counts.items()]
