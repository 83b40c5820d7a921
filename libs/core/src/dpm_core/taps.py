"""What services tell each other in passing: frequent, no history, never stored."""

from collections.abc import Mapping
from dataclasses import dataclass

from dpm_core.cids import Cid

WAITING = "gateway.waiting"
"""A gateway tells which artifacts its clients wait for."""

USED = "gateway.used"
"""A gateway tells which artifacts it has served from what is held."""

MISMATCH = "fusefs.mismatch"
"""The file system met bytes on disk that are not what their name says."""

MISREAD = "gateway.mismatch"
"""So did a gateway, which reads the store itself where there is no file system."""


REMOVED = "fetcher.removed"
"""A fetcher has removed files of blobs."""


@dataclass(frozen=True)
class Waiting:
    """The ids of the artifacts that clients of one gateway process wait for."""

    gateway: str
    artifacts: tuple[str, ...]


@dataclass(frozen=True)
class Used:
    """When artifacts, by their ids, were last served by one gateway process (seconds since the epoch)."""

    gateway: str
    artifacts: Mapping[str, float]


@dataclass(frozen=True)
class Removed:
    """Blobs that are no longer in the store."""

    cids: tuple[Cid, ...]


@dataclass(frozen=True)
class Mismatch:
    """A blob whose bytes on disk do not hash to its CID, and from which byte on."""

    cid: str
    offset: int
