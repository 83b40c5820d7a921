"""Misses: what a gateway process does once for all of its clients that want the same artifact."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace

from dpm_core.artifacts import Held, Want
from dpm_core.cids import Cid
from dpm_core.ports import BlobStore, Clock, EventLog
from dpm_gateway.bulletin import Bulletin
from dpm_gateway.flight import Answer, Flight, Landed, Means
from dpm_runtime.meters import Kind, counter, observed

_under_way = observed("dpm.gateway.flights", Kind.GAUGE, "{flight}", "misses under way")
_passengers = observed(
    "dpm.gateway.passengers",
    Kind.GAUGE,
    "{request}",
    "requests that wait for a flight, or are sent bytes as they come: open streams",
)
_joins = counter("dpm.gateway.joins", "{request}", "requests that joined the flight of another one")


class Flights:
    """The misses that are under way in this process; clients of one artifact share one."""

    def __init__(
        self,
        gateway: str,
        events: EventLog,
        store: BlobStore,
        bulletin: Bulletin,
        clock: Clock,
        *,
        claim_seconds: float,
        request_seconds: float,
    ) -> None:
        self.gateway = gateway
        self._means = Means(gateway, events, store, bulletin, clock, claim_seconds, request_seconds)
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def board(
        self, want: Want, held: Held | None, fresh_since: float, *, missing: Cid | None = None
    ) -> "Boarding":
        """Have ``want`` fetched, or join those who wait for it already, until there is an answer.

        An answer from before ``fresh_since`` (epoch seconds) does not count, nor one that names the blob
        ``missing``; ``held`` only has to be confirmed.
        The caller must leave the boarding when it has sent what the answer promises.
        """
        flight = self._flights.get(want.ref.id)
        if flight is not None and flight.carries(want):
            _joins.add(1)
            trace.get_current_span().add_link(flight.span)
            boarding = await self._enter(flight)
            if not isinstance(boarding.answer, Landed) or boarding.answer.time >= fresh_since:
                return boarding
            boarding.leave()
        flight = self._flights[want.ref.id] = Flight(self._means, want, held, fresh_since, missing)
        task = asyncio.create_task(self._fly(flight))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await self._enter(flight)

    async def _enter(self, flight: Flight) -> "Boarding":
        flight.enter()
        try:
            return Boarding(await asyncio.shield(flight.answer), flight)
        except BaseException:
            flight.leave()
            raise

    async def _fly(self, flight: Flight) -> None:
        try:
            await flight.fly()
        finally:
            if self._flights.get(flight.want.ref.id) is flight:
                del self._flights[flight.want.ref.id]

    def waiting(self) -> Iterable[str]:
        """The ids of the artifacts that clients wait for now."""
        return [each for each, flight in self._flights.items() if flight.passengers]

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Show how many there are, for as long as the context lasts."""
        flights = self._flights

        def passengers() -> int:
            return sum(flight.passengers for flight in tuple(flights.values()))

        with _under_way.by(lambda: [(len(flights), {})]), _passengers.by(lambda: [(passengers(), {})]):
            yield

    async def close(self) -> None:
        """End all flights; their clients get Lost."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass
class Boarding:
    """A client's part in a flight: what it got, held until it leaves."""

    answer: Answer
    _flight: Flight | None

    def leave(self) -> None:
        """The client has got all it can get, or has hung up. May be called twice."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.leave()
