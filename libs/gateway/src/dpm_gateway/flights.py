"""Misses: what a gateway process does once for all of its clients that want the same artifact."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from dpm_core.artifacts import Held, Want
from dpm_core.attempts import AttemptState, Failure, Phase
from dpm_core.cids import Cid
from dpm_core.decisions import Ask, Follow, Join, Refuse, Serve, decide_request
from dpm_core.errors import AttemptLost, Conflict, Unavailable
from dpm_core.events import FailReason, FetchFailed, FetchRequested
from dpm_core.ports import BlobStore, Clock, EventLog, Growing
from dpm_gateway.bulletin import Bulletin, Watch
from dpm_gateway.frontier import Frontier

TRIES = 5
"""How often a refused append is decided anew."""

REDELIVERY_SECONDS = 12.0
"""After a fetcher died, its request is with another one within so many seconds: ``ack_wait`` and then some."""

FOLDER_PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between looks for an attempt's folder, which appears just behind its event."""

ARRIVAL_SECONDS = 60.0
"""A disk may take so long to make a verified file safe."""

ARRIVAL_LOOK_SECONDS = 0.25
"""Between two looks for it, while no event says that it is there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landed:
    """The bytes are in the store; ``time`` (epoch seconds) is when upstream last vouched for them."""

    cid: Cid
    time: float
    media_type: str | None = None


@dataclass(frozen=True)
class Airborne:
    """Bytes are coming, and may be shown as they come."""

    frontier: Frontier
    state: AttemptState


@dataclass(frozen=True)
class Lost:
    """There are no bytes, and why."""

    failure: Failure


Answer: TypeAlias = Landed | Airborne | Lost


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
        self.events = events
        self.store = store
        self.bulletin = bulletin
        self.clock = clock
        self.claim_seconds = claim_seconds
        self.request_seconds = request_seconds
        self._flights: dict[str, _Flight] = {}
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
        if flight is None or flight.fresh_since < fresh_since:
            flight = _Flight(self, want, held, fresh_since, missing)
            self._flights[want.ref.id] = flight
            task = asyncio.create_task(self._fly(flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        flight.enter()
        try:
            return Boarding(await asyncio.shield(flight.answer), flight)
        except BaseException:
            flight.leave()
            raise

    async def _fly(self, flight: "_Flight") -> None:
        try:
            await flight.fly()
        finally:
            if self._flights.get(flight.want.ref.id) is flight:
                del self._flights[flight.want.ref.id]

    def waiting(self) -> Iterable[str]:
        """The ids of the artifacts that clients wait for now."""
        return [each for each, flight in self._flights.items() if flight.passengers]

    async def close(self) -> None:
        """End all flights; their clients get Lost."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass
