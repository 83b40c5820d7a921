"""The key pair with which a keeper hands a new swarm key to each member that stays, in a room that others read.

A box says who closed it: nobody but the two whose keys they are can make it or open it, and not the homeserver.
crypto_box of NaCl, by PyNaCl: https://pynacl.readthedocs.io/en/latest/public/.
"""

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from dpm_core.errors import Invalid, Untrusted

KEY_BYTES = 32
"""Of a private key, and of a public one (X25519)."""


class BoxKey:
    """A key pair; the private half is secret. Raises Invalid for one that is not KEY_BYTES long."""

    def __init__(self, private: bytes) -> None:
        self._private = PrivateKey(_checked(private))
        self.public = bytes(self._private.public_key)

    @classmethod
    def make(cls) -> "BoxKey":
        """A new one."""
        return cls(bytes(PrivateKey.generate()))

    @property
    def private(self) -> bytes:
        """What is kept on disk."""
        return bytes(self._private)

    def close(self, text: bytes, reader: bytes) -> bytes:
        """A box with ``text`` in it for the owner of the public key ``reader``. Raises Invalid for a bad key."""
        return bytes(self._with(reader).encrypt(text))

    def open(self, box: bytes, writer: bytes) -> bytes:
        """What is in a box that the owner of the public key ``writer`` closed for us.

        Raises Untrusted if somebody else closed it, or for somebody else, or it was changed.
        """
        try:
            return self._with(writer).decrypt(box)
        except (CryptoError, ValueError) as why:
            raise Untrusted(f"a box cannot be opened: {why}") from None

    def _with(self, public: bytes) -> Box:
        try:
            return Box(self._private, PublicKey(_checked(public)))
        except CryptoError as why:  # a point of small order gives the same secret to everybody
            raise Invalid(f"no public key: {why}") from None


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise Invalid(f"a key has {KEY_BYTES} bytes, and this one {len(key)}")
    return key
