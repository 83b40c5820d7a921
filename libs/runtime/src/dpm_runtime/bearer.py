"""Tokens of registries: got when a registry asks for one, kept in memory until shortly before they expire.

The flow is that of https://distribution.github.io/distribution/spec/auth/token/ with tokens of RFC 6750; for an
identity token that of https://distribution.github.io/distribution/spec/auth/oauth/. Neither credentials nor tokens
are said anywhere.
"""

import asyncio
import base64
import hashlib
import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlencode, urlsplit, urlunsplit
from weakref import WeakValueDictionary

import msgspec
from publicsuffixlist import PublicSuffixList

from dpm_core.artifacts import authority
from dpm_core.errors import Invalid, Unavailable
from dpm_core.host_patterns import matches
from dpm_runtime.challenges import Challenge
from dpm_runtime.docker_login import IDENTITY
from dpm_runtime.upstream_answer import retry_after, saying_unavailable
from dpm_runtime.wire import Errand, Wire

LASTS_SECONDS = 60.0
"""A token whose server does not say how long it lasts."""

LONGEST_SECONDS = 3600.0
"""A token is asked for anew after so long, whatever its server says of it."""

EARLY_SECONDS = 10.0
"""A token is not shown any more so long before it expires, or a fifth of its time, if that is less."""

KEPT = 4_096
"""Tokens are kept for so many repositories and credentials."""

LARGEST_BYTES = 256 * 1024
"""Of a token server's answer."""

REFUSED = frozenset({400, 401, 403, 404})
"""Statuses by which a token server says that there is no token for these credentials."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
"""RFC 6750, 2.1."""


@dataclass(frozen=True)
class Right:
    """What a token is for: a scope of an upstream (its URL), for who shows ``authorization``, "" for nobody."""

    upstream: str
    scope: str
    authorization: str = ""

    @property
    def key(self) -> bytes:
        """A name for it in which nobody can read the credentials."""
        return hashlib.sha256("\0".join((self.upstream, self.scope, self.authorization)).encode()).digest()

    def __repr__(self) -> str:
        return f"Right({self.upstream!r}, {self.scope!r})"


class _Given(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


class Bearers:
    """The tokens that upstreams' token servers gave, in memory alone.

    ``auth_hosts`` are patterns of the hosts of token servers, by upstreams' URLs: beside those of the upstream's
    own domain.
    """

    def __init__(
        self,
        wire: Wire,
        auth_hosts: Mapping[str, tuple[str, ...]],
        *,
        agent: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wire = wire
        self._auth_hosts = dict(auth_hosts)
        self._agent = agent
        self._clock = clock
        self._tokens: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._asking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def known(self, right: Right) -> str | None:
        """A token that is here for it."""
        token, until = self._tokens.get(right.key, ("", 0.0))
        return token if token and self._clock() < until else None

    async def token(self, right: Right, challenge: Challenge, refused: str | None) -> str | None:
        """A token for it, as the challenge says where to get one; other than ``refused``, which is of no use.

        None if there is none for these credentials. Who asks for the same at the same time gets the same. Raises
        Unavailable, with advice where its server is not one that this upstream's credentials may be sent to.
        """
        lock = self._asking.setdefault(right.key, asyncio.Lock())
        async with lock:
            token = self.known(right)
            if token is not None and token != refused:
                return token
            self._tokens.pop(right.key, None)
            given = await self._fetched(right, challenge)
            if given is None:
                return None
            token = given.token or given.access_token
            lasts = min(given.expires_in or LASTS_SECONDS, LONGEST_SECONDS)
            self._tokens[right.key] = (token, self._clock() + lasts - min(EARLY_SECONDS, lasts / 5))
            while len(self._tokens) > KEPT:
                self._tokens.popitem(last=False)
            return token

    async def _fetched(self, right: Right, challenge: Challenge) -> _Given | None:
        realm = challenge.params.get("realm", "")
        host = self._trusted(right.upstream, realm)
        asked = [("service", service)] if (service := challenge.params.get("service")) else []
        asked += [("scope", each) for each in right.scope.split(" ")]
        parts, identity = urlsplit(realm), identity_token(right.authorization)
        query = "&".join(filter(None, (parts.query, "" if identity else urlencode(asked))))
        url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
        headers = {"User-Agent": self._agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        form = None
        if identity:
            form = {**dict(asked), "grant_type": "refresh_token", "client_id": "dpm", "refresh_token": identity}
        elif right.authorization.startswith("Basic "):
            headers["Authorization"] = right.authorization
        strict = parts.hostname != urlsplit(right.upstream).hostname
        errand = Errand(right.upstream, strict=strict, lent=bool(right.authorization))
        with saying_unavailable(host):
            response = await self._wire.ask("POST" if form else "GET", url, headers, errand, form=form)
            try:
                if response.status in REFUSED:
                    return None
                if response.status != 200:
                    raise Unavailable(
                        f"{host} answered {response.status} when it was asked for a token",
                        status=response.status,
                        retry_after=retry_after(response.headers.get("Retry-After"), time.time()),
                        lasting=response.status < 500 and response.status != 429,
                    )
                body = await response.content.read(LARGEST_BYTES + 1)
                while len(body) <= LARGEST_BYTES and (more := await response.content.read(LARGEST_BYTES)):
                    body += more
            finally:
                response.close()
        return _read(host, body)

    def _trusted(self, upstream: str, realm: str) -> str:
        """The authority of a token server, if the upstream's credentials may be sent there. Raises Unavailable."""
        name = authority(upstream)
        try:
            host, parts = authority(realm), urlsplit(realm)
        except Invalid:
            raise Unavailable(f"{name} does not say where its tokens are to be had", lasting=True) from None
        if parts.scheme not in ("https", urlsplit(upstream).scheme) or parts.username or parts.password:
            raise Unavailable(f"{name} has its tokens at {host} in a way that is not safe", lasting=True)
        at, own = parts.hostname or "", urlsplit(upstream).hostname or ""
        if at != own and not _same_domain(at, own) and not self._named(upstream, at, host):
            raise Unavailable(
                f"{name} has its tokens at {host}, which is not of its own domain",
                advice=f"if that is right, name it in auth_hosts of the registry {name}",
                lasting=True,
            )
        return host

    def _named(self, upstream: str, *hosts: str) -> bool:
        return any(matches(host, self._auth_hosts.get(upstream, ())) for host in hosts)


def identity_token(authorization: str) -> str:
    """The identity token that ``docker login`` kept instead of a password, "" if it is none."""
    kind, _, packed = authorization.partition(" ")
    with suppress(ValueError):
        user, _, token = base64.b64decode(packed).decode().partition(":")
        return token if kind == "Basic" and user == IDENTITY else ""
    return ""


def _read(host: str, body: bytes) -> _Given:
    with suppress(msgspec.DecodeError, msgspec.ValidationError):
        given = msgspec.json.decode(body, type=_Given)
        if _TOKEN.match(given.token or given.access_token):
            return given
    raise Unavailable(f"{host} gave no token that can be read", lasting=True)


def _same_domain(one: str, other: str) -> bool:
    """Whether two hosts are of one domain that somebody registered (https://publicsuffix.org)."""
    for host in (one, other):
        with suppress(ValueError):
            ipaddress.ip_address(host)
            return False
    registered = _suffixes().privatesuffix(one)
    return registered is not None and registered == _suffixes().privatesuffix(other)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)
