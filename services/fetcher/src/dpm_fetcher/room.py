"""Makes room: what was used longest ago is evicted while too much is held, or the disk runs full."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from dpm_core.artifacts import ArtifactRef
from dpm_core.cids import Cid
from dpm_core.errors import Conflict, Unavailable
from dpm_core.events import ArtifactEvicted
from dpm_core.eviction import Evict, Quota, Stay, choose, decide_eviction, excess
from dpm_core.ports import Holding
from dpm_fetcher.care import Care
from dpm_runtime.disk import Space
from dpm_runtime.meters import counter

FOR_ROOM = "to make room"
"""The reason of an eviction that nobody asked for."""

AT_ONCE = 16
"""Blobs that are evicted at the same time: each costs a read and an append of the log."""

log = logging.getLogger(__name__)
_evicted = counter("dpm.store.evicted", "By", "bytes of blobs that were evicted")


class Room:
    """Evicts by last use. ``quota`` is asked anew each time, since ``space``, the store's disk, may have grown."""

    def __init__(self, care: Care, quota: Callable[[Space], Quota], space: Callable[[], Space]) -> None:
        self._care = care
        self._quota = quota
        self._space = space
        self._looked_at = -1
        self._full = False

    async def look(self) -> list[Holding]:
        """Make room if there is need; returns what was evicted. Raises Unavailable."""
        position = self._care.catalog.position()
        space = self._space()
        quota = self._quota(space)
        if position == self._looked_at and space.free >= quota.reserve:
            return []
        need = await asyncio.to_thread(self.need)
        gone = await self.evict(need, FOR_ROOM) if need else []
        freed = sum(each.size for each in gone)
        if freed < need and not self._full:
            log.warning("the store is too full, and no more of it may go", extra={"need": need - freed})
        self._full = freed < need
        self._looked_at = -1 if self._full else position
        return gone

    def need(self) -> int:
        """Bytes that must go. What is left over goes anyway, and counts as free. Blocking; raises Unavailable."""
        space = self._space()
        going = sum(each.size for each in self._care.leftovers.leftovers())
        return excess(self._care.catalog.totals().bytes, space.free + going, self._quota(space))

    def candidates(self, need: int, passed_over: Iterable[Cid] = ()) -> list[Holding]:
        """What would go so that ``need`` bytes are free. Blocking; raises Unavailable."""
        passed = frozenset(passed_over)
        return choose((each for each in self._care.uses.holdings() if each.cid not in passed), need)

    async def evict(self, need: int, reason: str) -> list[Holding]:
        """Evict blobs of ``need`` bytes together, or as many as may go; returns them. Raises Unavailable."""
        seen: set[Cid] = set()
        gone: list[Holding] = []
        while need > 0 and (chosen := await asyncio.to_thread(self.candidates, need, seen)):
            for start in range(0, len(chosen), AT_ONCE):
                part = chosen[start : start + AT_ONCE]
                done = await asyncio.gather(*(self.evict_blob(each, reason) for each in part))
                went = [each for each, well in zip(part, done, strict=True) if well]
                need -= sum(each.size for each in went)
                gone += went
            seen |= {each.cid for each in chosen}
        return gone

    async def evict_blob(self, holding: Holding, reason: str) -> bool:
        """Evict all artifacts that have a blob; False if one of them must stay. Raises Unavailable."""
        decided: list[tuple[ArtifactRef, int]] = []
        for artifact_id in holding.artifacts:
            standing = await self._care.standing(artifact_id)
            match decide_eviction(holding.cid, standing, self._care.clock.now()):
                case Stay(why=why):
                    log.info("not evicted", extra={"artifact": artifact_id, "why": why})
                    return False
                case Evict(after=after):
                    assert standing.entry is not None
                    decided.append((standing.entry.ref, after))
        for ref, after in decided:
            try:
                await self._care.events.append(ref.topic, ArtifactEvicted(ref, holding.cid, reason), after=after)
            except Conflict:
                return False
        _evicted.add(holding.size)
        return True


async def keep(room: Room, seconds: float) -> None:
    """Make room every so many seconds, for ever; with the bus away, later."""
    while True:
        try:
            for gone in await room.look():
                log.info("evicted", extra={"cid": gone.cid, "bytes": gone.size, "used_at": gone.used_at})
        except (Unavailable, OSError) as error:
            log.warning("no room can be made now", extra={"why": str(error)})
        await asyncio.sleep(seconds)
