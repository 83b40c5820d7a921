"""From a request to an answer: the way of a package as a gateway goes it."""

import logging
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from starlette.responses import Response

from dpm_core.artifacts import Want
from dpm_core.attempts import Failure
from dpm_core.cids import Cid
from dpm_core.decisions import ANSWERS
from dpm_core.digests import answers
from dpm_core.ecosystem import (
    Ecosystem,
    Fact,
    IndexedFile,
    IndexPage,
    Redirect,
    Refusal,
    Request,
)
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_core.events import FailReason
from dpm_core.ports import BlobStore, Body, Catalog, Clock, Entry
from dpm_gateway.coding import chosen
from dpm_gateway.doorkeeper import Doorkeeper, Refused
from dpm_gateway.facts import Desk, Index
from dpm_gateway.flight import Airborne, Landed, Lost
from dpm_gateway.flights import Boarding, Flights
from dpm_gateway.marks import Marks
from dpm_gateway.refusals import refusal_of
from dpm_gateway.responses import PIECE, Headers, Representation, body_response, page_response
from dpm_runtime.credentials import same_site
from dpm_runtime.meters import counter
from dpm_runtime.mounted_files import LoadedBody

RECHECK_SECONDS = 10.0
"""A file that no index names makes an index be asked for again, unless that was done so recently."""

FILE_CACHING = "max-age=31536000, immutable"
PAGE_CACHING = "max-age=0, must-revalidate"

AtHand: TypeAlias = Callable[[Index], bool]
"""Whether what is wanted of an index is in memory."""

log = logging.getLogger(__name__)
_requests = counter(
    "dpm.gateway.requests",
    "{request}",
    "requests, by how they were answered",
    ecosystem="`pypi`, …",
    result="`hit`, `stale` (held, and upstream is away), `revalidated` (held, and upstream has confirmed it), "
    "`miss`, `redirect`, `refused` (also by upstream), `failed`",
)


@dataclass(frozen=True)
class Policy:
    """``stale_seconds``: how long a page is served after its last confirmation while upstream is down."""

    stale_seconds: float


class Courier(Protocol):
    """How fetchers are told what is to stand in no event."""

    async def tell_query(self, url: str) -> None:
        """Have the query of ``url``, a whole one, at hand where the file will be fetched. Never raises."""


@dataclass(frozen=True)
class Source:
    """What a page was made from: an index that was wanted, and the one that was held."""

    want: Want
    index: Index


@dataclass(frozen=True)
class Answer:
    """A response, and in one word how it came about: the ``result`` of metrics.

    With a ``source`` it is the answer to any request in the same words, for as long as that still :meth:`holds
    <Handler.holds>`.
    """

    result: str
    response: Response
    source: Source | None = None


