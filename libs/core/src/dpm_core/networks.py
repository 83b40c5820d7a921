"""A network as a node that is in it knows it, and the invitation by which somebody comes in."""

import base64
import binascii
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from dpm_core.artifacts import normalise_upstream
from dpm_core.canonical import MOST
from dpm_core.errors import Invalid, TooNew
from dpm_core.multiaddrs import split_peer
from dpm_core.registry import from_file, from_json, to_json
from dpm_core.sharing import Rule
from dpm_core.swarm_keys import SwarmKey

FORMAT = 1
"""Of what a node keeps of a network."""

INVITATION_VERSION = 1

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")
_BOX_KEY = re.compile(r"[0-9a-f]{64}\Z")
_USER = re.compile(r"@[!-9;-~]*:[0-9A-Za-z.:\[\]-]+\Z")
_ROOM = re.compile(r"![!-~]+\Z")
_LONGEST_ID = 255
_PREFIX = "dpm-invitation:"
_LONGEST_TEXT = 64 * 1024
_ADVICE = "copy the whole of it again, or ask for another"


def network_name(text: str) -> str:
    """The name of a network on a node, which is also that of its folder. Raises Invalid."""
    if not _NAME.match(text):
        raise Invalid(
            f"a network's name has at most 31 of a-z, 0-9 and -, and begins with no -: not {text[:100]!r}"
        )
    return text


def user_id(text: str) -> str:
    """A Matrix user id (https://spec.matrix.org/v1.11/appendices/#user-identifiers). Raises Invalid."""
    if not _USER.match(text) or len(text) > _LONGEST_ID:
        raise Invalid(f"not a Matrix user id, such as @ben:matrix.example: {text[:100]!r}")
    return text


def room_id(text: str) -> str:
    """A Matrix room id (https://spec.matrix.org/v1.11/appendices/#room-ids), or one without a server.

    Raises Invalid.
    """
    if not _ROOM.match(text) or len(text) > _LONGEST_ID:
        raise Invalid(f"not a Matrix room id, such as !abc:matrix.example: {text[:100]!r}")
    return text


def _checked(network: "Network | Invitation") -> None:
    network_name(network.name)
    user_id(network.user)
    room_id(network.room)
    normalise_upstream(network.homeserver)
    if not 1 <= network.generation <= MOST:
        raise Invalid("swarm keys of a network are counted from 1")
    for user, key in network.keepers.items():
        user_id(user)
        box_key(key)


def box_key(text: str) -> str:
    """A key of X25519 (RFC 7748, 6.1) in hex. Raises Invalid, without a word of what it read."""
    if not _BOX_KEY.match(text):
        raise Invalid("a box key has 64 hex digits in lower case")
    return text


@dataclass(frozen=True)
class Network:
    """What a node keeps of a network that it is in, beside the swarm key; its secrets it does not show.

    ``room`` is the network's Matrix room at ``homeserver`` (a URL), where the node is ``user`` and shows ``token``
    as the device ``device``. ``keepers`` are the public box keys, by Matrix id, of those who give out new swarm
    keys, ``box`` and ``box_secret`` the node's own pair, all in hex. ``generation`` numbers the swarm key.
    ``borrowed``: the token was not made for the node, and so is not ended when the node leaves. ``ca`` are
    certificates (PEM) by which the homeserver is believed, beside the machine's; empty for none.
    Raises Invalid for what cannot be.
    """

    name: str
    room: str
    homeserver: str
    user: str
    device: str
    token: str = field(repr=False)
    keepers: Mapping[str, str]
    box: str
    box_secret: str = field(repr=False)
    rule: Rule = field(default_factory=Rule)
    generation: int = 1
    borrowed: bool = False
    format: int = FORMAT
    ca: str = ""

    def __post_init__(self) -> None:
        _checked(self)
        box_key(self.box)
        box_key(self.box_secret)

    def encode(self) -> bytes:
        """The file ``network.json``, secrets and all."""
        return to_json(self)

    @classmethod
    def decode(cls, body: bytes) -> "Network":
        """Back from ``encode``. Raises Invalid, without a word of what it read; TooNew."""
        try:
            return from_file(body, cls, "the description of a network", known=FORMAT)
        except Invalid as error:
            raise Invalid(f"not the description of a network: {error}") from None


