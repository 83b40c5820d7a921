"""What the catalog's writer cares for the store with, and what it knows of an artifact before it decides."""

from dataclasses import dataclass

from dpm_core.events import FetchStarted
from dpm_core.eviction import Standing
from dpm_core.ports import Catalog, Clock, EventLog, Intake, Leftovers, Uses


@dataclass(frozen=True)
class Care:
    """The ports of the store's keeper."""

    events: EventLog
    catalog: Catalog
    uses: Uses
    leftovers: Leftovers
    intake: Intake
    clock: Clock

    async def standing(self, artifact_id: str) -> Standing:
        """How an artifact stands. Raises Unavailable."""
        entry = self.catalog.find(artifact_id)
        if entry is None:
            return Standing(None, self.catalog.position(), None)
        last = await self.events.last(entry.ref.topic)
        started = last is not None and isinstance(last.event, FetchStarted)
        attempt = self.intake.view(artifact_id, last.sequence) if started and last is not None else None
        # its position before its word: so that knows of every event up to there
        position = self.catalog.position()
        return Standing(last, position, self.catalog.find(artifact_id), attempt)