class Handler:
    """Answers requests of one ecosystem's clients. Hits touch the catalog and the store, nothing else."""

    def __init__(
        self,
        ecosystem: Ecosystem,
        catalog: Catalog,
        store: BlobStore,
        flights: Flights,
        desk: Desk,
        marks: Marks,
        doorkeeper: Doorkeeper,
        courier: Courier,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._ecosystem = ecosystem
        self._catalog = catalog
        self._store = store
        self._flights = flights
        self._desk = desk
        self._marks = marks
        self._doorkeeper = doorkeeper
        self._courier = courier
        self._clock = clock
        self._policy = policy

    @property
    def ecosystem(self) -> str:
        """The name of the ecosystem."""
        return self._ecosystem.name

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; every failure is one in the protocol's own form."""
        begun = time.perf_counter()
        try:
            answer = await self._answer(request)
        except Refused as error:
            answer = Answer("refused", self._problem(request, error.refusal))
        except Untrusted as error:
            log.error("untrusted bytes", extra={"path": request.path, "why": str(error)})
            answer = Answer("failed", self._problem(request, Refusal(502, str(error))))
        except Invalid as error:
            log.warning("upstream's index makes no sense", extra={"path": request.path, "why": str(error)})
            answer = Answer("failed", self._problem(request, Refusal(502, f"upstream's index: {error}")))
        except Unavailable as error:
            answer = Answer("failed", self._problem(request, refusal_of(Failure.of(error))))
        self.tell(request.method, request.path, answer, time.perf_counter() - begun)
        return answer

    def tell(self, method: str, path: str, answer: Answer, seconds: float) -> None:
        """Count an answer, and note it in the log."""
        _requests.add(1, {"ecosystem": self.ecosystem, "result": answer.result})
        about = {"method": method, "path": path, "status": answer.response.status_code}
        log.info("request", extra={**about, "result": answer.result, "seconds": round(seconds, 4)})

    def holds(self, source: Source) -> bool:
        """Whether that index is still the one that is held, and fresh; then it counts as used now."""
        entry = self._catalog.find(source.want.ref.id)
        fresh_for = source.want.fresh_for or 0.0
        if entry is None or _index_of(entry) != source.index or self._clock.now() - entry.checked_at >= fresh_for:
            return False
        self._marks.note(source.want.ref.id)
        return True

    async def _answer(self, request: Request) -> Answer:
        target = self._ecosystem.classify(request)
        match target:
            case Refusal():
                raise Refused(target)
            case Redirect(location=location, status=status):
                return Answer("redirect", Response(status_code=status, headers={"Location": location}))
            case IndexPage():
                return await self._index_page(request, target)
            case IndexedFile():
                return Answer(*await self._indexed_file(request, target))

    def _problem(self, request: Request, refusal: Refusal) -> Response:
        if refusal.status >= 500:
            log.warning("refused", extra={"path": request.path, "why": refusal.detail})
        headers = dict(refusal.headers)
        if refusal.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
        page = self._ecosystem.problem(refusal)
        return page_response(request.method, request.headers, page, None, headers, refusal.status)

    async def _index_page(self, request: Request, target: IndexPage) -> Answer:
        if target.realm:
            visitor = self._doorkeeper.visitor(target.realm, request)
            await self._doorkeeper.let_in(visitor, target.realm, [target.want])
        revalidate = "no-cache" in request.headers.get("cache-control", "")
        coding = chosen(request.headers)

        def at_hand(index: Index) -> bool:
            return self._desk.has_page(index, target.variant, coding)

        result, index, headers = await self._index(target.want, at_hand, revalidate=revalidate)
        try:
            rendered = await self._desk.page(index, target.variant, coding)
        except Untrusted:
            result, index, headers = await self._index(target.want, at_hand, rotten=index.cid)
            rendered = await self._desk.page(index, target.variant, coding)
        except Invalid:
            if result != "hit":
                raise
            # a page that makes no sense is not fresh: upstream may have mended it
            result, index, headers = await self._index(target.want, at_hand, max_age=RECHECK_SECONDS)
            rendered = await self._desk.page(index, target.variant, coding)
        headers["Cache-Control"] = _caching(target.want, PAGE_CACHING)
        page, etag = rendered.page, rendered.etag
        response = page_response(request.method, request.headers, page, etag, headers, coding=rendered.coding)
        source = Source(target.want, index) if result == "hit" and not (revalidate or target.realm) else None
        return Answer(result, response, source)

    async def _index(
        self,
        want: Want,
        at_hand: AtHand,
        *,
        revalidate: bool = False,
        max_age: float | None = None,
        rotten: Cid | None = None,
    ) -> tuple[str, Index, Headers]:
        """The index, fresh if that can be had, else stale; not from the bytes ``rotten``. Raises Refused."""
        now = self._clock.now()
        max_age = want.fresh_for if max_age is None else max_age
        entry = self._catalog.find(want.ref.id)
        if entry is not None and (entry.blob.cid == rotten or not await self._holds(entry, at_hand)):
            entry = None
        if entry is not None and not revalidate and now - entry.checked_at < (max_age or 0.0):
            self._marks.note(want.ref.id)
            return "hit", _index_of(entry), {"Cache-Status": "dpm; hit"}
        held = entry.held if entry else None
        fresh_since = now if revalidate else now - (max_age or 0.0)
        boarding = await self._flights.board(want, held, fresh_since, missing=rotten)
        boarding.leave()
        match boarding.answer:
            case Landed(cid=cid, media_type=media_type):
                if entry is None or entry.blob.cid != cid:
                    entry_type = self._media_type_of(want, cid, media_type)
                    return "miss", Index(want.ref, cid, entry_type), {"Cache-Status": "dpm; fwd=miss; stored"}
                self._marks.note(want.ref.id)
                return "revalidated", _index_of(entry), {"Cache-Status": "dpm; fwd=stale; fwd-status=304"}
            case Lost(failure=failure):
                return self._stale(entry, failure, now)
            case Airborne():
                raise Unavailable(f"{want.name} arrives in pieces, which an index must not")

    def _stale(self, entry: Entry | None, failure: Failure, now: float) -> tuple[str, Index, Headers]:
        """What is held, when upstream cannot say whether it has changed (RFC 9111, 4.2.4). Raises Refused."""
        age = now - entry.checked_at if entry else 0.0
        if entry is None or failure.reason in ANSWERS or age > self._policy.stale_seconds:
            raise Refused(refusal_of(failure))
        self._marks.note(entry.ref.id)
        why = "the disk takes no newer one" if failure.reason is FailReason.DISK else "upstream is away"
        status = f'dpm; hit; ttl={int((entry.fresh_for or 0.0) - age)}; detail="{why}"'
        return "stale", _index_of(entry), {"Age": str(int(age)), "Cache-Status": status}

    def _media_type_of(self, want: Want, cid: Cid, told: str | None) -> str:
        """The catalog knows best: who only had it confirmed was not told by upstream."""
        entry = self._catalog.find(want.ref.id)
        if entry is not None and entry.blob.cid == cid:
            return entry.media_type
        if told is None:
            raise Unavailable("the catalog lags behind the log", retry_after=1.0)
        return told

    async def _holds(self, entry: Entry, at_hand: AtHand) -> bool:
        """Whether an index can be used: what is wanted of it is in memory, or its bytes are in the store."""
        if at_hand(_index_of(entry)):
            return True
        body = await self._store.open(entry.blob.cid)
        if body is None:
            log.warning("an event without its file", extra={"artifact": entry.name, "cid": entry.blob.cid})
            return False
        body.close()
        return True

    async def _open(self, entry: Entry, method: str) -> Body | None:
        """The bytes of what the catalog has, None if they are not there or are others: then they are fetched."""
        try:
            body = await self._store.open(entry.blob.cid)
            if body is None or method != "GET" or body.size > PIECE:
                return body
            with closing(body):  # a small one is read at once anyway: now to be wrong costs no client anything
                return LoadedBody(await body.read(0, body.size))
        except Untrusted as error:
            log.error("the disk lies", extra={"artifact": entry.name, "why": str(error)})
            return None

    async def _indexed_file(self, request: Request, target: IndexedFile) -> tuple[str, Response]:
        visitor = None
        if target.realm:
            visitor = self._doorkeeper.visitor(target.realm, request)
            indexes = await self._doorkeeper.let_in(visitor, target.realm, target.indexes)
            target = replace(target, indexes=indexes)
        index, fact = await self._fact(target)
        want = self._ecosystem.locate(index, fact)
        if visitor and same_site(want.ref.upstream, want.url):  # elsewhere nobody knows the credentials
            await self._tell_query(want, fact)
            await self._doorkeeper.let_in(visitor, target.realm, [want])
        media_type = self._ecosystem.media_type(want.ref)
        entry = self._catalog.find(want.ref.id)
        if (
            entry is not None
            and answers(entry.blob.digests, want.digests)
            and (body := await self._open(entry, request.method))
        ):
            self._marks.note(want.ref.id)
            about = _representation(want, entry.blob.cid, entry.blob.size, media_type, "dpm; hit")
            return "hit", body_response(request.method, request.headers, about, body, body.close)
        if request.method == "HEAD" and want.size is not None:
            about = _representation(want, None, want.size, media_type, "dpm; fwd=miss")
            return "miss", body_response("HEAD", request.headers, about, None)
        if fact.url != want.url:  # a signature ends, and upstream may have written a new one by now
            index, fact = await self._fact(target, newest=True)
            want = self._ecosystem.locate(index, fact)
            await self._tell_query(want, fact)
        boarding = await self._flights.board(want, None, 0.0, missing=entry.blob.cid if entry else None)
        try:
            return "miss", await self._fetched(request, want, media_type, boarding)
        except BaseException:
            boarding.leave()
            raise

    async def _fetched(self, request: Request, want: Want, media_type: str, boarding: Boarding) -> Response:
        match boarding.answer:
            case Lost(failure=failure):
                raise Refused(refusal_of(failure))
            case Landed(cid=cid):
                boarding.leave()
                body = await self._store.open(cid)
                if body is None:
                    raise Unavailable(f"{want.name} has left the store", retry_after=1.0)
                about = _representation(want, cid, body.size, media_type, "dpm; fwd=miss; stored")
                return body_response(request.method, request.headers, about, body, body.close)
            case Airborne(frontier=frontier, state=state):
                length = state.length
                if length is None and request.version == "1.0":
                    length = await frontier.complete()  # it could not tell a short body from a whole one
                about = Representation(
                    length,
                    media_type,
                    f'"{want.ref.id}-{frontier.token}"',
                    headers={
                        "Cache-Status": "dpm; fwd=miss; stored",
                        "Cache-Control": _caching(want, FILE_CACHING),
                    },
                )
                return body_response(request.method, request.headers, about, frontier, boarding.leave)

    async def _tell_query(self, want: Want, fact: Fact) -> None:
        if fact.url != want.url:
            await self._courier.tell_query(fact.url)

    async def _fact(self, target: IndexedFile, *, newest: bool = False) -> tuple[Want, Fact]:
        """What an index says of the file; first as held, whatever its age unless the ``newest`` is wanted.

        Raises Refused.
        """
        for want in target.indexes:
            entry = self._catalog.find(want.ref.id)
            if entry is None or (newest and not entry.fresh(self._clock.now())):
                continue
            if await self._holds(entry, self._desk.has_facts):
                with suppress(Invalid, Untrusted):
                    fact = await self._desk.fact(_index_of(entry), target.path)
                    if fact is not None:
                        self._marks.note(want.ref.id)
                        return want, fact
        missing: Refused | None = None
        for want in target.indexes:
            try:
                result, index, _ = await self._index(want, self._desk.has_facts, max_age=RECHECK_SECONDS)
            except Refused as error:
                missing = error if missing is None or error.refusal.status != 404 else missing
                continue
            try:
                fact = await self._desk.fact(index, target.path)
            except Untrusted:
                result, index, _ = await self._index(want, self._desk.has_facts, rotten=index.cid)
                fact = await self._desk.fact(index, target.path)
            if fact is not None:
                return want, fact
            if result == "stale":  # upstream may name it by now, and cannot say
                missing = Refused(Refusal(503, f"the page of {want.name} that is held does not name it", 5.0))
        if missing is not None and missing.refusal.status != 404:
            raise missing
        raise Refused(Refusal(404, f"no index names the file {target.path.rpartition('/')[2]}"))


def _index_of(entry: Entry) -> Index:
    return Index(entry.ref, entry.blob.cid, entry.media_type)


def _caching(want: Want, directives: str) -> str:
    """The Cache-Control field: what is private is kept by its client alone (RFC 9111, 5.2.2.7)."""
    return f"{'private' if want.private else 'public'}, {directives}"


def _representation(want: Want, cid: Cid | None, size: int, media_type: str, status: str) -> Representation:
    headers = {"Cache-Status": status, "Cache-Control": _caching(want, FILE_CACHING)}
    return Representation(size, media_type, f'"{cid}"' if cid else None, headers=headers)
