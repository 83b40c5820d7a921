"""What the catalog's writer cares for the store with, and what it knows of an artifact before it decides."""

from dataclasses import dataclass

from dpm_core.artifacts import ArtifactRef
from dpm_core.events import FetchStarted
from dpm_core.eviction import Standing
from dpm_core.ports import Catalog, Clock, EventLog, Intake, Leftovers, Uses

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.01


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
        """How an artifact stands that is held; of others nothing is known. Raises Unavailable."""
        entry = self.catalog.find(artifact_id)
        if entry is None:
            return Standing(None, self.catalog.position(), None)
        return await self.standing_of(entry.ref)

    async def standing_of(self, ref: ArtifactRef) -> Standing:
        """How an artifact stands, held or not. Raises Unavailable."""
        last = await self.events.last(ref.topic)
        started = last is not None and isinstance(last.event, FetchStarted)
        attempt = self.intake.view(ref.id, last.sequence) if started and last is not None else None
        # its position before its word: so that knows of every event up to there
        position = self.catalog.position()
        return Standing(last, position, self.catalog.find(ref.id), attempt)

    async def folded(self, sequence: int) -> None:
        """Wait until the catalog knows of the event at ``sequence``, for who looks next.

        Without a step forward in PATIENCE_SECONDS it has waited enough.
        """
        position, since = self.catalog.position(), self.clock.now()
        while position < sequence and self.clock.now() - since < PATIENCE_SECONDS:
            await self.clock.sleep(LOOK_SECONDS)
            if (now := self.catalog.position()) != position:
                position, since = now, self.clock.now()
