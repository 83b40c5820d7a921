"""What the parts of a handler share: an ecosystem, the ports, and who may have what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dpm_core.artifacts import Held, Want
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem
from dpm_core.origins import Headed
from dpm_core.ports import Clock, Shelves
from dpm_gateway.doorkeeper import Doorkeeper
from dpm_gateway.facts import Desk
from dpm_gateway.flights import Boarding, Flights
from dpm_gateway.marks import Marks
from dpm_gateway.small_blobs import SmallBlobs


@dataclass(frozen=True)
class Policy:
    """``stale_seconds``: how long a page is served after its last confirmation while upstream is down."""

    stale_seconds: float


class Courier(Protocol):
    """How fetchers are told and asked what is to stand in no event."""

    async def tell_query(self, url: str) -> None:
        """Have the query of ``url``, a whole one, at hand where the file will be fetched. Never raises."""

    async def head(self, want: Want) -> Headed:
        """What upstream says of ``want`` by HEAD, to whom it would be fetched for. Raises Unavailable."""


class Witness(Protocol):
    """Whoever can tell whether an index that a peer gave is upstream's: by the signatures in it, or beside it."""

    async def vouch(self, shown: Want, body: bytes, companions: Sequence[bytes]) -> None:
        """Return if ``body`` can be shown as ``shown``; ``companions`` go with it, as far as they could be had.

        Raises Unavailable, and says why, if it cannot.
        """


@dataclass(frozen=True)
class Kit:
    """All that answers are made with. ``networked`` says whether there is a service that asks peers.

    Without a ``witness`` no index with generations is taken of them.
    """

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
    networked: Callable[[], bool] = lambda: False
    witness: Witness | None = None

    async def board(
        self, want: Want, held: Held | None, fresh_since: float, *, missing: Cid | None = None
    ) -> Boarding:
        """As :meth:`Flights.board`; fetchers have the credentials at hand by then that they are to show."""
        await self.doorkeeper.hand_over(want)
        return await self.flights.board(want, held, fresh_since, missing=missing)

    async def head(self, want: Want) -> Headed:
        """As :meth:`Courier.head`, with the credentials that a fetch would show."""
        await self.doorkeeper.hand_over(want)
        return await self.courier.head(want)