class Boarding:
    """A client's part in a flight: what it got, held until it leaves."""

    answer: Answer
    _flight: "_Flight | None"

    def leave(self) -> None:
        """The client has got all it can get, or has hung up. May be called twice."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.leave()


class _Flight:
    """One miss: ask, wait for a fetcher, follow its attempt, and its successors."""

    def __init__(
        self, flights: Flights, want: Want, held: Held | None, fresh_since: float, missing: Cid | None
    ) -> None:
        self.want = want
        self.fresh_since = fresh_since
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.passengers = 0
        self._all = flights
        self._held = held
        self._lost = 0
        self._asked: int | None = None
        self._missing = missing
        self._frontier: Frontier | None = None
        self._over = False

    def enter(self) -> None:
        """A client waits for this."""
        self.passengers += 1

    def leave(self) -> None:
        """A client is done with it; the last one out closes the attempt."""
        self.passengers -= 1
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._over and not self.passengers and self._frontier is not None:
            self._frontier.close()

    async def fly(self) -> None:
        """See it through; whatever happens, the passengers get an answer."""
        try:
            with self._all.bulletin.watch(self.want.ref.id) as watch:
                self._land(await self._until_answered(watch))
            if self._frontier is not None:
                await self._frontier.advance()
        except Unavailable as error:
            self._land(_unavailable(error.what, error.retry_after))
        except asyncio.CancelledError:
            self._land(_unavailable("the gateway is stopping", 1.0))
            raise
        except Exception:
            log.exception("a miss went wrong", extra={"artifact": self.want.name})
            self._land(_unavailable("the gateway failed, see its log", None))
        finally:
            self._over = True
            self._close_if_done()

    def _land(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    async def _until_answered(self, watch: Watch) -> Answer:
        refused = 0
        while refused < TRIES:
            last = await self._all.events.last(self.want.ref.topic)
            decision = decide_request(
                last,
                self._all.clock.now(),
                fresh_since=self.fresh_since,
                missing=self._missing,
                lost=self._lost,
                asked=self._asked,
            )
            match decision:
                case Serve(cid=cid, time=time, stored=stored):
                    if await self._is_here(cid):
                        return Landed(cid, time, stored.media_type if stored else None)
                    refused += 1
                    self._asked = None
                case Refuse(failed=failed):
                    return Lost(_failure(failed))
                case Ask(after=after):
                    try:
                        self._asked = await self._ask(after)
                    except Conflict:
                        refused += 1
                        continue
                    answer = await self._next(watch, self._asked)
                case Join(sequence=sequence):
                    self._asked = sequence if self._asked is None else self._asked
                    answer = await self._next(watch, sequence)
                case Follow(token=token):
                    self._asked = token if self._asked is None else self._asked
                    answer = await self._follow(watch, token)
            if not isinstance(decision, Serve) and answer is not None:
                return answer
        return _unavailable(f"{self.want.name} is asked for and answered too fast to keep up", 1.0)

    async def _is_here(self, cid: Cid) -> bool:
        body = await self._all.store.open(cid)
        if body is None:
            log.warning("an event without its file", extra={"artifact": self.want.name, "cid": cid})
            self._missing = cid
            return False
        body.close()
        return True

    async def _ask(self, after: int) -> int:
        deadline = self._all.clock.now() + self._all.request_seconds
        request = FetchRequested(self.want, deadline, self._all.gateway, self._held)
        return await self._all.events.append(self.want.ref.topic, request, after=after)

    async def _next(self, watch: Watch, sequence: int) -> Answer | None:
        """Wait for what follows a request; None if something did and is to be looked at."""
        if await watch.beyond(sequence, self._all.claim_seconds):
            return None
        return _unavailable("no fetcher is running", self._all.claim_seconds)

    async def _follow(self, watch: Watch, token: int) -> Answer | None:
        growing = await self._folder(token, watch)
        if growing is None:
            return await self._after_loss(watch, token)
        frontier = Frontier(token, growing, vouched=self.want.vouched, successor=self._successor)
        try:
            state = await frontier.opened()
            if state.phase is Phase.OPEN:
                self._frontier = frontier
                return Airborne(frontier, state)
        except AttemptLost:
            return await self._after_loss(watch, token)
        finally:
            if self._frontier is None:
                frontier.close()
        if state.phase is Phase.VERIFIED and state.cid is not None:
            if await self._arrives(state.cid, watch, token):
                return Landed(state.cid, self._all.clock.now(), state.media_type)
            return None
        return Lost(state.failure or Failure(FailReason.UNAVAILABLE, "the fetch failed"))

    async def _folder(self, token: int, watch: Watch) -> Growing | None:
        """The attempt's folder. It appears just behind the event, and a minute after the end it is gone."""
        for pause in FOLDER_PAUSES:
            growing = await self._all.store.follow(self.want.ref.id, token)
            if growing is not None or await watch.beyond(token, pause):
                return growing
        return None

    async def _arrives(self, cid: Cid, watch: Watch, token: int) -> bool:
        """Verified bytes are shown at once, and are in the store a little later, when they are safe on disk.

        The event says when; without a bus the store itself does.
        """
        deadline = self._all.clock.now() + ARRIVAL_SECONDS
        recorded = False
        while self._all.clock.now() < deadline:
            body = await self._all.store.open(cid)
            if body is not None:
                body.close()
                return True
            if recorded:
                break
            recorded = await watch.beyond(token, ARRIVAL_LOOK_SECONDS)
        return False

    async def _after_loss(self, watch: Watch, token: int) -> Answer | None:
        """The attempt is dead. Its request comes to another fetcher, unless nobody is there."""
        if not await watch.beyond(token, REDELIVERY_SECONDS):
            self._lost = token
        return None

    async def _successor(self, token: int) -> tuple[int, Growing] | None:
        """The attempt that goes on from a lost one, once there is one."""
        deadline = self._all.clock.now() + REDELIVERY_SECONDS
        with self._all.bulletin.watch(self.want.ref.id) as watch:
            while True:
                newest = await self._all.store.newest(self.want.ref.id)
                if newest is not None and newest > token:
                    growing = await self._all.store.follow(self.want.ref.id, newest)
                    if growing is not None:
                        return newest, growing
                left = deadline - self._all.clock.now()
                if left <= 0:
                    return None
                await watch.beyond(token, min(left, 0.2))


def _failure(failed: FetchFailed) -> Failure:
    return Failure(failed.reason, failed.detail, failed.status, failed.retry_after)


def _unavailable(detail: str, retry_after: float | None) -> Lost:
    return Lost(Failure(FailReason.UNAVAILABLE, detail, retry_after=retry_after))