@dataclass(frozen=True)
class Invitation:
    """All that somebody needs to come into a network, of which the secrets are not shown.

    ``user`` is who to register as at ``homeserver``, with ``registration_token``, which works once; where that is
    empty the account exists, and its owner comes in. ``contacts`` are addresses of peers with their ids
    (:func:`dpm_core.multiaddrs.with_peer`). The rest is as in :class:`Network`.
    Raises Invalid for what cannot be.
    """

    name: str
    room: str
    homeserver: str
    user: str
    registration_token: str = field(repr=False)
    swarm_key: SwarmKey = field(repr=False)
    keepers: Mapping[str, str]
    contacts: tuple[str, ...] = ()
    rule: Rule = field(default_factory=Rule)
    generation: int = 1
    ca: str = ""

    def __post_init__(self) -> None:
        _checked(self)
        for each in self.contacts:
            split_peer(each)

    @property
    def text(self) -> str:
        """The one string that is sent, by a way that nobody listens to: who has it can come in."""
        plain = _Invitation(
            self.name,
            self.room,
            self.homeserver,
            self.user,
            self.registration_token,
            self.swarm_key.raw.hex(),
            dict(self.keepers),
            self.contacts,
            self.rule,
            self.generation,
            self.ca,
        )
        return f"{_PREFIX}{INVITATION_VERSION}:{_base64url(zlib.compress(msgspec.json.encode(plain), 9))}"

    @classmethod
    def read(cls, text: str) -> "Invitation":
        """Back from ``text``, white space and line ends within it aside.

        Raises Invalid, which says what to do and nothing of what it read; TooNew.
        """
        compact = "".join(text[: 2 * _LONGEST_TEXT].split())
        version, _, packed = compact.removeprefix(_PREFIX).partition(":")
        if not compact.startswith(_PREFIX) or not re.match(r"[1-9][0-9]{0,5}\Z", version):
            raise Invalid(f"not an invitation, which begins with {_PREFIX}{INVITATION_VERSION}: {_ADVICE}")
        if int(version) > INVITATION_VERSION:
            raise TooNew("the invitation", int(version), INVITATION_VERSION)
        try:
            read = from_json(_unpacked(packed), _Invitation)
            return cls(
                read.name,
                read.room,
                read.homeserver,
                read.user,
                read.token,
                SwarmKey(bytes.fromhex(read.swarm_key)),
                read.keepers,
                read.contacts,
                read.rule,
                read.generation,
                read.ca,
            )
        except Invalid as error:
            raise Invalid(f"the invitation cannot be read ({error}): {_ADVICE}") from None


class _Invitation(msgspec.Struct, omit_defaults=True):
    name: str
    room: str
    homeserver: str
    user: str
    token: str
    swarm_key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
    keepers: dict[str, str]
    contacts: tuple[str, ...]
    rule: Rule
    generation: int
    ca: str = ""


def _base64url(raw: bytes) -> str:
    """RFC 4648, 5, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _unpacked(packed: str) -> bytes:
    if len(packed) > _LONGEST_TEXT:
        raise Invalid("it is too long")
    try:
        squeezed = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        if _base64url(squeezed) != packed:
            raise Invalid("it was not copied as it is")
        unpacking: Any = zlib.decompressobj()
        body: bytes = unpacking.decompress(squeezed, _LONGEST_TEXT)
    except (binascii.Error, ValueError, zlib.error):
        raise Invalid("it was not copied as it is") from None
    if not unpacking.eof or unpacking.unused_data:
        raise Invalid("it was not copied whole")
    return body
