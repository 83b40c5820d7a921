"""Which addresses an upstream may have: private ranges only where somebody named them."""

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Collection, Container
from typing import Any, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from dpm_core.errors import Unavailable
from dpm_runtime.daemon_pool import DaemonPool

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip
"""Loopback, link-local, private, shared, multicast and reserved ranges (RFC 6890)."""

MOST_UPSTREAMS = 1_024
"""So many upstreams may be in use at a time."""

THREADS = 8
"""Names that are looked up at a time."""


def is_private(address: str) -> bool:
    """Whether an address, however it is written, lies in a private range; IPv6 forms of IPv4 are looked into."""
    parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            parsed = inner
    return any(parsed.version == network.version and parsed in network for network in PRIVATE)


class ForbiddenAddress(Unavailable, OSError):
    """A host has only addresses in private ranges, and nobody named it. Also an OSError, as aiohttp expects."""


def refuse_private(host: str, addresses: Collection[str], named: Container[str]) -> list[str]:
    """The addresses of ``host`` that may be connected to. Raises ForbiddenAddress if none is left."""
    if host in named:
        return list(addresses)
    allowed = [address for address in addresses if address in named or not is_private(address)]
    if not allowed:
        raise ForbiddenAddress(
            f"{host} has an address in a private range",
            advice="name the host in allow_private if it is meant to be asked",
            lasting=True,
        )
    return allowed


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

    def __init__(self, named: Container[str]) -> None:
        self._named = named
        self._pool = DaemonPool("dns", THREADS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses that may be connected to. Raises ForbiddenAddress, OSError."""
        found = await asyncio.wrap_future(self._pool.submit(lambda: _look_up(host, port, family)))
        allowed = refuse_private(host, [each["host"] for each in found], self._named)
        return [each for each in found if each["host"] in allowed]

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
