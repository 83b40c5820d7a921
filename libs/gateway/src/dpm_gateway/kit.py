"""What the parts of a handler share: an ecosystem, the ports, and who may have what."""

from dataclasses import dataclass
from typing import Protocol

from dpm_core.ecosystem import Ecosystem
from dpm_core.ports import Clock, Shelves
from dpm_gateway.doorkeeper import Doorkeeper
from dpm_gateway.facts import Desk
from dpm_gateway.flights import Flights
from dpm_gateway.marks import Marks
from dpm_gateway.small_blobs import SmallBlobs


@dataclass(frozen=True)
class Policy:
    """``stale_seconds``: how long a page is served after its last confirmation while upstream is down."""

    stale_seconds: float


class Courier(Protocol):
    """How fetchers are told what is to stand in no event."""

    async def tell_query(self, url: str) -> None:
        """Have the query of ``url``, a whole one, at hand where the file will be fetched. Never raises."""


@dataclass(frozen=True)
class Kit:
    """All that answers are made with."""

    ecosystem: Ecosystem
    catalog: Shelves
    store: SmallBlobs
    flights: Flights
    desk: Desk
    marks: Marks
    doorkeeper: Doorkeeper
    courier: Courier
    clock: Clock
    policy: Policy
