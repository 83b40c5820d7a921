"""The central repositories as an origin: HTTP, with deadlines, without surprises."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from yarl import URL

from dpm_core.artifacts import Lane, Validators, Want, authority
from dpm_core.circuit import Circuits
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import OriginKind, Source
from dpm_core.ports import NotHeld, NotModified, Opened
from dpm_runtime.credentials import Credentials, same_site
from dpm_runtime.guard import ForbiddenAddress, GuardedResolver, Named, target
from dpm_runtime.meters import Kind, counter, histogram, observed
from dpm_runtime.queries import Queries
from dpm_runtime.upstream_answer import (
    PROXY_UNAUTHORIZED,
    read_answer,
    refused_by_proxy,
    retry_after,
    saying_unavailable,
)
from dpm_runtime.ways import Leg, Ways

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DOWN = frozenset({500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530})
"""Statuses that may mean that the host is down: its own, and those of who stands before it."""

TOO_MANY = 429

UNAUTHORIZED = 401
NO_SUCH_RANGE = 416
FORBIDDEN = 403
NOT_ALLOWED = frozenset({UNAUTHORIZED, FORBIDDEN})

Authorization: TypeAlias = Callable[[Want, str], Awaitable[str | None]]
"""What to show for a want at a URL: a value of the field Authorization."""

log = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)
_durations = histogram(
    "http.client.request.duration",
    "s",
    "requests to upstream, until the answer's headers",
    http__request__method="`GET`",
    server__address="the upstream's host",
    server__port="its port",
    http__response__status_code="absent if there was no answer",
    error__type="what it failed with, or the status from 400 on; absent if it did not",
)
_refused = counter(
    "dpm.upstream.circuit.refused",
    "{request}",
    "requests that were not made, because the upstream's circuit is open",
    server__address="the upstream's host, with its port unless that is the default",
)
_open = observed(
    "dpm.upstream.circuit.open",
    Kind.GAUGE,
    "{host}",
    "upstream hosts that are not asked for now, since they did not answer; the log names them",
)


@dataclass(frozen=True)
class Deadlines:
    """How long an upstream may take, in seconds: to connect, to begin its answer, between two reads."""

    connect: float = 5.0
    first_byte: float = 20.0
    stall: float = 30.0


class UpstreamOrigin:
    """An Origin over HTTP (RFC 9110). Use as an async context manager.

    ``named`` are hosts in private ranges that may be asked; the host of a want's own upstream always may,
    since the operator configured it. ``credentials`` are shown to a private upstream, on its own host alone.
    ``ways`` lead through proxies and say what is trusted. A want's URL is asked for with its query, if ``queries``
    have one.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        *,
        named: Collection[str] = (),
        credentials: Credentials | None = None,
        ways: Ways | None = None,
        queries: Queries | None = None,
        agent: str = "dpm",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deadlines = deadlines
        self._named = Named(named)
        self._credentials = credentials or Credentials({})
        self._ways = ways or Ways()
        self._queries = queries or Queries()
        self._agent = agent
        self._clock = clock
        self._circuits = Circuits()

    async def __aenter__(self) -> "UpstreamOrigin":
        self._resolver = GuardedResolver(self._named)
        self._direct = self._session(self._resolver)
        # of these connections only the ends at proxies are looked up here, and a proxy may well be private
        self._through = self._session(aiohttp.ThreadedResolver())
        self._shown = ExitStack()
        self._shown.enter_context(_open.by(lambda: [(len(self.down()), {})]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._shown.close()
        await self._direct.close()
        await self._through.close()

    def _session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        deadlines = self._deadlines
        return aiohttp.ClientSession(
            connector=_Connector(limit=0, resolver=resolver, ttl_dns_cache=30),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=deadlines.connect, sock_connect=deadlines.connect, sock_read=deadlines.stall
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def down(self) -> Collection[str]:
        """The hosts that are not asked for now, since they did not answer."""
        return self._circuits.open(self._clock()).keys()

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None
    ) -> Opened | NotModified | NotHeld:
        """Ask upstream for ``want``; see :class:`dpm_core.ports.Origin`.

        Redirects lead at most five times, only to the same host or to ``want.hosts``, never from https to http.
        A host that is down is not asked: after some failures only now and then, until it answers again. Who has
        not the part asked for is asked for the whole.
        """
        source = Source(OriginKind.UPSTREAM, authority(want.url))
        answer = await self._open(source, want, offset, held)
        if answer is None:
            answer = await self._open(source, want, 0, None)
        assert answer is not None
        return answer

    async def _open(
        self, source: Source, want: Want, offset: int, held: Validators | None
    ) -> Opened | NotModified | NotHeld | None:
        headers = _request_headers(want, offset, held, self._agent)
        with saying_unavailable(source.name):
            response = await self._follow(want, headers, self._own)
        try:
            answer = read_answer(response, source, want, offset=offset, held=held, stall=self._deadlines.stall)
        except BaseException:
            response.close()
            raise
        return self._explained(want, answer) if isinstance(answer, NotHeld) else answer

    def _explained(self, want: Want, answer: NotHeld) -> NotHeld:
        """What upstream refuses because of credentials, said so."""
        if want.private and answer.status in NOT_ALLOWED:
            self._credentials.refused(want.ref.upstream)
            return replace(answer, detail=f"{answer.detail} to this node's credentials")
        if answer.status == UNAUTHORIZED:
            return replace(answer, detail=f"{answer.detail}: it wants credentials")
        return answer

    async def status_for(self, want: Want, authorization: str) -> int:
        """The status with which upstream answers whoever shows ``authorization`` instead of the node's own.

        Follows redirects as ``open`` does. Raises Unavailable.
        An upstream that knows this node by its certificate is not asked (401): it might let anybody in with that.
        """
        if self._ways.certified(want.ref.upstream):
            return UNAUTHORIZED

        async def shown(want: Want, url: str) -> str | None:
            return authorization if same_site(want.ref.upstream, url) else None

        # not HEAD, which servers answer in strange ways, or not at all; of a body the first byte will do
        headers = {**_request_headers(want, 0, None, self._agent), "Range": "bytes=0-0"}
        with saying_unavailable(authority(want.url)):
            response = await self._follow(want, headers, shown)
            response.close()
        # what is there and empty has no first byte; who may not have it is told that first (RFC 9110, 14.2)
        return 200 if response.status == NO_SUCH_RANGE else response.status

    async def _own(self, want: Want, url: str) -> str | None:
        return await self._credentials.authorization(want.ref.upstream, url) if want.private else None

    async def _follow(
        self, want: Want, headers: dict[str, str], authorization: Authorization
    ) -> aiohttp.ClientResponse:
        url = self._queries.whole(want.url)
        allowed = {authority(want.url), *want.hosts}
        self._named.configured(urlsplit(want.ref.upstream).hostname or "")
        for resent in range(MAX_REDIRECTS + 1):
            to = target(url, self._named)
            leg = await self._ways.leg(want.ref.upstream, url, private=want.private)
            if leg.proxy is not None:
                await self._resolver.refuse_known(to.raw_host or "")
            shown = await authorization(want, url)
            with _asking(url, resent) as asked:
                sent = {**headers, **asked.headers, **({"Authorization": shown} if shown else {})}
                response = await self._ask(url, to, sent, leg)
                asked.answered(response.status)
            if response.status not in REDIRECTS:
                return response
            response.close()
            url = _next_url(url, response.headers.get("Location", ""), allowed)
        raise Unavailable(f"{authority(want.url)} redirected more than {MAX_REDIRECTS} times", lasting=True)

    async def _ask(self, url: str, to: URL, headers: dict[str, str], leg: Leg) -> aiohttp.ClientResponse:
        """One request, if the host's circuit lets it through; what comes of it is told to the circuit."""
        host, circuits = authority(url), self._circuits
        if wait := circuits.ask(host, self._clock()):
            _refused.add(1, {"server.address": host})
            raise Unavailable(
                f"{host} is down, and will be asked again in {wait:.0f} s", retry_after=max(1.0, wait)
            )
        try:
            async with asyncio.timeout(self._deadlines.connect + self._deadlines.first_byte):
                response = await self._get(to, headers, leg)
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(getattr(error, "os_error", None), ForbiddenAddress):
                circuits.dropped(host)
            elif isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
                self._failed(host)
            else:
                self._failed(host, url)
            raise
        except BaseException:
            circuits.dropped(host)
            raise
        pause = retry_after(response.headers.get("Retry-After"), time.time())
        if response.status in DOWN or (response.status == TOO_MANY and pause is not None):
            self._failed(host, url, pause if response.status == TOO_MANY else None)
        else:
            if circuits.is_open(host):
                log.info("an upstream is back", extra={"host": host})
            circuits.answered(host)
        return response

    async def _get(self, to: URL, headers: dict[str, str], leg: Leg) -> aiohttp.ClientResponse:
        if leg.proxy is None:
            return await self._direct.get(to, headers=headers, allow_redirects=False, ssl=leg.tls)
        proof = {"Proxy-Authorization": leg.shown} if leg.shown else {}
        tunnelled = to.scheme == "https"
        try:
            response = await self._through.get(
                to,
                headers=headers if tunnelled else {**headers, **proof},
                allow_redirects=False,
                ssl=leg.tls,
                proxy=leg.proxy.url,
                proxy_headers=proof if tunnelled else None,
            )
        except aiohttp.ClientHttpProxyError as error:
            if error.status in (PROXY_UNAUTHORIZED, FORBIDDEN):
                raise refused_by_proxy(leg.proxy.name, error.status) from None
            raise
        if response.status == PROXY_UNAUTHORIZED:  # whoever sent it: to upstream nobody shows this field
            response.close()
            raise refused_by_proxy(leg.proxy.name, response.status)
        return response

    def _failed(self, host: str, url: str | None = None, pause: float | None = None) -> None:
        before = self._circuits.is_open(host)
        self._circuits.failed(host, self._clock(), url, pause)
        if not before and self._circuits.is_open(host):
            log.warning("an upstream is down, and asked now and then only", extra={"host": host})


class _Connector(aiohttp.TCPConnector):
    """A connection on which something came that nobody asked for is not used again: it would pass for an answer.

    Where a server sends more than it announced, that is the rest of a body, or what somebody put there.
    """

    async def _get(self, key: Any, traces: Any) -> Any:
        while connection := await super()._get(key, traces):
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class _Asked:
    """One request to an upstream, as telemetry sees it."""

    def __init__(self, span: Span, about: dict[str, str | int]) -> None:
        self._span = span
        self._about = about
        self.headers: dict[str, str] = {}
        # the trace's ids only, and only if somebody records it: an upstream is a stranger
        if span.is_recording():
            TraceContextTextMapPropagator().inject(self.headers)
            self.headers.pop("tracestate", None)

    def answered(self, status: int) -> None:
        """The answer's headers have come."""
        self._about["http.response.status_code"] = status
        self._span.set_attribute("http.response.status_code", status)
        if status >= 400:
            self.failed(str(status))

    def failed(self, kind: str) -> None:
        """There is no answer, or a bad one."""
        self._about["error.type"] = kind
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


@contextmanager
def _asking(url: str, resent: int) -> Iterator[_Asked]:
    """A span and a duration for one request, by the semantic conventions for HTTP clients."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    about: dict[str, str | int] = {
        "http.request.method": "GET",
        "server.address": parts.hostname or "",
        "server.port": port,
    }
    more: dict[str, str | int] = {
        "url.full": parts._replace(netloc=authority(url), query="", fragment="").geturl()
    }
    if resent:
        more["http.request.resend_count"] = resent
    begun = time.perf_counter()
    with _tracer.start_as_current_span(
        "GET", kind=SpanKind.CLIENT, attributes={**about, **more}, record_exception=False
    ) as span:
        asked = _Asked(span, about)
        try:
            yield asked
        except Exception as error:
            asked.failed(type(error).__name__)
            raise
        finally:
            _durations.record(time.perf_counter() - begun, about)


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


def _next_url(url: str, location: str, allowed: Collection[str]) -> str:
    from_host = authority(url)
    try:
        to = urljoin(url, location)
        parts = urlsplit(to)
        host = authority(to)
    except (Invalid, ValueError) as error:
        raise Unavailable(f"{from_host} redirected to something that is no URL", lasting=True) from error
    if not location:
        raise Unavailable(f"{from_host} redirected without saying where to", lasting=True)
    if parts.scheme not in ("http", "https") or (url.startswith("https:") and parts.scheme != "https"):
        scheme = urlsplit(url).scheme
        raise Unavailable(f"{from_host} redirected from {scheme} to {parts.scheme}", lasting=True)
    if host not in allowed and parts.hostname != urlsplit(url).hostname:
        what = f"{from_host} redirected to {host}, which is not among the hosts it may lead to"
        raise Unavailable(what, lasting=True)
    return to
