"""Pages of peers: what clients are shown of an index while upstream is away, and a peer has a newer one.

What a peer has is an artifact of its own beside what upstream gave, which it never takes the place of.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from dpm_core.artifacts import CHECKED_FIELD, ArtifactRef, Want, as_peers_have, peers_checked_at
from dpm_core.cids import Cid
from dpm_core.dates import same_date
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_core.events import FailReason
from dpm_core.ports import Entry
from dpm_gateway.answer import index_of
from dpm_gateway.facts import Index
from dpm_gateway.flight import Landed, Lost
from dpm_gateway.flights import Boarding
from dpm_gateway.kit import Kit
from dpm_gateway.responses import Headers

REMEMBERED = 1024
"""Of so many bodies it is known that they make no sense, and of so many upstreams that they were silent."""

PATIENCE_SECONDS = 5.0
"""An upstream that has said nothing for so long is taken to be away, while peers are asked beside it."""

IMPATIENCE_SECONDS = 0.5
"""The same of one that was silent of late."""

SILENT_SECONDS = 60.0
"""So long it is remembered that an upstream was silent, unless it answers."""

log = logging.getLogger(__name__)


def is_away(lost: Lost) -> bool:
    """Whether upstream gave no answer, or says that it cannot: it has said nothing of what was asked for."""
    status = lost.failure.status
    return lost.tried and lost.failure.reason is FailReason.UNAVAILABLE and (status is None or status >= 500)


@dataclass(frozen=True)
class Sought:
    """What peers may be asked for in place of an index that upstream does not give; it is read as ``named``."""

    want: Want
    named: ArtifactRef


class PeerPages:
    """Asks for pages of peers, where this node is in a network."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._silent_at: OrderedDict[str, float] = OrderedDict()
        self._senseless: OrderedDict[Cid, None] = OrderedDict()

    async def unless_silent(
        self, upstream: Coroutine[Any, Any, Boarding], sought: Sought | None, held: Entry | None
    ) -> Boarding | tuple[Index, Headers]:
        """What upstream comes to, or, if it says nothing for a while and a peer has a newer page, that page.

        Upstream is not waited for then; what it says later is for who asks next.
        """
        if sought is None or as_peers_have(sought.want) is None or not self._kit.networked():
            return await upstream
        host, now = sought.want.ref.upstream, self._kit.clock.now()
        is_silent = now - self._silent_at.get(host, 0.0) < SILENT_SECONDS
        asking = asyncio.ensure_future(upstream)
        boarding: Boarding | None = None
        try:
            done, _ = await asyncio.wait({asking}, timeout=IMPATIENCE_SECONDS if is_silent else PATIENCE_SECONDS)
            if not done:
                self._silent_at[host] = now
                self._silent_at.move_to_end(host)
                if len(self._silent_at) > REMEMBERED:
                    self._silent_at.popitem(last=False)
                newer = await self.newer(sought, held)
                if newer is not None and not asking.done():
                    return newer
            boarding = await asking
        finally:
            if boarding is None:
                asking.cancel()
                asking.add_done_callback(_leave)
        if not isinstance(boarding.answer, Lost):
            self._silent_at.pop(host, None)
        return boarding

    async def newer(self, sought: Sought, held: Entry | None) -> tuple[Index, Headers] | None:
        """The page as a peer had it, and what is said of that to clients (RFC 9211).

        None if there is none that upstream confirmed later than what is ``held``, or that can be read.
        """
        want = sought.want
        asked = as_peers_have(want)
        if asked is None or not self._kit.networked():
            return None
        found = await self._found(asked)
        if found is None:
            return None
        told, fetched = found
        now, checked_at = self._kit.clock.now(), peers_checked_at(told.fields) or 0.0
        if now - checked_at > self._kit.policy.stale_seconds or (held and checked_at <= held.checked_at):
            return None
        fields = tuple(each for each in told.fields if each[0] != CHECKED_FIELD)
        index = replace(told, ref=sought.named, fields=fields)
        if not await self._makes_sense(index):
            return None
        self._kit.marks.note(asked.ref.id)
        return replace(index, ref=want.ref), told_of(want, now - checked_at, fetched=fetched)

    def dismiss(self, index: Index) -> None:
        """It cannot be read, whatever is said of it: what is held of upstream is better."""
        self._senseless[index.cid] = None
        if len(self._senseless) > REMEMBERED:
            self._senseless.popitem(last=False)

    async def body(self, sought: Sought) -> bytes | None:
        """The bytes of a page as a peer had it, as far as there is one. Raises Unavailable, Untrusted."""
        found = await self.newer(sought, None)
        return None if found is None else b"".join(await self._kit.desk.body(found[0]))

    async def _found(self, asked: Want) -> tuple[Index, bool] | None:
        """What a peer has, and whether it was fetched just now; what one had, if nobody can be asked for it."""
        entry = self._kit.catalog.find(asked.ref.id)
        if entry is not None and not await self._is_here(entry):
            entry = None
        now = self._kit.clock.now()
        if entry is not None and entry.fresh(now):
            return index_of(entry), False
        boarding = await self._kit.board(asked, entry.held if entry else None, now - (asked.fresh_for or 0.0))
        boarding.leave()
        match boarding.answer:
            case Landed() as landed if landed.media_type and peers_checked_at(landed.fields) is not None:
                modified = same_date(landed.validators.last_modified)
                return Index(asked.ref, landed.cid, landed.media_type, landed.fields, modified), True
            case _:  # also if there is no newer one than what is held: of that more is known here
                return None if entry is None else (index_of(entry), False)

    async def _is_here(self, entry: Entry) -> bool:
        try:
            body = await self._kit.store.open(entry.blob.cid)
        except Untrusted:
            return False
        if body is None:
            return False
        body.close()
        return True

    async def _makes_sense(self, index: Index) -> bool:
        if index.cid in self._senseless:
            return False
        try:
            await self._kit.desk.read(index)
        except (Invalid, Untrusted) as error:
            log.warning("a page of a peer makes no sense", extra={"artifact": index.ref.key, "why": str(error)})
            self.dismiss(index)
            return False
        except Unavailable:
            return False
        return True


def _leave(asking: "asyncio.Future[Boarding]") -> None:
    """Nobody waits for what came of it; who was cancelled has left."""
    if not asking.cancelled() and asking.exception() is None:
        asking.result().leave()


def told_of(want: Want, age: float, *, fetched: bool) -> Headers:
    """What clients are told of a page of a peer, which upstream confirmed ``age`` seconds ago."""
    how = "fwd=miss; stored" if fetched else f"hit; ttl={int((want.fresh_for or 0.0) - age)}"
    return {"Age": str(max(0, int(age))), "Cache-Status": f"dpm; {how}; detail=peer"}
