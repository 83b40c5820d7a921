"""The key of a private swarm: who has it can speak to the network's peers, and nobody else.

The format of the file is that of https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md.
"""

import re
from dataclasses import dataclass, field

from dpm_core.errors import Invalid

SWARM_KEY_BYTES = 32
"""So long is a key."""

_FILE = re.compile(r"/key/swarm/psk/1\.0\.0/\n/base16/\n([0-9a-f]{64})\n?\Z")


@dataclass(frozen=True)
class SwarmKey:
    """A key of 32 random bytes, which it does not show."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != SWARM_KEY_BYTES:
            raise Invalid(f"a swarm key has {SWARM_KEY_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def read(cls, text: str) -> "SwarmKey":
        """The key from the file ``swarm.key``. Raises Invalid, without a word of what it read."""
        found = _FILE.match(text)
        if found is None:
            raise Invalid("not a swarm key: the lines /key/swarm/psk/1.0.0/ and /base16/, and 64 hex digits")
        return cls(bytes.fromhex(found[1]))

    @property
    def text(self) -> str:
        """The file ``swarm.key`` as Kubo reads it."""
        return f"/key/swarm/psk/1.0.0/\n/base16/\n{self.raw.hex()}\n"
