"""From a request to an answer: the way of a package as a gateway goes it."""

import logging
import time
from collections.abc import Iterable

from starlette.responses import Response

from dpm_core.attempts import Failure
from dpm_core.ecosystem import Direct, IndexedFile, IndexPage, Made, Redirect, Refusal, Request
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_gateway.answer import Answer, Search, Source
from dpm_gateway.doorkeeper import Refused
from dpm_gateway.files import Files
from dpm_gateway.kit import Kit
from dpm_gateway.pages import Pages
from dpm_gateway.refusals import refusal_of
from dpm_gateway.responses import page_response
from dpm_runtime.meters import counter

log = logging.getLogger(__name__)
_requests = counter(
    "dpm.gateway.requests",
    "{request}",
    "requests, by how they were answered",
    ecosystem="`pypi`, …",
    result="`hit`, `stale` (held, and upstream is away or does not give all that belongs to the newer one), "
    "`peer` (upstream is away, and a peer of a network has a newer page), `revalidated` (held, and upstream has "
    "confirmed it), `miss`, `redirect`, `made` (from the request alone), "
    "`tunnel`, `refused` (also by upstream), `failed`",
)


class Handler:
    """Answers requests of one ecosystem's clients. Hits touch the catalog and the store, nothing else."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._pages = Pages(kit)
        self._files = Files(kit, self._pages)

    @property
    def ecosystem(self) -> str:
        """The name of the ecosystem."""
        return self._kit.ecosystem.name

    @property
    def proxy(self) -> bool:
        """Whether clients may ask for other hosts through it."""
        return self._kit.ecosystem.proxy

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; every failure is one in the protocol's own form."""
        begun = time.perf_counter()
        try:
            answer = await self._answer(request)
        except Refused as error:
            answer = Answer("refused", self.refuse(request, error.refusal))
        except Untrusted as error:
            log.error("untrusted bytes", extra={"path": request.path, "why": str(error)})
            answer = Answer("failed", self.refuse(request, Refusal(502, str(error))))
        except Invalid as error:
            log.warning("upstream's index makes no sense", extra={"path": request.path, "why": str(error)})
            answer = Answer("failed", self.refuse(request, Refusal(502, f"upstream's index: {error}")))
        except Unavailable as error:
            answer = Answer("failed", self.refuse(request, refusal_of(Failure.of(error))))
        self.tell(request.method, request.path, answer, time.perf_counter() - begun)
        return answer

    def tell(self, method: str, path: str, answer: Answer, seconds: float) -> None:
        """Count an answer, and note it in the log."""
        _requests.add(1, {"ecosystem": self.ecosystem, "result": answer.result})
        about = {"method": method, "path": path, "status": answer.response.status_code}
        log.info("request", extra={**about, "result": answer.result, "seconds": round(seconds, 4)})

    def holds(self, sources: Iterable[Source | Search]) -> bool:
        """Whether they are still what is held, and fresh; then they count as used now."""
        now = self._kit.clock.now()
        for source in sources:
            if isinstance(source, Search):
                if not self._files.stands(source):
                    return False
                continue
            entry = self._kit.catalog.find(source.artifact_id)
            if entry is None or not source.index.matches(entry):
                return False
            if source.fresh_for is not None and now - entry.checked_at >= source.fresh_for:
                return False
            if source.filed and not self._kit.store.at_hand(source.index.cid):
                return False
        for source in sources:
            if isinstance(source, Source):
                self._kit.marks.note(source.artifact_id)
        return True

    async def close(self) -> None:
        """End what goes on without a request."""
        await self._files.close()
        await self._pages.close()

    async def _answer(self, request: Request) -> Answer:
        target = self._kit.ecosystem.classify(request)
        match target:
            case Refusal():
                raise Refused(target)
            case Redirect(location=location, status=status):
                return Answer("redirect", Response(status_code=status, headers={"Location": location}))
            case Made(page=page):
                return Answer("made", page_response(request.method, request.headers, page, None, {}, page.status))
            case IndexPage():
                return await self._pages.answer(request, target)
            case IndexedFile():
                return await self._files.indexed(request, target)
            case Direct():
                return await self._files.direct(request, target)

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """A refusal in the protocol's own form."""
        if refusal.status >= 500:
            log.warning("refused", extra={"path": request.path, "why": refusal.detail})
        headers = dict(refusal.headers)
        if refusal.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
        page = self._kit.ecosystem.problem(request, refusal)
        return page_response(request.method, request.headers, page, None, headers, refusal.status)
