"""Which addresses an upstream may have: private ranges only where somebody named them."""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Container
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from dpm_core.errors import Unavailable
from dpm_runtime.daemon_pool import DaemonPool

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "3fff::/20",
    )
)  # fmt: skip
"""Loopback, link-local, private, shared, benchmarking, multicast and reserved ranges (RFC 6890, and the registries
that it made); with Teredo and ORCHID, which no server is reached by."""

UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 that has public hosts (RFC 4291, 2.4)."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""How a network without IPv4 reaches it (RFC 6052)."""

ISATAP = (0x00005EFE, 0x02005EFE)
"""The interface of an address that ends in one of IPv4 begins with it (RFC 5214, 6.1)."""

INNER = ("localhost", "local", "internal", "home.arpa")
"""No public host has a name below these (RFC 6761, 6.3; RFC 6762; RFC 8375; for ``internal`` ICANN, 2024)."""

MOST_UPSTREAMS = 1_024
"""So many upstreams may be in use at a time."""

THREADS = 8
"""Names that are looked up at a time."""

KNOWN_SECONDS = 30.0
"""What a name's addresses were is believed for so long, where a proxy looks it up anew."""

LOOK_UP_SECONDS = 2.0
"""Behind a proxy there may be no name server that answers."""


def is_private(address: str) -> bool:
    """Whether an address, however it is written, lies in a private range; IPv6 forms of IPv4 are looked into."""
    parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = _inner(parsed)
        if inner is None and parsed not in UNICAST:
            return True
        if inner is not None and is_private(str(inner)):
            return True
        if parsed not in UNICAST:
            return False
    return any(parsed.version == network.version and parsed in network for network in PRIVATE)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this one would reach in the end, None if it stands for none."""
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in NAT64 or (int(address) >> 32) & 0xFFFFFFFF in ISATAP):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner


class ForbiddenAddress(Unavailable, OSError):
    """A host has only addresses in private ranges, and nobody named it. Also an OSError, as aiohttp expects."""


def refuse_private(host: str, addresses: Collection[str], named: Container[str]) -> list[str]:
    """The addresses of ``host`` that may be connected to. Raises ForbiddenAddress if none is left."""
    if host in named:
        return list(addresses)
    allowed = [address for address in addresses if address in named or not is_private(address)]
    if not allowed:
        raise _forbidden(f"{host} has an address in a private range")
    return allowed


def _forbidden(what: str) -> ForbiddenAddress:
    return ForbiddenAddress(what, advice="name the host in allow_private if it is meant to be asked", lasting=True)


def target(url: str, named: Container[str]) -> URL:
    """The URL as it will be asked. Raises ForbiddenAddress, and Unavailable for what is no http(s) URL.

    A host that is an address never meets the resolver, so it is looked at here. One that is not written as it is
    meant, in ASCII, is refused: ``127。0。0。1`` becomes an address only when it is asked.
    """
    try:
        asked, written = URL(url), urlsplit(url).hostname or ""
    except ValueError as error:
        raise Unavailable("a URL that is none", lasting=True) from error
    host = asked.raw_host or ""
    if asked.scheme not in ("http", "https") or not host:
        raise Unavailable(f"only http and https are asked, not {asked.scheme or 'a path'}", lasting=True)
    if host != written and ":" not in host:
        raise Unavailable(f"{written!r} is not how the host {host} is written", lasting=True)
    if (":" in host or host.replace(".", "").isdigit()) and written not in named:
        try:
            refuse_private(host, [host], named)
        except ValueError as error:
            raise Unavailable(f"{host} is no address", lasting=True) from error
    return asked


class Named(Container[str]):
    """Hosts and addresses that may be private: those that are set, and the upstreams asked for most recently."""

    def __init__(self, always: Collection[str]) -> None:
        self._always = frozenset(always)
        self._upstreams: OrderedDict[str, None] = OrderedDict()

    def configured(self, host: str) -> None:
        """``host`` is that of an upstream."""
        self._upstreams[host] = None
        self._upstreams.move_to_end(host)
        if len(self._upstreams) > MOST_UPSTREAMS:
            self._upstreams.popitem(last=False)

    def __contains__(self, host: object) -> bool:
        return host in self._always or host in self._upstreams


class GuardedResolver(AbstractResolver):
    """Resolves names, and leaves out private addresses: what is checked is what is connected to.

    In threads of its own: while no name server answers, they wait long, and nothing else may wait with them.
    """

    def __init__(self, named: Container[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._named = named
        self._clock = clock
        self._pool = DaemonPool("dns", THREADS)
        self._well: OrderedDict[str, float] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses that may be connected to. Raises ForbiddenAddress, OSError."""
        found = await asyncio.wrap_future(self._pool.submit(lambda: _look_up(host, port, family)))
        allowed = refuse_private(host, [each["host"] for each in found], self._named)
        return [each for each in found if each["host"] in allowed]

    async def refuse_known(self, host: str) -> None:
        """Let a proxy be asked for ``host`` only if it is not known to be private. Raises ForbiddenAddress.

        The proxy looks a name up for itself. Before that, its form is looked at, and what this machine knows of
        it: one private address is enough. A name that is not known here is left to the proxy.
        """
        if host in self._named or self._clock() < self._well.get(host, 0.0):
            return
        written = f".{host.rstrip('.').lower()}"
        if ":" not in host and (written.count(".") == 1 or any(written.endswith(f".{each}") for each in INNER)):
            raise _forbidden(f"{host} is a name of a private network")
        found: list[ResolveResult] = []
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await asyncio.wrap_future(self._pool.submit(lambda: _look_up(host, 0, socket.AF_UNSPEC)))
        for each in found:
            refuse_private(host, [each["host"]], self._named)
        self._well[host] = self._clock() + KNOWN_SECONDS
        if len(self._well) > MOST_UPSTREAMS:
            self._well.popitem(last=False)

    async def close(self) -> None:
        """Wait for no name any more."""
        self._pool.close()


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host, host=_numeric(address), port=port, family=kind, proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]  # fmt: skip


def _numeric(address: tuple[Any, ...]) -> str:
    """With the zone that a link-local IPv6 address is nothing without."""
    return f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] else str(address[0])
