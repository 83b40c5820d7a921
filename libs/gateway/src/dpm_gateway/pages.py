"""Indexes: fresh if that can be had, else stale; and the pages that are made of them."""

import logging
import math
from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Want
from dpm_core.attempts import Failure
from dpm_core.cids import Cid
from dpm_core.dates import same_date
from dpm_core.decisions import ANSWERS
from dpm_core.ecosystem import IndexPage, Request
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_core.events import FailReason
from dpm_core.ports import Body, Entry
from dpm_gateway.answer import PAGE_CACHING, Answer, Source, caching, index_of
from dpm_gateway.choice import first
from dpm_gateway.coding import Coding, chosen
from dpm_gateway.connections import Connections
from dpm_gateway.doorkeeper import Refused
from dpm_gateway.facts import Index, Rendered
from dpm_gateway.flight import Airborne, Landed, Lost
from dpm_gateway.generations import AtHand, Generations, Got
from dpm_gateway.kit import Kit
from dpm_gateway.peer_pages import PeerPages, Sought, is_away
from dpm_gateway.promotion import RECHECK_SECONDS
from dpm_gateway.refusals import refusal_of
from dpm_gateway.responses import page_response

log = logging.getLogger(__name__)


class Pages:
    """Answers requests for index pages, and finds indexes for whoever reads something else in them."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._peers = PeerPages(kit)
        self._generations = Generations(kit, self.latest, self.holds, self._peers)
        self.connections = Connections()

    async def answer(self, request: Request, target: IndexPage) -> Answer:
        """The page; of several wants the first one that the client may have, and upstream has. Raises Refused."""
        wants = (target.want, *target.otherwise)
        try:
            return await first(
                self._kit,
                request,
                target.realm,
                wants,
                lambda want: self._page(request, target, want),
                lambda want: self._kit.catalog.find(want.ref.id),
            )
        except Refused as error:
            if error.refusal.status != 404 or target.absent is None:
                raise
            page, headers = target.absent, dict(target.headers)
            return Answer("made", page_response(request.method, request.headers, page, None, headers, page.status))

    async def _page(self, request: Request, target: IndexPage, want: Want) -> Answer:
        revalidate = "no-cache" in request.headers.get("cache-control", "")
        coding = chosen(request.headers) if target.coded else Coding.IDENTITY
        max_age = None
        dated: Index | None = None
        if target.of is not None:
            dated = self.shown(request.connection, target.of)
            want, frozen = await self._companion(want, target.of, dated)
            revalidate, max_age = False, math.inf if frozen else None

        def at_hand(index: Index) -> bool:
            return self._kit.desk.has_page(self._named(index, target), target.variant, coding)

        async def render(index: Index) -> Rendered:
            return await self._kit.desk.page(self._named(index, target), target.variant, coding)

        named = target.want.ref if target.of is not None else want.ref
        result, index, headers = await self.index(
            want, at_hand, revalidate=revalidate, max_age=max_age, named=named
        )
        try:
            rendered = await render(index)
        except Untrusted:
            result, index, headers = await self.index(want, at_hand, rotten=index.cid)
            rendered = await render(index)
        except Invalid:
            if result == "peer":
                self._peers.dismiss(index)
            elif result != "hit":
                raise
            # a page that makes no sense is not fresh: upstream may have mended it
            result, index, headers = await self.index(want, at_hand, max_age=RECHECK_SECONDS)
            rendered = await render(index)
        headers |= {**dict(target.headers), "Cache-Control": caching(want, PAGE_CACHING)}
        response = page_response(
            request.method,
            request.headers,
            rendered.page,
            rendered.etag,
            headers,
            coding=rendered.coding if target.coded else None,
            # what is made here has no date of upstream's
            last_modified=None if target.coded else (dated or index).modified,
        )
        if self._kit.ecosystem.newest(want) is not None:
            if request.method == "GET":
                self.connections.note(request.connection, index)
            return Answer(result, response)  # what it names depends on the connection
        repeatable = result == "hit" and not (revalidate or want.private or want != target.want)
        source = Source(index.ref.id, index, want.fresh_for or 0.0)
        return Answer(result, response, (source,) if repeatable else ())

    @staticmethod
    def _named(index: Index, target: IndexPage) -> Index:
        """The index as the ecosystem knows it: of a companion's name it knows what came before it was one."""
        return index if target.of is None else replace(index, ref=target.want.ref)

    def shown(self, connection: str, want: Want) -> Index | None:
        """An index as it was last shown on the connection, else as it is held."""
        index = self.connections.shown(connection, want.ref)
        if index is None and (entry := self._kit.catalog.find(want.ref.id)) is not None:
            index = index_of(entry)
        return index

    async def _companion(self, want: Want, of: Want, index: Index | None) -> tuple[Want, bool]:
        """What goes with ``index``, which is ``of`` as it was shown; see Generations."""
        newest = self._kit.ecosystem.newest(of)
        if index is None or newest is None:
            return want, False
        return await self._generations.companion(want, newest, index)

    async def index(
        self,
        want: Want,
        at_hand: AtHand,
        *,
        revalidate: bool = False,
        max_age: float | None = None,
        rotten: Cid | None = None,
        named: ArtifactRef | None = None,
    ) -> Got:
        """The index as clients are shown it, fresh if that can be had, else stale; not from the bytes ``rotten``.

        ``named`` is what it is read as, if that is not its own name. Raises Refused.
        """
        newest = self._kit.ecosystem.newest(want)
        if newest is None:
            return await self.latest(
                want, at_hand, revalidate=revalidate, max_age=max_age, rotten=rotten,
                sought=Sought(want, named or want.ref),
            )  # fmt: skip
        return await self._generations.index(
            want, newest, at_hand, revalidate=revalidate, max_age=max_age, rotten=rotten
        )

    async def latest(
        self,
        want: Want,
        at_hand: AtHand,
        *,
        revalidate: bool = False,
        max_age: float | None = None,
        rotten: Cid | None = None,
        sought: Sought | None = None,
    ) -> Got:
        """The index as upstream has it, as far as that can be known; a peer may know more of what is ``sought``.

        Raises Refused.
        """
        now = self._kit.clock.now()
        max_age = want.fresh_for if max_age is None else max_age
        entry = self._kit.catalog.find(want.ref.id)
        if entry is not None and (entry.blob.cid == rotten or not await self.holds(entry, at_hand)):
            entry = None
        if entry is not None and not revalidate and now - entry.checked_at < (max_age or 0.0):
            self._kit.marks.note(want.ref.id)
            return "hit", index_of(entry), {"Cache-Status": "dpm; hit"}
        held = entry.held if entry else None
        fresh_since = now if revalidate else now - (max_age or 0.0)
        flying = self._kit.board(want, held, fresh_since, missing=rotten)
        boarding = await self._peers.unless_silent(flying, sought, entry)
        if isinstance(boarding, tuple):
            return "peer", *boarding
        boarding.leave()
        match boarding.answer:
            case Landed() as landed:
                if entry is None or entry.blob.cid != landed.cid:
                    return "miss", self._landed(want, landed), {"Cache-Status": "dpm; fwd=miss; stored"}
                self._kit.marks.note(want.ref.id)
                return "revalidated", index_of(entry), {"Cache-Status": "dpm; fwd=stale; fwd-status=304"}
            case Lost(failure=failure) as lost:
                newer = await self._peers.newer(sought, entry) if sought and is_away(lost) else None
                if newer is not None:
                    return "peer", *newer
                return self.stale(entry, failure, now)
            case Airborne():
                raise Unavailable(f"{want.name} arrives in pieces, which an index must not")

    def stale(self, entry: Entry | None, failure: Failure, now: float) -> Got:
        """What is held, when upstream cannot say whether it has changed (RFC 9111, 4.2.4). Raises Refused."""
        age = now - entry.checked_at if entry else 0.0
        if entry is None or failure.reason in ANSWERS or age > self._kit.policy.stale_seconds:
            raise Refused(refusal_of(failure))
        self._kit.marks.note(entry.ref.id)
        why = "the disk takes no newer one" if failure.reason is FailReason.DISK else "upstream is away"
        status = f'dpm; hit; ttl={int((entry.fresh_for or 0.0) - age)}; detail="{why}"'
        return "stale", index_of(entry), {"Age": str(int(age)), "Cache-Status": status}

    def doubt(self, want: Want) -> None:
        """What an index names, as it was shown, could not be had."""
        if self._kit.ecosystem.newest(want) is not None:
            self._generations.doubt(want)

    async def close(self) -> None:
        """End what goes on without a request."""
        await self._generations.close()

    def _landed(self, want: Want, landed: Landed) -> Index:
        """The catalog knows best: who only had it confirmed was not told by upstream."""
        entry = self._kit.catalog.find(want.ref.id)
        if entry is not None and entry.blob.cid == landed.cid:
            return index_of(entry)
        if landed.media_type is None:
            raise Unavailable("the catalog lags behind the log", retry_after=1.0)
        modified = same_date(landed.validators.last_modified)
        return Index(want.ref, landed.cid, landed.media_type, landed.fields, modified)

    async def holds(self, entry: Entry, at_hand: AtHand) -> bool:
        """Whether an index can be used: what is wanted of it is in memory, or its bytes are in the store."""
        if at_hand(index_of(entry)):
            return True
        body = await held_body(self._kit, entry)
        if body is None:
            return False
        body.close()
        return True


async def held_body(kit: Kit, entry: Entry) -> Body | None:
    """The bytes of what the catalog has, None if they are not there or are others: then they are fetched."""
    try:
        body = await kit.store.open(entry.blob.cid)
    except Untrusted as error:
        log.error("the disk lies", extra={"artifact": entry.name, "why": str(error)})
        return None
    if body is None:
        log.warning("an event without its file", extra={"artifact": entry.name, "cid": entry.blob.cid})
    return body
