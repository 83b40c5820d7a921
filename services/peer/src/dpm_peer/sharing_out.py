"""What this node shares in a network: catalog and rule at the start, then the log, into stock and shelf.

What is shared is first given to Kubo and then told; what is no longer shared is told and then taken from it. (Who
deletes a file has asked for that before.)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from dpm_core.adverts import Changes
from dpm_core.artifacts import Validators
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactStored,
    BlobQuarantined,
    FetchUnchanged,
    OriginKind,
)
from dpm_core.ports import Clock, EventLog, Shelves
from dpm_core.sharing import Rule, Share, Subject, decide_sharing, shared_file, shared_page
from dpm_peer.inventories import Inventories
from dpm_peer.shelf import Shelf
from dpm_peer.stock import Lent, Stock
from dpm_peer.telling import Telling

T = TypeVar("T")

CONFIRMED_SECONDS = 600
"""That upstream has confirmed a page again is worth telling after so long."""

RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)

Up = Callable[[int], Awaitable[int]]
"""Wait until Kubo answers, having started more often than so many times; returns how often. Raises Unavailable."""


class SharingOut:
    """Shares what this node holds with one network, by its ``rule``. What it needs is open while it runs."""

    def __init__(
        self,
        rule: Rule,
        *,
        stock: Stock,
        inventories: Inventories,
        shelf: Shelf,
        telling: Telling,
        catalog: Shelves,
        events: EventLog,
        clock: Clock,
        up: Up,
    ) -> None:
        self._rule = rule
        self._stock = stock
        self._inventories = inventories
        self._shelf = shelf
        self._telling = telling
        self._catalog = catalog
        self._events = events
        self._clock = clock
        self._up = up
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """For ever, also while Kubo does not answer. Raises ReaderTooOld as the log does."""
        await asyncio.to_thread(self._inventories.load)
        position = self._catalog.position()
        starts = await self._started(0)
        await self.reconsider(self._rule)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._telling.run())
            tasks.create_task(self._follow(position))
            tasks.create_task(self._look_after_kubo(starts))

    async def reconsider(self, rule: Rule) -> None:
        """Share by this rule from now on."""
        async with self._turn:
            self._rule = rule
            async with self._stock.turn:
                changes = await asyncio.to_thread(lambda: self._stock.become(self._all()))
            await self._insist(self._set_shelf)
            self._telling.add(changes)

    def _all(self) -> Iterator[Lent]:
        """What the catalog has and the rule shares."""
        for entry in self._catalog.entries():
            lent = lend(self._rule, entry, entry.checked_at)
            if lent is not None:
                yield lent

    async def _look_after_kubo(self, starts: int) -> None:
        while True:
            starts = await self._started(starts)
            async with self._turn:
                await self._insist(self._set_shelf)

    async def _started(self, starts: int) -> int:
        return await self._insist(lambda: self._up(starts))

    async def _set_shelf(self) -> None:
        """Have Kubo reference what is shared and nothing else, and share nothing that it cannot give."""
        async with self._stock.turn:
            wanted = self._stock.cids()
        done = await self._shelf.reconcile([*wanted, *self._inventories.cids()])
        log.info("Kubo gives what is shared: %s", done)
        for cid in self._inventories.cids():  # one may have been written meanwhile
            await self._shelf.give(cid)
        if done.refused:
            missing: list[Cid] = []
            for number, cid in enumerate(wanted):
                if not self._shelf.holds(cid):
                    missing.append(cid)
                if number % 1_000 == 0:
                    await asyncio.sleep(0)
            async with self._stock.turn:
                self._telling.add(self._stock.remove_blobs(missing))

    async def _follow(self, position: int) -> None:
        async for recorded in self._events.follow(None, after=position):
            async with self._turn:
                await self._hear(recorded)

    async def _hear(self, recorded: Recorded) -> None:
        match recorded.event:
            case ArtifactStored() as stored:
                await self._stored(stored, recorded.time)
            case ArtifactEvicted(ref=ref):
                await self._no_more([ref.id])
            case BlobQuarantined(cid=cid):
                async with self._stock.turn:
                    changes = self._stock.remove_blobs([cid])
                self._telling.add(changes)
                await self._insist(lambda: self._shelf.forget([cid]))
            case FetchUnchanged(ref=ref, validators=validators):
                await self._confirmed(ref.id, validators, recorded.time)

    async def _stored(self, stored: ArtifactStored, time: float) -> None:
        cid, artifact_id = stored.blob.cid, stored.ref.id
        lent = lend(self._rule, stored, time if stored.stored_at is None else stored.stored_at)
        from_peers = OriginKind.PEER in (stored.source.kind, *(part.source.kind for part in stored.parts))
        if lent is None:
            await self._no_more([artifact_id])
            if from_peers and not self._has(cid):
                await self._insist(lambda: self._shelf.abandon(cid))
            return
        take = self._shelf.adopt if from_peers else self._shelf.give
        if not await self._insist(lambda: take(cid)):
            await self._no_more([artifact_id])  # it is gone again already, or not what it should be
            return
        before = self._stock.lent(artifact_id)
        await self._tell(lambda: self._stock.put(lent))
        if before is not None:
            await self._forget([before.file.cid])

    async def _no_more(self, artifact_ids: Iterable[str]) -> None:
        for each in artifact_ids:
            before = self._stock.lent(each)
            if before is not None:
                await self._tell(lambda each=each: self._stock.remove(each))  # type: ignore[misc]
                await self._forget([before.file.cid])

    async def _confirmed(self, artifact_id: str, validators: Validators, time: float) -> None:
        lent = self._stock.lent(artifact_id)
        if lent is None or lent.page is None or time - lent.page.checked_at < CONFIRMED_SECONDS:
            return
        page = replace(lent.page, checked_at=int(time), validators=validators)
        await self._tell(lambda: self._stock.put(replace(lent, page=page)))

    async def _tell(self, change: Callable[[], Changes]) -> None:
        async with self._stock.turn:
            self._telling.add(change())

    async def _forget(self, cids: Iterable[Cid]) -> None:
        gone = [cid for cid in cids if not self._has(cid)]
        if gone:
            await self._insist(lambda: self._shelf.forget(gone))

    def _has(self, cid: Cid) -> bool:
        return self._stock.has(cid) or cid in self._inventories.cids()

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it until Kubo takes it."""
        while True:
            try:
                return await work()
            except Unavailable as why:
                log.warning("what is shared waits: %s", why)
                await self._clock.sleep(RETRY_SECONDS)


def lend(rule: Rule, subject: Subject, checked_at: float) -> Lent | None:
    """How an artifact is shared by a rule, None: not at all.

    ``checked_at`` (seconds since the epoch) is when upstream gave or confirmed it.
    """
    share = decide_sharing(rule, subject)
    if not isinstance(share, Share):
        return None
    try:
        page = shared_page(subject, checked_at) if share.page else None
        return Lent(subject.ref.id, shared_file(subject), share.file, page)
    except Invalid as why:
        log.info("%s cannot be shared: %s", subject.name, why)
        return None
