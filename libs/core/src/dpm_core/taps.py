"""What services tell each other in passing: frequent, no history, never stored."""

from dataclasses import dataclass

WAITING = "gateway.waiting"
"""A gateway tells which artifacts its clients wait for."""

MISMATCH = "fusefs.mismatch"
"""The file system met bytes on disk that are not what their name says."""


@dataclass(frozen=True)
class Waiting:
    """The ids of the artifacts that clients of one gateway process wait for."""

    gateway: str
    artifacts: tuple[str, ...]


@dataclass(frozen=True)
class Mismatch:
    """A blob whose bytes on disk do not hash to its CID, and from which byte on."""

    cid: str
    offset: int
