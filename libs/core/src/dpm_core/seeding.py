"""What a log that was lost, or missed something, is told again from what the store keeps beside its blobs."""

from dataclasses import dataclass
from typing import TypeAlias

from dpm_core.cids import Cid
from dpm_core.events import ArtifactEvicted
from dpm_core.eviction import Standing, Stay, busy
from dpm_core.sidecars import Kept


@dataclass(frozen=True)
class Seed:
    """Append ArtifactStored, if ``after`` is still the artifact's last sequence (0: it has no event)."""

    after: int


@dataclass(frozen=True)
class Known:
    """The log has told of it already, or of newer bytes."""


@dataclass(frozen=True)
class Gone:
    """The log says that it was evicted: its bytes are here for others that share them."""


SeedingDecision: TypeAlias = Seed | Known | Gone | Stay


def decide_seeding(cid: Cid, kept: Kept, standing: Standing, now: float) -> SeedingDecision:
    """Whether to tell the log of an artifact that was stored with the blob ``cid``.

    Where the log has a later word about what is held, that counts; by time, since a log that began anew gives
    other numbers. That a fetch was tried and failed says nothing about what is held.
    """
    last, entry = standing.last, standing.entry
    if entry is not None and (entry.blob.cid == cid or entry.stored_at >= kept.stored_at):
        return Known()
    if last is None:
        return Seed(0)
    why = busy(last, standing, now)
    if why is not None:
        return Stay(why, passing=True)
    if isinstance(last.event, ArtifactEvicted) and last.time >= kept.stored_at:
        return Gone()
    return Seed(last.sequence)
