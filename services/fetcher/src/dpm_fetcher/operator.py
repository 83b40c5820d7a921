"""What an operator may have done to the store: pin, unpin, evict, collect. Each change is an event."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from dpm_core.artifacts import ArtifactRef
from dpm_core.cids import Cid
from dpm_core.commands import Changed, Collect, Collected, Item, Passed, Selection
from dpm_core.errors import Conflict, Unavailable
from dpm_core.events import ArtifactEvicted, ArtifactPinned, ArtifactUnpinned, Event
from dpm_core.eviction import (
    Evict,
    EvictionDecision,
    Pin,
    PinDecision,
    Standing,
    Stay,
    decide_eviction,
    decide_pin,
)
from dpm_core.ports import Entry, Holding, Leftover
from dpm_fetcher.care import Care
from dpm_fetcher.collector import GRACE_SECONDS, Collector
from dpm_fetcher.room import FOR_ROOM, Room
from dpm_runtime.catalog_listing import Listing

ASKED_FOR = "asked for by an operator"
"""The reason of an eviction that somebody asked for."""

PATIENCE_SECONDS = 30.0
"""For an artifact that is being fetched, and for files to go."""

LOOK_SECONDS = 0.1

Say: TypeAlias = Callable[[str], None]
Decide: TypeAlias = Callable[[Item, Standing], EvictionDecision | PinDecision]
Tell: TypeAlias = Callable[[Item, Entry], Event]


class Operator:
    """Carries commands out, one artifact after the other. All methods raise Unavailable without bus or disk."""

    def __init__(self, care: Care, listing: Listing, room: Room, collector: Collector) -> None:
        self._care = care
        self._listing = listing
        self._room = room
        self._collector = collector

    async def pin(self, selection: Selection, say: Say) -> Changed:
        """Keep artifacts whatever the store's size."""
        return await self._pin(selection, True, ArtifactPinned)

    async def unpin(self, selection: Selection, say: Say) -> Changed:
        """Let artifacts be evicted again."""
        return await self._pin(selection, False, ArtifactUnpinned)

    async def _pin(self, selection: Selection, pinned: bool, event: Callable[[ArtifactRef], Event]) -> Changed:
        def decide(item: Item, standing: Standing) -> PinDecision:
            return decide_pin(pinned, standing, self._care.clock.now())

        return await self._each(selection, decide, lambda item, entry: event(entry.ref))

    async def evict(self, selection: Selection, say: Say) -> Changed:
        """Evict artifacts; the file goes some seconds later, unless others have the same bytes."""

        def decide(item: Item, standing: Standing) -> EvictionDecision:
            return decide_eviction(item.cid, standing, self._care.clock.now())

        return await self._each(
            selection, decide, lambda item, entry: ArtifactEvicted(entry.ref, item.cid, ASKED_FOR)
        )

    async def collect(self, command: Collect, say: Say) -> Collected:
        """Make room, and remove what nobody has any more; returns once the files are gone."""
        need, reason = await asyncio.to_thread(self._room.need), FOR_ROOM
        if command.down_to is not None:
            held = await asyncio.to_thread(self._care.catalog.totals)
            need, reason = max(0, held.bytes - command.down_to), ASKED_FOR
        holdings = await asyncio.to_thread(self._room.candidates, need)
        items = await self._items(holdings)
        if command.dry_run:
            return _collected(items, holdings, await asyncio.to_thread(self._care.leftovers.leftovers))
        holdings = await self._room.evict(need, reason)
        going = {each.cid for each in holdings}
        if holdings:
            say(f"evicted {len(holdings)} blobs; their files go in {GRACE_SECONDS:.0f} s")
        removed = await self._gone(going)
        return _collected([item for item in items if item.cid in going], holdings, removed)

    async def _items(self, holdings: Sequence[Holding]) -> list[Item]:
        ids = [each for holding in holdings for each in holding.artifacts]
        return await asyncio.to_thread(lambda: list(self._listing.with_ids(ids)))

    async def _gone(self, going: set[Cid]) -> list[Leftover]:
        """What was removed, once none of ``going`` is left over any more."""
        removed: list[Leftover] = []
        deadline = self._care.clock.now() + GRACE_SECONDS + PATIENCE_SECONDS
        while self._care.clock.now() < deadline:
            removed += await self._collector.collect()
            # in this order: what is no longer named is left over, since when the eviction was folded
            named = {cid for cid in going if await asyncio.to_thread(self._care.leftovers.named, cid)}
            left = {each.cid for each in await asyncio.to_thread(self._care.leftovers.leftovers)}
            if not going & (left | named):
                break
            await self._care.clock.sleep(LOOK_SECONDS)
        return removed

    async def _each(self, selection: Selection, decide: Decide, tell: Tell) -> Changed:
        """Append what ``tell`` says of each selected artifact, if ``decide`` allows it."""
        items = await asyncio.to_thread(self._listing.select, selection)
        if not items:
            raise Unavailable(f"nothing that is held is called {' or '.join(selection.names)}")
        done: list[Item] = []
        passed: list[Passed] = []
        appended = 0
        for item in items:
            answer = await self._append(item, decide, tell)
            if isinstance(answer, Stay):
                passed.append(Passed(item, answer.why))
            else:
                done.append(item)
                appended = max(appended, answer)
        await self._care.folded(appended)
        return Changed(tuple(done), tuple(passed))

    async def _append(self, item: Item, decide: Decide, tell: Tell) -> int | Stay:
        """The sequence of what was appended, or why nothing was."""
        deadline = self._care.clock.now() + PATIENCE_SECONDS
        while True:
            standing = await self._care.standing(item.id)
            match decide(item, standing):
                case Stay(passing=passing) as stay:
                    if not passing or self._care.clock.now() >= deadline:
                        return stay
                    await self._care.clock.sleep(LOOK_SECONDS)
                case Evict(after=after) | Pin(after=after):
                    assert standing.entry is not None
                    topic = standing.entry.ref.topic
                    with suppress(Conflict):
                        return await self._care.events.append(topic, tell(item, standing.entry), after=after)


def _collected(evicted: Sequence[Item], holdings: Sequence[Holding], removed: Sequence[Leftover]) -> Collected:
    going = {each.cid: each.size for each in holdings}
    others = {each.cid: each.size for each in removed if each.cid not in going}
    return Collected(tuple(evicted), tuple(others), sum(going.values()) + sum(others.values()))
