"""What members of a network say carries a seal: nobody without the swarm key can make or change it.

The homeserver, which sees and carries all of it, has not that key. The seal covers who says it and as what, so
that one member's words cannot be passed off as another's. Members share the key: that one of them does not speak
for another is the homeserver's word.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from dpm_core.canonical import MOST, Content, canonical
from dpm_core.errors import Invalid, TooNew, Untrusted
from dpm_core.swarm_keys import SwarmKey

VERSION = 1
"""Of the wire format, of which the way of sealing is part."""

CONTENT_LIMIT = 48 * 1024
"""Bytes of a content in canonical JSON. An event has 65,536 (Matrix, "Size limits"), with what servers add."""

_INFO = b"dpm advert v1\0"


class OtherGeneration(Untrusted):
    """Sealed with an earlier or a later swarm key of the network: nobody's fault while keys change."""

    def __init__(self, generation: int, ours: int) -> None:
        super().__init__(f"sealed with swarm key {generation} of the network, this node has number {ours}")
        self.generation = generation


class SealKey:
    """The key of the seals in one room, derived from the swarm key; it does not show itself.

    ``generation`` counts the swarm keys of the network from 1.
    """

    def __init__(self, swarm_key: SwarmKey, room: str, generation: int = 1) -> None:
        self.generation = generation
        self._key = hkdf_sha256(swarm_key.raw, _INFO + room.encode())

    def sealed(self, kind: str, sender: str, content: Mapping[str, Any]) -> Content:
        """The content as ``sender`` (a Matrix id) sends it in an event of type ``kind``.

        Raises Invalid for what is no canonical JSON, or too large.
        """
        plain = {**content, "v": VERSION, "generation": self.generation}
        whole = {**plain, "seal": self._seal(kind, sender, plain)}
        _refuse_large(whole)
        return whole

    def unsealed(self, kind: str, sender: str, content: object) -> Content:
        """Back from ``sealed``: the content that the ``sender`` of an event of type ``kind`` has sealed.

        Raises Invalid for what has not the form of such a content, TooNew for one of a newer format, and Untrusted
        for a seal that is not of this key, OtherGeneration if it says so itself. Only of the rest is its sender
        surely to blame for what it says.
        """
        if not isinstance(content, dict):
            raise Invalid("a content is an object")
        _refuse_large(content)
        if _number(content, "v") > VERSION:
            raise TooNew(f"the {kind} of {sender}", content["v"], VERSION)
        generation, seal = _number(content, "generation"), content.get("seal")
        if generation != self.generation:
            raise OtherGeneration(generation, self.generation)
        if not isinstance(seal, str) or not seal.isascii():
            raise Invalid("a content without a seal")
        plain = {name: value for name, value in content.items() if name != "seal"}
        if not hmac.compare_digest(seal, self._seal(kind, sender, plain)):
            raise Untrusted(f"the {kind} of {sender} was not sealed with the network's key")
        return plain

    def _seal(self, kind: str, sender: str, plain: Content) -> str:
        return hmac.new(self._key, canonical([kind, sender, plain]), hashlib.sha256).hexdigest()


def hkdf_sha256(secret: bytes, info: bytes) -> bytes:
    """32 bytes derived from a secret of full entropy: HKDF with SHA-256 and no salt (RFC 5869, 2.2 and 2.3)."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def _refuse_large(content: Content) -> None:
    if (size := len(canonical(content))) > CONTENT_LIMIT:
        raise Invalid(f"a content of {size} bytes: at most {CONTENT_LIMIT} are allowed")


def _number(content: Content, name: str) -> int:
    value = content.get(name)
    if type(value) is not int or not 1 <= value <= MOST:
        raise Invalid(f"{name} is a number from 1 on")
    return value
