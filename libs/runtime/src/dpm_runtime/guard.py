"""Which addresses an upstream may have: private ranges only where somebody named them."""

import ipaddress
import socket
from collections.abc import Collection
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from dpm_core.errors import Unavailable

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


def refuse_private(host: str, addresses: Collection[str], named: Collection[str]) -> list[str]:
    """The addresses of ``host`` that may be connected to. Raises ForbiddenAddress if none is left."""
    if host in named:
        return list(addresses)
    allowed = [address for address in addresses if address in named or not is_private(address)]
    if not allowed:
        raise ForbiddenAddress(
            f"{host} has an address in a private range",
            advice="name the host in allow_private if it is meant to be asked",
        )
    return allowed


class GuardedResolver(AbstractResolver):
    """Resolves names, and leaves out private addresses: what is checked is what is connected to."""

    def __init__(self, named: Collection[str]) -> None:
        self.named = named
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses that may be connected to. Raises ForbiddenAddress, OSError."""
        found = await self._inner.resolve(host, port, family)
        allowed = refuse_private(host, [each["host"] for each in found], self.named)
        return [each for each in found if each["host"] in allowed]

    async def close(self) -> None:
        """Let go of the inner resolver."""
        await self._inner.close()
