"""One request to an upstream: through its proxy, to no private address, and not while its host is down."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from dpm_core.artifacts import authority
from dpm_core.circuit import Circuits
from dpm_core.errors import Unavailable
from dpm_runtime.guard import ForbiddenAddress, GuardedResolver, Named, target
from dpm_runtime.meters import Kind, counter, observed
from dpm_runtime.upstream_answer import PROXY_UNAUTHORIZED, refused_by_proxy, retry_after
from dpm_runtime.upstream_telemetry import asking
from dpm_runtime.ways import Leg, Ways

DOWN = frozenset({500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530})
"""Statuses that may mean that the host is down: its own, and those of who stands before it."""

TOO_MANY = 429
FORBIDDEN = 403

log = logging.getLogger(__name__)
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


@dataclass(frozen=True)
class Errand:
    """On whose behalf something is asked for: the normalised URL of an upstream.

    ``certified``: with the node's certificate, if there is one for it, on the upstream's own site. ``strict``: not
    at a private address, whatever upstreams have one; those alone that the operator named beside them. ``lent``:
    with the credentials of one client, whose allowance it is that may be used up.
    """

    upstream: str
    certified: bool = False
    strict: bool = False
    lent: bool = False


class Wire:
    """The connections to upstreams. Use as an async context manager.

    ``named`` are hosts and addresses in private ranges that may be asked. ``ways`` lead through proxies and say
    what is trusted.
    """

    def __init__(
        self, deadlines: Deadlines, named: Collection[str], ways: Ways, clock: Callable[[], float]
    ) -> None:
        self._deadlines = deadlines
        self._named = Named(named)
        self._strictly_named = Named(named)
        self._ways = ways
        self._clock = clock
        self._circuits = Circuits()

    async def __aenter__(self) -> "Wire":
        self._resolver, self._strict_resolver = GuardedResolver(self._named), GuardedResolver(self._strictly_named)
        self._direct, self._strict = self._session(self._resolver), self._session(self._strict_resolver)
        # of these connections only the ends at proxies are looked up here, and a proxy may well be private
        self._through = self._session(aiohttp.ThreadedResolver())
        self._shown = ExitStack()
        self._shown.enter_context(_open.by(lambda: [(len(self.down()), {})]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._shown.close()
        for session in (self._direct, self._strict, self._through):
            await session.close()

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

    def configured(self, host: str) -> None:
        """``host`` is that of an upstream, which may be at a private address."""
        self._named.configured(host)

    async def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        errand: Errand,
        *,
        resent: int = 0,
        form: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer to one request, which is the one after ``resent`` others; redirects are not followed.

        ``form`` is sent as a body. Raises Unavailable, and what ``saying_unavailable`` makes one of.
        """
        to = target(url, self._strictly_named if errand.strict else self._named)
        leg = await self._ways.leg(errand.upstream, url, private=errand.certified)
        if leg.proxy is not None:
            resolver = self._strict_resolver if errand.strict else self._resolver
            await resolver.refuse_known(to.raw_host or "")
        with asking(method, url, resent) as asked:
            send = partial(
                self._send, method, to, {**headers, **asked.headers}, leg, strict=errand.strict, form=form
            )
            response = await self._if_up(url, send, lent=errand.lent)
            asked.answered(response.status)
        return response

    async def _if_up(
        self, url: str, send: Callable[[], Awaitable[aiohttp.ClientResponse]], *, lent: bool
    ) -> aiohttp.ClientResponse:
        """One request, if the host's circuit lets it through; what comes of it is told to the circuit."""
        host, circuits = authority(url), self._circuits
        if wait := circuits.ask(host, self._clock()):
            _refused.add(1, {"server.address": host})
            paused = circuits.is_paused(host)
            raise Unavailable(
                f"{host} {'has too much to do' if paused else 'is down'}, and will be asked again in {wait:.0f} s",
                retry_after=max(1.0, wait),
                status=TOO_MANY if paused else None,
            )
        try:
            async with asyncio.timeout(self._deadlines.connect + self._deadlines.first_byte):
                response = await send()
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
        if response.status in DOWN or (response.status == TOO_MANY and pause is not None and not lent):
            self._failed(host, url, pause if response.status == TOO_MANY else None)
        else:
            if circuits.is_open(host):
                log.info("an upstream is back", extra={"host": host})
            circuits.answered(host)
        return response

    async def _send(
        self,
        method: str,
        to: URL,
        headers: dict[str, str],
        leg: Leg,
        *,
        strict: bool,
        form: Mapping[str, str] | None,
    ) -> aiohttp.ClientResponse:
        if leg.proxy is None:
            session = self._strict if strict else self._direct
            return await session.request(
                method, to, headers=headers, data=form, allow_redirects=False, ssl=leg.tls
            )
        proof = {"Proxy-Authorization": leg.shown} if leg.shown else {}
        tunnelled = to.scheme == "https"
        try:
            response = await self._through.request(
                method,
                to,
                headers=headers if tunnelled else {**headers, **proof},
                data=form,
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
