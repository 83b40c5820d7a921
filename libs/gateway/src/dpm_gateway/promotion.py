"""A generation is made complete, and then published."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from dpm_core.artifacts import Want
from dpm_core.attempts import Failure
from dpm_core.cids import Cid
from dpm_core.decisions import ANSWERS
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_core.events import FailReason
from dpm_core.ports import Entry
from dpm_gateway.answer import index_of
from dpm_gateway.doorkeeper import Refused
from dpm_gateway.facts import Index
from dpm_gateway.flight import Airborne, Landed, Lost
from dpm_gateway.kit import Kit
from dpm_gateway.refusals import refusal_of

RECHECK_SECONDS = 10.0
"""An index that turned out to be of no use is asked for again, unless that was done so recently."""

AT_ONCE = 4
"""Parts of a generation that are fetched at the same time."""

A_WHILE = 64
"""Names that are looked at before other clients have their turn."""

LAG_SECONDS = 2.0
LOOK_SECONDS = 0.01
"""The catalog is waited for so long, and between two looks at it."""

DEFINITE = frozenset({*ANSWERS, FailReason.UNTRUSTED, FailReason.TOO_LARGE})
"""Failures by which upstream says that it has not what its own index names."""


class Incomplete(Unavailable):
    """Upstream does not give all of a generation."""


def companion(want: Want, index: Index) -> Want:
    """What goes with ``index``, under a name of its own: so each generation keeps the one that it came with."""
    return replace(want, ref=replace(want.ref, key=f"{want.ref.key}#{index.cid}"))


class Promotion:
    """Publishes under the name ``shown`` what is held under the name ``newest``, of upstream or of a peer."""

    def __init__(self, kit: Kit, shown: Want, newest: Want) -> None:
        self._kit = kit
        self._shown = shown
        self._newest = newest

    async def publish(self, index: Index, before: Index | None, *, lenient: bool) -> Index:
        """Publish the newest, ``index``, in place of ``before``, once all can be had that is in use.

        In use is what is held of what ``before`` names. ``lenient``: what upstream has not is done without.
        Returns what is shown now. Raises Incomplete, Refused, Unavailable, Invalid, Untrusted.
        """
        new = replace(index, ref=self._shown.ref)
        await self._kit.desk.fact(new, "")  # what makes no sense is shown to nobody
        if before is not None:
            failures = await self._complete(before, new)
            if missing := [each for each in failures if not (lenient and each.reason in DEFINITE)]:
                raise Incomplete(missing[0].detail, retry_after=RECHECK_SECONDS)
        source = await self._folded(self._newest, index.cid)
        if source is None:
            raise Unavailable("the catalog lags behind the log", retry_after=1.0)
        want = replace(self._shown, digests=(source.blob.sha256,), copies=self._newest.ref.id)
        boarding = await self._kit.board(want, None, 0.0)
        boarding.leave()
        if isinstance(boarding.answer, Lost):
            raise Refused(refusal_of(boarding.answer.failure))
        shown = await self._folded(self._shown, index.cid)  # for who asks for something else next
        return replace(new, modified=None) if shown is None else index_of(shown)

    async def _complete(self, before: Index, new: Index) -> list[Failure]:
        """Fetch what is missing of it; returns what could not be had, and why."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def fetch(want: Want) -> Failure | None:
            async with turns:
                return await self._have(want)

        tasks: list[asyncio.Task[Failure | None]] = []
        try:
            async for want in self._missing(before, new):
                tasks.append(asyncio.create_task(fetch(want)))
            return [failure for each in tasks if (failure := await each) is not None]
        finally:
            for task in tasks:
                task.cancel()

    async def _missing(self, before: Index, new: Index) -> AsyncIterator[Want]:
        """What is held of what ``before`` names, as ``new`` names it, where that is not held."""
        desk, ecosystem, catalog = self._kit.desk, self._kit.ecosystem, self._kit.catalog
        for each in ecosystem.companions(self._shown):
            if catalog.find(companion(each, before).ref.id) is not None:
                yield companion(each, new)
        if not await self._is_known(before):
            return
        for count, fact in enumerate(await desk.every(new), start=1):
            if count % A_WHILE == 0:
                await asyncio.sleep(0)  # facts at hand are looked up without waiting: others are to run
            old = await desk.fact(before, fact.path)
            if old is None or old == fact:
                continue
            if catalog.find(ecosystem.locate(self._shown, old).ref.id) is None:
                continue
            want = ecosystem.locate(self._shown, fact)
            if catalog.find(want.ref.id) is None:
                yield want

    async def _is_known(self, index: Index) -> bool:
        """Whether it can be said what an index named, now that it may have left the store. Raises Unavailable."""
        try:
            await self._kit.desk.fact(index, "")
        except (Invalid, Untrusted):
            return False
        except Unavailable:
            if await self._kit.store.open(index.cid) is None:
                return False
            raise
        return True

    async def _have(self, want: Want) -> Failure | None:
        """Have it fetched; returns why that cannot be."""
        boarding = await self._kit.board(want, None, self._kit.clock.now() - RECHECK_SECONDS)
        try:
            match boarding.answer:
                case Landed():
                    return None
                case Lost(failure=failure):
                    return failure
                case Airborne(frontier=frontier):
                    await frontier.complete()
                    return None
        except Unavailable as error:
            return Failure.of(error)
        except Untrusted as error:
            return Failure(FailReason.UNTRUSTED, str(error))
        finally:
            boarding.leave()

    async def _folded(self, want: Want, cid: Cid) -> Entry | None:
        """What the catalog knows of it, once that has these bytes; None if it has not, after a while."""
        deadline = self._kit.clock.now() + LAG_SECONDS
        while True:
            entry = self._kit.catalog.find(want.ref.id)
            if entry is not None and entry.blob.cid == cid:
                return entry
            if self._kit.clock.now() >= deadline:
                return None
            await self._kit.clock.sleep(LOOK_SECONDS)
