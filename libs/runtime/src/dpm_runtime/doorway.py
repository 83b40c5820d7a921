"""What a gateway says to a fetcher directly, on its socket, since it is to stand in no log: secrets.

It asks whether a private upstream lets a client in who shows credentials, and tells the queries of URLs, which may
be signatures. Both are in memory alone, on both sides.
"""

import asyncio
import logging
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dpm_core.artifacts import Want
from dpm_core.errors import Invalid, Unavailable
from dpm_core.registry import from_json, to_json
from dpm_runtime import unix_http
from dpm_runtime.credentials import same_site
from dpm_runtime.home import Home
from dpm_runtime.queries import Queries

PATH = "/upstream-status"
QUERY_PATH = "/query"
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
class WholeUrl:
    """Where a file is to be asked for, with its query."""

    url: str


class Upstream(Protocol):
    """Who can ask an upstream on behalf of somebody."""

    async def status_for(self, want: Want, authorization: str) -> int:
        """The status with which upstream answers whoever shows ``authorization``. Raises Unavailable."""


class Doorway:
    """The fetcher's side. Nothing is asked before ``open``; ``queries`` are what it was told."""

    def __init__(self) -> None:
        self.queries = Queries()
        self._upstream: Upstream | None = None
        self._private: Collection[str] = ()

    def open(self, upstream: Upstream, private: Collection[str]) -> None:
        """From now on ask ``upstream``, about the upstreams whose URLs are ``private``."""
        self._upstream, self._private = upstream, private

    @property
    def routes(self) -> list[Route]:
        """What the service's socket answers beside health and metrics."""
        return [
            Route(PATH, self._answer, methods=["POST"]),
            Route(QUERY_PATH, self._keep_query, methods=["POST"]),
        ]

    async def _keep_query(self, request: Request) -> Response:
        try:
            self.queries.keep(from_json(await request.body(), WholeUrl).url)
        except Invalid:
            return Response(status_code=400)
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        try:
            knock = from_json(await request.body(), Knock)
        except Invalid:
            return Response(status_code=400)  # without a word: the message would quote what was sent
        want = knock.want
        if not (want.private and want.ref.upstream in self._private and same_site(want.ref.upstream, want.url)):
            return Response(status_code=403)
        if self._upstream is None:
            return Response(status_code=503)
        try:
            status = await self._upstream.status_for(want, knock.authorization)
        except Unavailable as error:
            log.warning("a client's credentials could not be tried", extra={"why": error.what})
            return JSONResponse({"what": error.what}, status_code=503)
        return JSONResponse({"status": status})


class FetchersDoor:
    """The gateway's side: any fetcher of the node is asked, and all are told."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def tell_query(self, url: str) -> None:
        """Have the query of ``url``, a whole one, at hand where the file will be fetched. Never raises."""
        told = to_json(WholeUrl(url))
        sockets = self._home.run.glob(FETCHERS)
        asked = (unix_http.request(socket, QUERY_PATH, told) for socket in sockets)
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):  # who is away claims nothing either
                log.warning("a fetcher could not be told", extra={"why": str(answer)})

    async def status_for(self, want: Want, authorization: str) -> int:
        """The upstream's status for the client. Raises Unavailable if no fetcher can tell."""
        sockets = list(self._home.run.glob(FETCHERS))
        if not sockets:
            raise Unavailable("no fetcher is running", retry_after=5.0)
        status, body = await unix_http.request(
            random.choice(sockets), PATH, to_json(Knock(want, authorization)), seconds=ANSWER_SECONDS
        )
        if status != 200:
            raise Unavailable("the upstream cannot be asked about these credentials", retry_after=5.0)
        return from_json(body, Said).status
