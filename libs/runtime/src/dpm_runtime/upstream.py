"""The central repositories as an origin: HTTP, with deadlines, without surprises."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp

from dpm_core.artifacts import ANY_HOST, NODES, Lane, Validators, Want, authority
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import OriginKind, Source
from dpm_core.origins import Headed, NotHeld, NotModified, Opened
from dpm_runtime.bearer import Bearers, Right, identity_token
from dpm_runtime.challenges import challenges
from dpm_runtime.credentials import Credentials, same_site
from dpm_runtime.handed import Handed
from dpm_runtime.queries import Queries
from dpm_runtime.redirects import MAX_REDIRECTS, REDIRECTS, next_url
from dpm_runtime.upstream_answer import kept_fields, read_answer, saying_unavailable, told_digest, told_validators
from dpm_runtime.ways import Ways
from dpm_runtime.wire import FORBIDDEN, Deadlines, Errand, Wire

UNAUTHORIZED = 401
NO_SUCH_RANGE = 416
NOT_ALLOWED = frozenset({UNAUTHORIZED, FORBIDDEN})

NO_HEAD = frozenset({400, 405, 406, 501})
"""Statuses by which a server may say that it knows no HEAD."""

Authorization: TypeAlias = Callable[[Want, str], Awaitable[str | None]]
"""What to show for a want at a URL: a value of the field Authorization."""


class UpstreamOrigin:
    """An Origin over HTTP (RFC 9110). Use as an async context manager.

    ``named`` are hosts in private ranges that may be asked; the host of a want's own upstream may, too, unless a
    client named it. ``credentials`` are the node's, ``handed`` those of clients: they are shown to the upstream
    that they are for, on its own host, and to its token server, which is of its own domain or among the patterns
    that ``auth_hosts`` has for its URL. ``ways`` lead through proxies and say what is trusted. A want's URL is
    asked for with its query, if ``queries`` have one.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        *,
        named: Collection[str] = (),
        credentials: Credentials | None = None,
        handed: Handed | None = None,
        auth_hosts: Mapping[str, tuple[str, ...]] | None = None,
        ways: Ways | None = None,
        queries: Queries | None = None,
        agent: str = "dpm",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deadlines = deadlines
        self._credentials = credentials or Credentials({})
        self._handed = handed or Handed()
        self._ways = ways or Ways()
        self._queries = queries or Queries()
        self._agent = agent
        self._wire = Wire(deadlines, named, self._ways, clock)
        self._bearers = Bearers(self._wire, auth_hosts or {}, agent=agent, clock=clock)
        self._basic: set[str] = set()

    async def __aenter__(self) -> "UpstreamOrigin":
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._wire.__aexit__(kind, error, where)

    def down(self) -> Collection[str]:
        """The hosts that are not asked for now, since they did not answer."""
        return self._wire.down()

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        """Ask upstream for ``want``; see :class:`dpm_core.origins.Origin`.

        Redirects lead at most five times, only to the same host or to ``want.hosts``, never from https to http.
        A host that is down is not asked: after some failures only now and then, until it answers again. Who has
        not the part asked for is asked for the whole.
        """
        source = Source(OriginKind.UPSTREAM, authority(want.url))
        answer: Opened | NotModified | NotHeld | None = None
        if digests and not offset:
            answer = await self._compared(source, want, digests)
        answer = answer or await self._open(source, want, offset, held) or await self._open(source, want, 0, None)
        assert answer is not None
        return self._explained(want, answer) if isinstance(answer, NotHeld) else answer

    async def _open(
        self, source: Source, want: Want, offset: int, held: Validators | None
    ) -> Opened | NotModified | NotHeld | None:
        headers = _request_headers(want, offset, held, self._agent)
        with saying_unavailable(source.name):
            response = await self._follow("GET", want, headers, self._own)
        try:
            return read_answer(response, source, want, offset=offset, held=held, stall=self._deadlines.stall)
        except BaseException:
            response.close()
            raise

    async def _compared(
        self, source: Source, want: Want, digests: tuple[Digest, ...]
    ) -> NotModified | NotHeld | None:
        """What HEAD says of what is held with these digests; None if it does not say that it is still so."""
        if not want.digest_field:
            return None
        with saying_unavailable(source.name):
            response = await self._follow("HEAD", want, _head_headers(want, self._agent), self._own)
            response.close()
        if response.status == 200:
            current = told_digest(response, want) in digests
            return NotModified(source, told_validators(response.headers)) if current else None
        if response.status in NO_HEAD:
            return None
        answer = read_answer(response, source, want, stall=self._deadlines.stall)
        return answer if isinstance(answer, NotHeld) else None

    def _explained(self, want: Want, answer: NotHeld) -> NotHeld:
        """What upstream refuses because of credentials, said so."""
        if want.whose == NODES and answer.status in NOT_ALLOWED:
            self._credentials.refused(want.ref.upstream)
            return replace(answer, detail=f"{answer.detail} to this node's credentials")
        if want.whose and answer.status in NOT_ALLOWED:
            return replace(answer, detail=f"{answer.detail} to the client's credentials")
        if answer.status == UNAUTHORIZED:
            return replace(answer, detail=f"{answer.detail}: it wants credentials")
        return answer

    async def head(self, want: Want, authorization: str = "") -> Headed:
        """What upstream says by HEAD to whoever shows ``authorization``; "": what a fetch of the want would show.

        Follows redirects as ``open`` does. Raises Unavailable.
        An upstream that knows this node by its certificate is not asked (401): it might let anybody in with that.
        """
        if authorization and self._ways.certified(want.ref.upstream):
            return Headed(UNAUTHORIZED, None, "", ())
        with saying_unavailable(authority(want.url)):
            shown = _showing(authorization) if authorization else self._own
            response = await self._follow("HEAD", want, _head_headers(want, self._agent), shown)
            response.close()
        kept = kept_fields(response, (*want.keeps, *([want.digest_field] if want.digest_field else ())))
        media_type = response.headers.get("Content-Type", "application/octet-stream")
        return Headed(response.status, response.content_length, media_type, kept)

    async def status_for(self, want: Want, authorization: str) -> int:
        """The status with which upstream answers whoever shows ``authorization`` instead of the node's own.

        Follows redirects as ``open`` does. Raises Unavailable.
        An upstream that knows this node by its certificate is not asked (401): it might let anybody in with that.
        """
        if self._ways.certified(want.ref.upstream):
            return UNAUTHORIZED
        # who tells no digests may answer HEAD in strange ways, or not at all; of a body the first byte will do
        method, headers = "HEAD", _head_headers(want, self._agent)
        if not want.digest_field:
            method, headers = "GET", {**headers, "Range": "bytes=0-0"}
        with saying_unavailable(authority(want.url)):
            response = await self._follow(method, want, headers, _showing(authorization))
            response.close()
        # what is there and empty has no first byte; who may not have it is told that first (RFC 9110, 14.2)
        return 200 if response.status == NO_SUCH_RANGE else response.status

    async def _own(self, want: Want, url: str) -> str | None:
        """What is shown for a want: the node's credentials, or those of the client that it is fetched for."""
        upstream = want.ref.upstream
        if not want.whose or not same_site(upstream, url):
            return None
        if want.whose == NODES:
            return await self._credentials.authorization(upstream, url)
        shown = self._handed.shown(want.whose, upstream)
        if shown is None:
            what = "this fetcher was not told the client's credentials, or too long ago"
            raise Unavailable(what, retry_after=1.0, lasting=True)
        return shown

    async def _follow(
        self, method: str, want: Want, headers: dict[str, str], authorization: Authorization
    ) -> aiohttp.ClientResponse:
        url = self._queries.whole(want.url)
        listed = {authority(want.url), *want.hosts}
        own, certified = urlsplit(want.url).hostname, authorization == self._own and want.whose == NODES
        if not want.stranger:
            self._wire.configured(urlsplit(want.ref.upstream).hostname or "")
        for resent in range(MAX_REDIRECTS + 1):
            foreign = ANY_HOST in want.hosts and authority(url) not in listed and urlsplit(url).hostname != own
            errand = Errand(want.ref.upstream, certified, strict=want.stranger or foreign)
            response = await self._shown(method, url, headers, errand, resent, want, authorization)
            if response.status not in REDIRECTS:
                return response
            response.close()
            url = next_url(url, response.headers.get("Location", ""), listed)
        raise Unavailable(f"{authority(want.url)} redirected more than {MAX_REDIRECTS} times", lasting=True)

    async def _shown(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        errand: Errand,
        resent: int,
        want: Want,
        authorization: Authorization,
    ) -> aiohttp.ClientResponse:
        """One request, made again if upstream wants what it was not shown, and that can be had.

        Without a scope the credentials are shown unasked; with one, what the upstream took last.
        """
        secret = await authorization(want, url)
        errand = replace(errand, lent=bool(secret) and not errand.certified)

        async def ask(shown: str | None) -> aiohttp.ClientResponse:
            sent = {**headers, "Authorization": shown} if shown else headers
            return await self._wire.ask(method, url, sent, errand, resent=resent)

        if not want.scope or not same_site(errand.upstream, url):
            return await ask(secret)
        right = Right(errand.upstream, want.scope, secret or "")
        token = self._bearers.known(right)
        by_basic = secret if errand.upstream in self._basic else None
        response = await ask(f"Bearer {token}" if token else by_basic)
        if response.status != UNAUTHORIZED:
            return response
        response.close()  # its head says all
        fields = challenges(response.headers.getall("WWW-Authenticate", ()))
        wanted = {each.scheme: each for each in reversed(fields)}
        if "bearer" in wanted:
            new = await self._bearers.token(right, wanted["bearer"], token)
            return await ask(f"Bearer {new}") if new else response
        if "basic" in wanted and secret and by_basic is None and not identity_token(secret):
            self._basic.add(errand.upstream)
            return await ask(secret)
        return response


def _showing(authorization: str) -> Authorization:
    """``authorization`` for the upstream's own site, nothing for any other."""

    async def shown(want: Want, url: str) -> str | None:
        return authorization if authorization and same_site(want.ref.upstream, url) else None

    return shown


def _head_headers(want: Want, agent: str) -> dict[str, str]:
    return {"User-Agent": agent, **dict(want.headers), "Accept-Encoding": "identity"}


def _request_headers(want: Want, offset: int, held: Validators | None, agent: str) -> dict[str, str]:
    headers = {"User-Agent": agent, **dict(want.headers)}
    headers["Accept-Encoding"] = "gzip" if want.lane is Lane.INDEX and not offset else "identity"
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if held and (condition := held.strong or held.last_modified):
            headers["If-Range"] = condition
    elif held:
        if held.etag:
            headers["If-None-Match"] = held.etag
        if held.last_modified:
            headers["If-Modified-Since"] = held.last_modified
    return headers
