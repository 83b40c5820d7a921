"""The central repositories as an origin: HTTP, with deadlines, without surprises."""

import asyncio
import email.utils
import re
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import aiohttp
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dpm_core.artifacts import Lane, Validators, Want, authority
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import OriginKind, Source
from dpm_core.ports import NotHeld, NotModified, Opened
from dpm_runtime.guard import ForbiddenAddress, GuardedResolver, refuse_private
from dpm_runtime.meters import histogram

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_HELD = frozenset({401, 402, 403, 404, 410, 451})
"""Statuses by which an upstream says that we do not get it from there, now or in a minute."""

LONGEST_RETRY_SECONDS = 86_400.0
"""A Retry-After beyond a day is taken for a day."""

_SECONDS = re.compile(r"\s*[0-9]+\s*\Z")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)\Z")
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


@dataclass(frozen=True)
class Deadlines:
    """How long an upstream may take, in seconds: to connect, to begin its answer, between two reads."""

    connect: float = 5.0
    first_byte: float = 20.0
    stall: float = 30.0


class UpstreamOrigin:
    """An Origin over HTTP (RFC 9110). Use as an async context manager.

    ``named`` are hosts in private ranges that may be asked; the host of a want's own upstream always may,
    since the operator configured it.
    """

    def __init__(self, deadlines: Deadlines, *, named: Collection[str] = (), agent: str = "dpm") -> None:
        self._deadlines = deadlines
        self._named = set(named)
        self._agent = agent

    async def __aenter__(self) -> "UpstreamOrigin":
        self._resolver = GuardedResolver(self._named)
        self._connector = aiohttp.TCPConnector(limit=0, resolver=self._resolver, ttl_dns_cache=30)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._deadlines.connect, sock_read=self._deadlines.stall
        )
        self._plain, self._unpacking = (
            aiohttp.ClientSession(
                connector=self._connector,
                connector_owner=False,
                timeout=timeout,
                auto_decompress=unpack,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            for unpack in (False, True)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._plain.close()
        await self._unpacking.close()
        await self._connector.close()

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None
    ) -> Opened | NotModified | NotHeld:
        """Ask upstream for ``want``; see :class:`dpm_core.ports.Origin`.

        Redirects lead at most five times, only to the same host or to ``want.hosts``, never from https to http.
        """
        headers = _request_headers(want, offset, held, self._agent)
        source = Source(OriginKind.UPSTREAM, authority(want.url))
        async with _saying_unavailable(source.name):
            response = await self._follow(want, headers)
        try:
            return _opened(response, source, want, offset)
        except BaseException:
            response.close()
            raise

    async def _follow(self, want: Want, headers: dict[str, str]) -> aiohttp.ClientResponse:
        session = self._unpacking if want.lane is Lane.INDEX else self._plain
        url = want.url
        allowed = {authority(want.url), *want.hosts}
        self._named.add(urlsplit(want.ref.upstream).hostname or "")
        for resent in range(MAX_REDIRECTS + 1):
            _refuse_literal(url, self._named)
            with _asking(url, resent) as asked:
                async with asyncio.timeout(self._deadlines.connect + self._deadlines.first_byte):
                    response = await session.get(url, headers={**headers, **asked.headers}, allow_redirects=False)
                asked.answered(response.status)
            if response.status not in REDIRECTS:
                return response
            response.close()
            url = _next_url(url, response.headers.get("Location", ""), allowed)
        raise Unavailable(f"{authority(want.url)} redirected more than {MAX_REDIRECTS} times")


class _Asked:
    """One request to an upstream, as telemetry sees it."""

    def __init__(self, span: Span, about: dict[str, str | int]) -> None:
        self._span = span
        self._about = about
        self.headers: dict[str, str] = {}
        # the trace's ids only, and only if somebody records it: an upstream is a stranger
        if span.get_span_context().trace_flags.sampled:
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


def _refuse_literal(url: str, named: Collection[str]) -> None:
    """A host that is an address never meets the resolver, so it is looked at here."""
    host = urlsplit(url).hostname or ""
    if ":" in host or host.replace(".", "").isdigit():
        try:
            refuse_private(host, [host], named)
        except ValueError as error:
            raise Unavailable(f"{host} is no address") from error


def _next_url(url: str, location: str, allowed: Collection[str]) -> str:
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        host = authority(target)
    except (Invalid, ValueError) as error:
        raise Unavailable(f"{authority(url)} redirected to something that is no URL") from error
    if parts.scheme not in ("http", "https") or (url.startswith("https:") and parts.scheme != "https"):
        raise Unavailable(f"{authority(url)} redirected from https to {parts.scheme}")
    if host not in allowed and parts.hostname != urlsplit(url).hostname:
        raise Unavailable(f"{authority(url)} redirected to {host}, which is not among the hosts it may lead to")
    return target


def _opened(
    response: aiohttp.ClientResponse, source: Source, want: Want, offset: int
) -> Opened | NotModified | NotHeld:
    status = response.status
    validators = Validators(response.headers.get("ETag"), response.headers.get("Last-Modified"))
    if status == 304:
        response.close()
        return NotModified(source, validators)
    if status in NOT_HELD:
        response.close()
        return NotHeld(source, f"{source.name} answered {status} {response.reason or ''}".rstrip(), status)
    if status == 200:
        encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
        length = None if encoded else response.content_length
        return Opened(source, 0, length, _media_type(response), validators, _HttpStream(response, source.name))
    if status == 206 and offset:
        match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if match and int(match[1]) == offset:
            length = None if match[3] == "*" else int(match[3])
            stream = _HttpStream(response, source.name)
            return Opened(source, offset, length, _media_type(response), validators, stream)
    raise Unavailable(
        f"{source.name} answered {status} {response.reason or ''}".rstrip(),
        retry_after=retry_after(response.headers.get("Retry-After"), time.time()),
    )


def _media_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "application/octet-stream")


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After field (RFC 9110, 10.2.3: seconds or a date) asks to wait; None if unreadable."""
    if value is None:
        return None
    if _SECONDS.match(value):
        return min(float(value), LONGEST_RETRY_SECONDS)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_SECONDS)


@dataclass
class _HttpStream:
    """The body of an answer; what aiohttp raises becomes Unavailable."""

    response: aiohttp.ClientResponse
    name: str
    _open: bool = field(default=True)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with _saying_unavailable(self.name):
            async for data in self.response.content.iter_any():
                yield data

    async def close(self) -> None:
        self.response.close()


@asynccontextmanager
async def _saying_unavailable(name: str) -> AsyncIterator[None]:
    try:
        yield
    except (ForbiddenAddress, Unavailable):
        raise
    except TimeoutError as error:
        raise Unavailable(f"{name} did not answer in time") from error
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise Unavailable(f"{name} has no certificate that is trusted here", advice="check its CA") from error
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, ForbiddenAddress):
            raise error.os_error from error
        raise Unavailable(f"{name} cannot be reached: {error.os_error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{name} broke off: {type(error).__name__}") from error
