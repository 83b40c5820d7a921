"""Artifacts that go out as they are: files that indexes name, and what its own name vouches for."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace

from starlette.responses import Response

from dpm_core.artifacts import Fields, Want
from dpm_core.cids import Cid
from dpm_core.dates import same_date
from dpm_core.digests import answers
from dpm_core.ecosystem import Direct, Fact, IndexedFile, Refusal, Request
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_core.ports import Entry
from dpm_gateway.answer import FILE_CACHING, PAGE_CACHING, Answer, Search, Source, caching, index_of
from dpm_gateway.choice import first
from dpm_gateway.describing import described
from dpm_gateway.doorkeeper import Refused, Visitor
from dpm_gateway.facts import Index
from dpm_gateway.flight import Airborne, Landed, Lost
from dpm_gateway.flights import Boarding
from dpm_gateway.kit import Kit
from dpm_gateway.naming import Naming
from dpm_gateway.pages import Pages, held_body
from dpm_gateway.peer_pages import PATIENCE_SECONDS
from dpm_gateway.promotion import A_WHILE, RECHECK_SECONDS
from dpm_gateway.reading import Reading
from dpm_gateway.refusals import refusal_of, refusal_of_status
from dpm_gateway.responses import Headers, Representation, body_response
from dpm_runtime.credentials import same_site

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """What an index says of a file: the index that was wanted, the one that was held, and the fact.

    ``search``: it was found among all that are held, and who searches again finds it until these change.
    ``early``: there is another one that is being read, and may name the file.
    """

    want: Want
    index: Index
    fact: Fact
    search: Search | None = None
    early: bool = False


class Files:
    """Answers requests for the bytes of artifacts."""

    def __init__(self, kit: Kit, pages: Pages) -> None:
        self._kit = kit
        self._pages = pages
        self._naming = Naming(kit.ecosystem, kit.catalog, lambda entry: kit.desk.is_read(index_of(entry)))
        self._reading = Reading(kit.ecosystem, kit.desk, self._naming)

    async def direct(self, request: Request, target: Direct) -> Answer:
        """The first of several wants that the client may have, and upstream has. Raises Refused."""
        return await first(
            self._kit,
            request,
            target.realm,
            target.wants,
            lambda want: self._direct(request, target, want),
            lambda want: self._held(target, want),
        )

    def _held(self, target: Direct, want: Want) -> Entry | None:
        """What is held of it. A name that says what the bytes are says so for ever."""
        entry = self._kit.catalog.find(want.ref.id) or (self._beside(want) if target.beside else None)
        return entry if entry is None or entry.fresh_for is None else replace(entry, fresh_for=None)

    async def _direct(self, request: Request, target: Direct, want: Want) -> Answer:
        entry = self._kit.catalog.find(want.ref.id)
        for held in (entry, self._beside(want) if target.beside else None):
            if held is not None and (hit := await self._hit(request, want, held, target.headers)) is not None:
                sure = held is entry and not want.private and want is target.wants[0]
                return hit if sure else replace(hit, sources=())
        want = await self._as_listed(request.connection, target, want)
        if request.method == "HEAD" and (headed := await self._headed_unless_away(request, want, target.headers)):
            return headed
        return await self._miss(request, want, entry, target.headers)

    async def _as_listed(self, connection: str, target: Direct, want: Want) -> Want:
        """What a held index says of it: first the one that was shown on the client's connection."""
        for each in target.indexes:
            if (index := self._pages.shown(connection, each)) is not None:
                with suppress(Invalid, Unavailable, Untrusted):
                    for count, fact in enumerate(await self._kit.desk.every(index), start=1):
                        if count % A_WHILE == 0:
                            await asyncio.sleep(0)  # facts at hand never wait: others are to run
                        if answers(fact.digests, want.digests):
                            found = self._kit.ecosystem.locate(each, fact)
                            if found.ref == want.ref:
                                return replace(found, credentials=want.credentials)
        return want

    async def _headed_unless_away(self, request: Request, want: Want, fields: Fields) -> Answer | None:
        """As ``_headed``; None if upstream cannot say, and peers may have what is small: then that is fetched."""
        if not (want.for_peers and want.limit is not None and self._kit.networked()):
            return await self._headed(request, want, fields)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._headed(request, want, fields)
        except (TimeoutError, Unavailable):
            return None
        except Refused as error:
            if error.refusal.status < 500:
                raise
            return None

    async def _headed(self, request: Request, want: Want, fields: Fields) -> Answer:
        """What upstream says of it: nobody downloads a layer to learn that it exists. Raises Refused."""
        headed = await self._kit.head(want)
        refusal = refusal_of_status(headed.status, want.name)
        if refusal is not None and refusal.status == 404 and want.otherwise:
            headed = await self._kit.head(replace(want, url=want.otherwise))
            other = None not in (want.size, headed.length) and want.size != headed.length
            refusal = refusal if other else refusal_of_status(headed.status, want.name)
        if refusal is not None:
            raise Refused(refusal)
        headers = {"Cache-Status": f"dpm; fwd=miss; fwd-status={headed.status}", **dict(fields)}
        about = self._representation(want, None, headed.length, headed.media_type, headers)
        return Answer("miss", body_response("HEAD", request.headers, about, None))

    def _beside(self, want: Want) -> Entry | None:
        """What is held of the same place under another name."""
        cid = want.likely_cid
        return None if cid is None else self._kit.catalog.beside(want.ref, cid)

    async def indexed(self, request: Request, target: IndexedFile) -> Answer:
        """The file, if an index that the client may see names it. Raises Refused."""
        visitor = None
        if target.realm:
            visitor = self._kit.doorkeeper.visitor(request, target.realm)
            if target.indexes:
                indexes = await self._kit.doorkeeper.let_in(visitor, target.indexes)
                target = replace(target, indexes=indexes)
        try:
            found = await self._find(request.connection, target)
        except Refused as error:
            other = target.otherwise
            if other is None or (error.refusal.status != 404 and self._kit.catalog.find(other.ref.id) is None):
                raise
            return await self._unnamed(request, other, visitor)
        fact, want = found.fact, self._kit.ecosystem.locate(found.want, found.fact)
        if visitor and same_site(want.ref.upstream, want.url):  # elsewhere nobody knows the credentials
            await self._tell_query(want, fact)
            await self._kit.doorkeeper.let_in(visitor, [want])
        entry = self._kit.catalog.find(want.ref.id)
        hit = await self._hit(request, want, entry)
        if hit is None and found.early:
            found = await self._find(request.connection, target, patient=True)
            fact, want = found.fact, self._kit.ecosystem.locate(found.want, found.fact)
            entry = self._kit.catalog.find(want.ref.id)
            hit = await self._hit(request, want, entry)
        if hit is not None:
            return replace(hit, sources=self._sources(target, found, hit))
        if request.method == "HEAD" and want.size is not None:
            about = self._representation(want, None, want.size, "", {"Cache-Status": "dpm; fwd=miss"})
            return Answer("miss", body_response("HEAD", request.headers, about, None))
        if fact.url != want.url:  # a signature ends, and upstream may have written a new one by now
            found = await self._find(request.connection, target, newest=True)
            fact, want = found.fact, self._kit.ecosystem.locate(found.want, found.fact)
            await self._tell_query(want, fact)
        try:
            return await self._miss(request, want, entry)
        except Refused:
            self._pages.doubt(found.want)
            raise

    def _sources(self, target: IndexedFile, found: _Found, hit: Answer) -> tuple[Source | Search, ...]:
        """What the answer stands on for everybody; nothing if others may get another one."""
        index = Source(found.index.ref.id, found.index)
        if target.realm:
            return ()
        if not target.indexes:
            return () if found.search is None else (index, found.search, *hit.sources)
        # where the likeliest index does not name it, that one may do so by and by
        likeliest = found.want is target.indexes[0] and self._kit.ecosystem.newest(found.want) is None
        return (index, *hit.sources) if likeliest else ()

    def stands(self, search: Search) -> bool:
        """Whether it would come out as it did. Raises Unavailable if the catalog cannot be read."""
        return self._naming.stands(search)

    async def _unnamed(self, request: Request, want: Want, visitor: Visitor | None) -> Answer:
        """What no index vouches for: fresh if that can be had, else stale, as indexes are. Raises Refused."""
        if visitor:
            await self._kit.doorkeeper.let_in(visitor, [want])
            want = self._kit.doorkeeper.lend(visitor, want)
        now, found = self._kit.clock.now(), self._kit.catalog.find(want.ref.id)
        entry = found if found is not None and await self._pages.holds(found, lambda index: False) else None
        revalidate = "no-cache" in request.headers.get("cache-control", "")
        fresh_since = now if revalidate else now - (want.fresh_for or 0.0)
        result, headers = "hit", {"Cache-Status": "dpm; hit"}
        if entry is None and request.method == "HEAD":
            return await self._headed(request, want, ())
        if entry is None or entry.checked_at <= fresh_since:
            missing = found.blob.cid if found and not entry else None
            held = entry.held if entry else None
            boarding = await self._kit.board(want, held, fresh_since, missing=missing)
            match boarding.answer:
                case Lost(failure=failure):
                    boarding.leave()
                    result, _, headers = self._pages.stale(entry, failure, now)
                case Landed(cid=cid) if entry is not None and entry.blob.cid == cid:
                    boarding.leave()
                    result, headers = "revalidated", {"Cache-Status": "dpm; fwd=stale; fwd-status=304"}
                case _:
                    return await self._boarded(request, want, boarding, {})
        hit = await self._hit(request, want, entry, tuple(headers.items()))
        if hit is None:
            raise Unavailable(f"{want.name} has left the store", retry_after=1.0)
        return replace(hit, result=result, sources=())

    async def _hit(self, request: Request, want: Want, entry: Entry | None, headers: Fields = ()) -> Answer | None:
        """The answer with what is held; None if that is not what is wanted, or cannot be read."""
        if entry is None or not answers(entry.blob.digests, want.digests):
            return None
        index = index_of(entry)
        await self._reading.known(index)
        body = await held_body(self._kit, entry)
        if body is None:
            return None
        self._kit.marks.note(entry.ref.id)
        status = {"Cache-Status": "dpm; hit", **dict(headers)}
        told = await described(self._kit.ecosystem, want, entry.media_type, body)
        about = self._representation(want, entry.blob.cid, entry.blob.size, told, status, index.modified)
        response = body_response(request.method, request.headers, about, body, body.close)
        return Answer("hit", response, (Source(entry.ref.id, index, filed=True),))

    async def _miss(self, request: Request, want: Want, entry: Entry | None, headers: Fields = ()) -> Answer:
        """The answer with what is fetched; ``entry`` is of no use. Raises Refused."""
        boarding = await self._kit.board(want, None, 0.0, missing=entry.blob.cid if entry else None)
        return await self._boarded(request, want, boarding, dict(headers))

    async def _boarded(self, request: Request, want: Want, boarding: Boarding, headers: Headers) -> Answer:
        try:
            return Answer("miss", await self._fetched(request, want, boarding, headers))
        except BaseException:
            boarding.leave()
            raise

    async def _fetched(self, request: Request, want: Want, boarding: Boarding, headers: Headers) -> Response:
        headers = {"Cache-Status": "dpm; fwd=miss; stored", **headers}
        match boarding.answer:
            case Lost(failure=failure):
                raise Refused(refusal_of(failure))
            case Landed(cid=cid, media_type=told, fields=fields, validators=validators):
                boarding.leave()
                await self._reading.known(Index(want.ref, cid, told or "", fields))
                body = await self._kit.store.open(cid)
                if body is None:
                    raise Unavailable(f"{want.name} has left the store", retry_after=1.0)
                modified = same_date(validators.last_modified)
                told = await described(self._kit.ecosystem, want, told or "", body)
                about = self._representation(want, cid, body.size, told, headers, modified)
                return body_response(request.method, request.headers, about, body, body.close)
            case Airborne(frontier=frontier, state=state):
                length = state.length
                if length is None and request.version == "1.0":
                    length = await frontier.complete()  # it could not tell a short body from a whole one
                about = replace(
                    self._representation(want, None, length, state.media_type or "", headers),
                    etag=f'"{want.ref.id}-{frontier.token}"',
                )

                source = self._reading.withheld(want, frontier, length)
                return body_response(request.method, request.headers, about, source, boarding.leave)

    def _representation(
        self,
        want: Want,
        cid: Cid | None,
        size: int | None,
        told: str,
        headers: Headers,
        modified: str | None = None,
    ) -> Representation:
        """``told`` is what upstream called it, empty if that is not known."""
        headers = {**headers, "Cache-Control": caching(want, PAGE_CACHING if want.mutable else FILE_CACHING)}
        media_type = self._kit.ecosystem.media_type(want.ref, told)
        etag = f'"{cid}"' if cid else None
        return Representation(size, media_type, etag, modified, headers, mutable=want.mutable)

    async def _tell_query(self, want: Want, fact: Fact) -> None:
        if fact.url != want.url:
            await self._kit.courier.tell_query(fact.url)

    async def _find(
        self, connection: str, target: IndexedFile, *, newest: bool = False, patient: bool = False
    ) -> _Found:
        """What an index says of the file: as it was last shown on the client's connection, where it was.

        What is shown there meanwhile counts for others alone. Raises Refused.
        """
        others = []
        for want in target.indexes:
            index = self._pages.connections.shown(connection, want.ref)
            if index is None:
                others.append(want)
            elif (fact := await self._kit.desk.fact(index, target.path)) is not None:
                self._kit.marks.note(want.ref.id)
                return _Found(want, index, fact)
        within = target.within if others or target.otherwise else None
        return await self._fact(
            replace(target, indexes=tuple(others), within=within), newest=newest, patient=patient
        )

    async def _fact(self, target: IndexedFile, *, newest: bool, patient: bool) -> _Found:
        """What an index says of the file; first as held, whatever its age unless the ``newest`` is wanted.

        Raises Refused.
        """
        for want in target.indexes:
            entry = self._kit.catalog.find(want.ref.id)
            if entry is None or (newest and not entry.fresh(self._kit.clock.now())):
                continue
            if await self._pages.holds(entry, self._kit.desk.has_facts):
                with suppress(Invalid, Untrusted):
                    index = index_of(entry)
                    fact = await self._kit.desk.fact(index, target.path)
                    if fact is not None:
                        self._kit.marks.note(want.ref.id)
                        return _Found(want, index, fact)
        if (
            target.within is not None
            and (found := await self._within(target, target.within, patient=patient)) is not None
        ):
            return found
        missing: Refused | None = None
        for want in target.indexes:
            try:
                result, index, _ = await self._pages.index(want, self._kit.desk.has_facts, max_age=RECHECK_SECONDS)
            except Refused as error:
                missing = error if missing is None or error.refusal.status != 404 else missing
                continue
            try:
                fact = await self._kit.desk.fact(index, target.path)
            except Untrusted:
                result, index, _ = await self._pages.index(want, self._kit.desk.has_facts, rotten=index.cid)
                fact = await self._kit.desk.fact(index, target.path)
            if fact is not None:
                return _Found(want, index, fact)
            if result in ("stale", "peer"):  # upstream may name it by now, and cannot say
                missing = Refused(Refusal(503, f"the page of {want.name} that is held does not name it", 5.0))
        if missing is not None and missing.refusal.status != 404:
            raise missing
        raise Refused(Refusal(404, f"no index names the file {target.path.rpartition('/')[2]}"))

    async def _within(self, target: IndexedFile, prefix: str, *, patient: bool) -> _Found | None:
        """What an index says of the file that is held for whatever reason; the last one that came counts.

        One that has just come is waited for by who is ``patient``, and if no other one names the file, unless that
        is held as it is.
        """
        like = target.otherwise or next(iter(target.indexes), None)
        if like is None:
            return None
        while True:
            search: Search | None = await self._naming.search(like.ref.upstream)
            reading = [self._reading.begin(entry) for _, entry in self._naming.unread(like, prefix)]
            if reading and patient:
                await asyncio.wait(reading)
                search = await self._naming.search(like.ref.upstream)
            for want, entry in self._naming.held(like, prefix):
                if not await self._pages.holds(entry, self._kit.desk.has_facts):
                    search = None
                    continue
                try:
                    fact = await self._kit.desk.fact(index_of(entry), target.path)
                except Untrusted:
                    search = None
                    continue
                except Invalid:
                    self._naming.dismiss(entry)
                    continue
                if fact is not None:
                    self._kit.marks.note(entry.ref.id)
                    return _Found(want, index_of(entry), fact, search, early=bool(reading) and not patient)
            if patient or not reading or self._is_fresh(target.otherwise):
                return None
            patient = True

    def _is_fresh(self, want: Want | None) -> bool:
        entry = None if want is None else self._kit.catalog.find(want.ref.id)
        return entry is not None and entry.fresh(self._kit.clock.now())

    async def close(self) -> None:
        """End what goes on without a request."""
        await self._reading.close()
