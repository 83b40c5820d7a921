"""Who a peer is and where it can be reached, in libp2p's own words, read strictly: one spelling for each.

Peer ids: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md, "String representation", in the form
that Kubo prints, which is the multihash in base58btc. Addresses: https://github.com/multiformats/multiaddr, of
which a network of ours uses TCP alone.
"""

import ipaddress
import re

from dpm_core.errors import Invalid

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""The alphabet "btc" (https://datatracker.ietf.org/doc/html/draft-msporny-base58-03, 2)."""

_ED25519 = b"\x00\x24\x08\x01\x12\x20"
"""A key of at most 42 bytes is its own id: identity multihash of 36 bytes, protobuf of type 1 with 32 bytes."""

_SHA256 = b"\x12\x20"
"""Larger keys, which are RSA's, are hashed: multihash of sha2-256, 32 bytes."""

_LONGEST_ID = 64

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
"""RFC 1123, 2.1, in lower case."""

_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")


class PeerId(str):
    """The id of a peer in base58btc: ``12D3Koo…`` of an Ed25519 key, or ``Qm…`` of an RSA key.

    It is a word of a subject, as it has letters and digits alone.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> "PeerId":
        """Read the text form. Raises Invalid for anything else, the form as a CID among it."""
        raw = _base58_bytes(text) if len(text) <= _LONGEST_ID else b""
        if not (raw.startswith(_ED25519) and len(raw) == 38) and not (raw.startswith(_SHA256) and len(raw) == 34):
            raise Invalid(f"not the id of a peer (12D3Koo… or Qm…): {text[:100]!r}")
        return super().__new__(cls, text)

    @classmethod
    def of_ed25519(cls, public_key: bytes) -> "PeerId":
        """The id of the peer with this public key (32 bytes)."""
        return cls(_base58(_ED25519 + public_key))


class Address(str):
    """Where a peer can be reached by TCP: ``/ip4/192.0.2.1/tcp/4001``, ``/ip6/…``, ``/dns/…``, without its id."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Address":
        """Read the text form.

        Raises Invalid for other transports, for any but the canonical spelling, and for what nobody can be
        reached at, such as ``0.0.0.0``, on which one listens.
        """
        parts = text.split("/")
        if len(parts) != 5 or parts[0] or parts[3] != "tcp" or not _host_is_good(parts[1], parts[2]):
            raise Invalid(f"not an address of a peer, such as /ip4/192.0.2.1/tcp/4001: {text[:100]!r}")
        if not _PORT.match(parts[4]) or int(parts[4]) > 65535:
            raise Invalid(f"not a TCP port: {parts[4][:20]!r} in {text[:100]!r}")
        return super().__new__(cls, text)

    @property
    def host(self) -> str:
        """The IP address or the name."""
        return self.split("/")[2]

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.rpartition("/")[2])


def address_of(host: str, port: int) -> Address:
    """The address of an IP address or a name. Raises Invalid for what nobody can be reached at."""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return Address(f"/{kind}/{host}/tcp/{port}")


def with_peer(address: Address, peer: PeerId) -> str:
    """The address of this peer and no other: ``/ip4/…/tcp/…/p2p/12D3Koo…``, as Kubo dials it."""
    return f"{address}/p2p/{peer}"


def split_peer(text: str) -> tuple[Address, PeerId]:
    """Back from :func:`with_peer`. Raises Invalid, also for addresses by other transports and by a relay."""
    address, found, peer = text.partition("/p2p/")
    if not found:
        raise Invalid(f"an address without the id of its peer: {text[:100]!r}")
    return Address(address), PeerId(peer)


def _host_is_good(kind: str, host: str) -> bool:
    match kind:
        case "ip4" | "ip6":
            try:
                ip = ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host)
            except ValueError:
                return False
            if isinstance(ip, ipaddress.IPv6Address) and (ip.scope_id is not None or ip.ipv4_mapped is not None):
                return False
            return str(ip) == host and not (ip.is_unspecified or ip.is_multicast)
        case "dns" | "dns4" | "dns6":
            return len(host) <= 253 and all(_LABEL.match(label) for label in host.split("."))
        case _:
            return False


def _base58_bytes(text: str) -> bytes:
    """The bytes of a text in base58, nothing if it is none."""
    number = 0
    for each in text:
        digit = _BASE58.find(each)
        if digit < 0:
            return b""
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base58(raw: bytes) -> str:
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return _BASE58[0] * (len(raw) - len(raw.lstrip(b"\0"))) + digits
