"""What a gateway says to a fetcher directly, on its socket, since it is to stand in no log: secrets.

It asks what upstream says to a client who shows credentials, or to one who shows none; and it tells the queries of
URLs, which may be signatures, and the credentials of clients that something is to be fetched with. All of it is in
memory alone, on both sides.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dpm_core.artifacts import NODES, Want
from dpm_core.errors import Invalid, Unavailable
from dpm_core.origins import Headed
from dpm_core.registry import from_json, to_json
from dpm_runtime import unix_http
from dpm_runtime.credentials import same_site
from dpm_runtime.handed import Handed
from dpm_runtime.home import Home
from dpm_runtime.queries import Queries

PATH = "/upstream-status"
HEAD_PATH = "/upstream-head"
QUERY_PATH = "/query"
CREDENTIALS_PATH = "/credentials"
FETCHERS = "fetcher-[0-9]*.sock"

ANSWER_SECONDS = 40.0
"""Longer than an upstream may take to answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Knock:
    """A client that wants something of a private upstream shows an Authorization field."""

    want: Want
    authorization: str


@dataclass(frozen=True)
class Said:
    """The upstream's status for it."""

    status: int


@dataclass(frozen=True)
class Shown:
    """The credentials of a client, under a handle, for an upstream alone."""

    handle: str
    upstream: str
    authorization: str

    def __repr__(self) -> str:
        return f"Shown({self.handle!r}, {self.upstream!r})"


@dataclass(frozen=True)
class Why:
    """Why there is no answer."""

    what: str = "the upstream cannot be asked"
    advice: str = ""


@dataclass(frozen=True)
class WholeUrl:
    """Where a file is to be asked for, with its query."""

    url: str


class Upstream(Protocol):
    """Who can ask an upstream on behalf of somebody."""

    async def status_for(self, want: Want, authorization: str) -> int:
        """The status with which upstream answers whoever shows ``authorization``. Raises Unavailable."""

    async def head(self, want: Want, authorization: str = "") -> Headed:
        """What upstream says by HEAD to whoever shows ``authorization``; "": what a fetch of the want would show.

        Raises Unavailable.
        """


Allow: TypeAlias = Callable[[str], bool]
"""Whether an upstream, by its URL, is one that clients may name."""


class Doorway:
    """The fetcher's side. Nothing is asked before ``open``; ``queries`` and ``handed`` are what it was told."""

    def __init__(self) -> None:
        self.queries = Queries()
        self.handed = Handed()
        self._upstream: Upstream | None = None
        self._private: Collection[str] = ()
        self._allow: Allow = lambda upstream: False

    def open(self, upstream: Upstream, private: Collection[str], allow: Allow = lambda upstream: False) -> None:
        """From now on ask ``upstream``, about the upstreams whose URLs are ``private``.

        Also about those that ``allow``, which may take a moment, and of which not all is private.
        """
        self._upstream, self._private, self._allow = upstream, private, allow

    @property
    def routes(self) -> list[Route]:
        """What the service's socket answers beside health and metrics."""
        return [
            Route(PATH, self._answer, methods=["POST"]),
            Route(HEAD_PATH, self._answer_head, methods=["POST"]),
            Route(QUERY_PATH, self._keep_query, methods=["POST"]),
            Route(CREDENTIALS_PATH, self._keep_credentials, methods=["POST"]),
        ]

    async def _keep_query(self, request: Request) -> Response:
        try:
            self.queries.keep(from_json(await request.body(), WholeUrl).url)
        except Invalid:
            return Response(status_code=400)
        return Response(status_code=204)

    async def _keep_credentials(self, request: Request) -> Response:
        try:
            shown = from_json(await request.body(), Shown)
        except Invalid:
            return Response(status_code=400)
        if shown.handle in ("", NODES) or not await self._known(shown.upstream):
            return Response(status_code=403)
        self.handed.keep(shown.handle, shown.upstream, shown.authorization)
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        async def status(upstream: Upstream, knock: Knock) -> Said:
            return Said(await upstream.status_for(knock.want, knock.authorization))

        return await self._asked(request, status, shown=True)

    async def _answer_head(self, request: Request) -> Response:
        async def head(upstream: Upstream, knock: Knock) -> Headed:
            return await upstream.head(knock.want, knock.authorization)

        return await self._asked(request, head, shown=False)

    async def _asked(
        self, request: Request, ask: Callable[[Upstream, Knock], Awaitable[object]], *, shown: bool
    ) -> Response:
        """``shown``: it is about credentials, so without them there is no question."""
        try:
            knock = from_json(await request.body(), Knock)
        except Invalid:
            return Response(status_code=400)  # without a word: the message would quote what was sent
        want = knock.want
        if not (same_site(want.ref.upstream, want.url) and await self._known(want.ref.upstream)):
            return Response(status_code=403)
        if (shown and want.private and not knock.authorization) or (knock.authorization and not want.private):
            return Response(status_code=403)
        if self._upstream is None:
            return Response(status_code=503)
        try:
            answer = await ask(self._upstream, knock)
        except Unavailable as error:
            log.warning("a client's question could not be put to upstream", extra={"why": error.what})
            return Response(to_json(Why(error.what, error.advice)), 503, media_type="application/json")
        return Response(to_json(answer), media_type="application/json")

    async def _known(self, upstream: str) -> bool:
        return upstream in self._private or await asyncio.to_thread(self._allow, upstream)


class FetchersDoor:
    """The gateway's side: any fetcher of the node is asked, and all are told."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def tell_query(self, url: str) -> None:
        """Have the query of ``url``, a whole one, at hand where the file will be fetched. Never raises."""
        await self._tell(QUERY_PATH, to_json(WholeUrl(url)))

    async def tell_credentials(self, handle: str, upstream: str, authorization: str) -> None:
        """Have a client's credentials for ``upstream`` at hand, under ``handle``, where it is fetched.

        Never raises.
        """
        await self._tell(CREDENTIALS_PATH, to_json(Shown(handle, upstream, authorization)))

    async def _tell(self, path: str, told: bytes) -> None:
        sockets = self._home.run.glob(FETCHERS)
        asked = (unix_http.request(socket, path, told) for socket in sockets)
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):  # who is away claims nothing either
                log.warning("a fetcher could not be told", extra={"why": str(answer)})

    async def status_for(self, want: Want, authorization: str) -> int:
        """The upstream's status for the client. Raises Unavailable if no fetcher can tell."""
        return from_json(await self._ask(PATH, Knock(want, authorization)), Said).status

    async def head(self, want: Want, authorization: str = "") -> Headed:
        """What upstream says by HEAD to the client; without its ``authorization`` to who fetches the want.

        Raises Unavailable if no fetcher can tell.
        """
        return from_json(await self._ask(HEAD_PATH, Knock(want, authorization)), Headed)

    async def _ask(self, path: str, knock: Knock) -> bytes:
        sockets = list(self._home.run.glob(FETCHERS))
        if not sockets:
            raise Unavailable("no fetcher is running", retry_after=5.0)
        status, body = await unix_http.request(
            random.choice(sockets), path, to_json(knock), seconds=ANSWER_SECONDS
        )
        if status != 200:
            why = from_json(body, Why) if status == 503 and body else Why()
            raise Unavailable(why.what, advice=why.advice, retry_after=5.0)
        return body
