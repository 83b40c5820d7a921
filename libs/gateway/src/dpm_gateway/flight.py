"""One miss: ask for the artifact, wait for a fetcher, follow its attempt and those that go on from it."""

import asyncio
import logging
from dataclasses import dataclass
from typing import TypeAlias

from opentelemetry import trace
from opentelemetry.trace import SpanContext

from dpm_core.artifacts import NO_VALIDATORS, Fields, Held, Validators, Want
from dpm_core.attempts import WITHHELD_WHOLE, AttemptState, Failure, Phase
from dpm_core.cids import Cid
from dpm_core.decisions import Ask, Behind, Follow, Join, Recorded, Refuse, Serve, decide_request
from dpm_core.digests import answers
from dpm_core.errors import AttemptLost, Conflict, Unavailable, Untrusted
from dpm_core.events import FailReason, FetchFailed, FetchRequested
from dpm_core.ports import BlobStore, Clock, EventLog, Growing
from dpm_gateway.bulletin import Bulletin, Watch
from dpm_gateway.frontier import Frontier
from dpm_runtime.messaging import link_to

TRIES = 5
"""How often a refused append, a lost attempt or a vanished blob is decided anew."""

REDELIVERY_SECONDS = 12.0
"""After a fetcher died, its request is with another one within so many seconds: ``ack_wait`` and then some."""

FOLDER_PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between looks for an attempt's folder, which appears just behind its event."""

ARRIVAL_SECONDS = 60.0
"""A disk may take so long to make a verified file safe."""

ARRIVAL_LOOK_SECONDS = 0.25
"""Between two looks for it, while no event says that it is there."""

EVENT_SECONDS = 0.5
"""Where only the end counts, the event that tells of it is waited for so long before the attempt is looked at.

That takes much more, and is needed only if the fetcher is dead, upstream slow, or the bus away.
"""

SUCCESSOR_LOOK_SECONDS = 0.02
"""Between two looks for the folder of an attempt that goes on from a lost one."""

log = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)


@dataclass(frozen=True)
class Landed:
    """The bytes are in the store; ``time`` (epoch seconds) is when upstream last vouched for them."""

    cid: Cid
    time: float
    media_type: str | None = None
    fields: Fields = ()
    validators: Validators = NO_VALIDATORS


@dataclass(frozen=True)
class Airborne:
    """Bytes are coming, and may be shown as they come."""

    frontier: Frontier
    state: AttemptState


@dataclass(frozen=True)
class Lost:
    """There are no bytes, and why. ``tried``: a fetcher says so."""

    failure: Failure
    tried: bool = False


Answer: TypeAlias = Landed | Airborne | Lost


@dataclass(frozen=True)
class Means:
    """What a flight needs. Without a FetchStarted within ``claim_seconds`` there is no fetcher; a request counts
    for ``request_seconds``.
    """

    gateway: str
    events: EventLog
    store: BlobStore
    bulletin: Bulletin
    clock: Clock
    claim_seconds: float
    request_seconds: float


class Flight:
    """One miss, for all clients of this process that want the same bytes.

    ``fresh_since`` and ``missing`` are as for :func:`dpm_core.decisions.decide_request`; ``held`` only has to be
    confirmed.
    """

    def __init__(
        self, means: Means, want: Want, held: Held | None, fresh_since: float, missing: Cid | None
    ) -> None:
        self.want = want
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.passengers = 0
        self._means = means
        self._fresh_since = fresh_since
        self._held = held
        self._lost = 0
        self._asked: int | None = None
        self._missing = missing
        self._frontier: Frontier | None = None
        self._over = False
        self._span = _tracer.start_span("flight", attributes={"dpm.artifact.name": want.name})

    @property
    def span(self) -> SpanContext:
        """Its span, below that of the client for which it began."""
        return self._span.get_span_context()

    def enter(self) -> None:
        """A client waits for this."""
        self.passengers += 1

    def leave(self) -> None:
        """A client is done with it; the last one out closes the attempt."""
        self.passengers -= 1
        self._close_if_done()

    def carries(self, want: Want) -> bool:
        """Whether what this flight brings is sure to be what ``want`` asks for."""
        return answers(self.want.digests, want.digests)

    def _close_if_done(self) -> None:
        if self._over and not self.passengers and self._frontier is not None:
            self._frontier.close()

    async def fly(self) -> None:
        """See it through; whatever happens, the passengers get an answer."""
        with trace.use_span(self._span, end_on_exit=True, record_exception=False):
            await self._fly()

    async def _fly(self) -> None:
        try:
            with self._means.bulletin.watch(self.want.ref.id) as watch:
                self._land(await self._until_answered(watch))
                if self._frontier is not None:
                    await self._frontier.advance()
        except Unavailable as error:
            self._land(Lost(Failure.of(error)))
        except asyncio.CancelledError:
            self._land(unavailable("the gateway is stopping", 1.0))
            raise
        except Exception:
            log.exception("a miss went wrong", extra={"artifact": self.want.name})
            self._land(unavailable("the gateway failed, see its log", None))
        finally:
            self._over = True
            self._close_if_done()

    def _land(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    async def _until_answered(self, watch: Watch) -> Answer:
        tries = 0
        last: Recorded | None = None
        while tries < TRIES:
            last = await self._newer(watch, last)
            decision = decide_request(
                last,
                self._means.clock.now(),
                fresh_since=self._fresh_since,
                digests=self.want.digests,
                missing=self._missing,
                lost=self._lost,
                asked=self._asked,
            )
            answer: Answer | None = None
            match decision:
                case Serve(cid=cid, time=time, stored=stored):
                    if await self._is_here(cid):
                        if stored is None:
                            return Landed(cid, time)
                        return Landed(cid, time, stored.media_type, stored.fields, stored.validators)
                    self._asked = None
                    tries += 1
                case Refuse(failed=failed):
                    return Lost(_failure(failed), tried=True)
                case Ask(after=after):
                    try:
                        self._asked = await self._ask(after)
                    except Conflict:
                        tries += 1
                        continue
                    answer = await self._next(watch, self._asked)
                case Join(sequence=sequence):
                    self._link(last)
                    self._asked = sequence if self._asked is None else self._asked
                    answer = await self._next(watch, sequence)
                case Behind(sequence=sequence):
                    answer = await self._behind(watch, sequence)
                    tries += 1
                case Follow(token=token):
                    self._link(last)
                    self._asked = token if self._asked is None else self._asked
                    if not (self._waits_for_all and await watch.beyond(token, EVENT_SECONDS)):
                        answer = await self._follow(watch, token)
                    tries += 1
            if answer is not None:
                return answer
        return unavailable(f"{self.want.name} could not be had in {TRIES} tries", 1.0)

    async def _newer(self, watch: Watch, last: Recorded | None) -> Recorded | None:
        """The artifact's last event, given the one just decided on.

        What was told of behind that may not be the last any more; but then the log refuses what is decided.
        """
        if last is not None and watch.latest is not None and watch.newest > last.sequence:
            return watch.latest
        return await self._means.events.last(self.want.ref.topic)

    @property
    def _waits_for_all(self) -> bool:
        """Whether nothing would be shown before the end, as far as one can tell: what has a limit is small."""
        size = self.want.size
        return self.want.limit is not None if size is None else size <= WITHHELD_WHOLE

    def _link(self, last: Recorded | None) -> None:
        """Somebody else, perhaps in another process, has had it fetched: their trace tells the rest."""
        if self._asked is None and last is not None:
            link_to(last)

    async def _is_here(self, cid: Cid) -> bool:
        try:
            body = await self._means.store.open(cid)
        except Untrusted as error:
            body = None
            log.error("the disk lies", extra={"artifact": self.want.name, "why": str(error)})
        if body is None:
            log.warning("an event without its file", extra={"artifact": self.want.name, "cid": cid})
            self._missing = cid
            return False
        body.close()
        return True

    async def _ask(self, after: int) -> int:
        deadline = self._means.clock.now() + self._means.request_seconds
        request = FetchRequested(self.want, deadline, self._means.gateway, self._held)
        return await self._means.events.append(self.want.ref.topic, request, after=after)

    async def _next(self, watch: Watch, sequence: int) -> Answer | None:
        """Wait for what follows a request; None if something did and is to be looked at."""
        if await watch.beyond(sequence, self._means.claim_seconds):
            return None
        last = await self._means.events.last(self.want.ref.topic)  # the bulletin lags after the bus was away
        if last is None or last.sequence > sequence:
            return None
        return unavailable("no fetcher is running", self._means.claim_seconds)

    async def _behind(self, watch: Watch, sequence: int) -> Answer | None:
        """Wait a while for the end of a fetch of other bytes; None if something is to be looked at."""
        growing = await self._means.store.follow(self.want.ref.id, sequence)
        if growing is None:
            return await self._after_loss(watch, sequence)
        try:
            await growing.opened()
        except AttemptLost:
            return await self._after_loss(watch, sequence)
        finally:
            growing.close()
        if await watch.beyond(sequence, self._means.claim_seconds):
            return None
        return unavailable(f"another version of {self.want.name} is being fetched", self._means.claim_seconds)

    async def _follow(self, watch: Watch, token: int) -> Answer | None:
        growing = await self._folder(token, watch)
        if growing is None:
            return await self._after_loss(watch, token)
        frontier = Frontier(
            token, growing, successor=lambda lost: self._successor(watch, lost), stored=self._means.store.open
        )
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
                now = self._means.clock.now()
                return Landed(state.cid, now, state.media_type, state.fields, state.validators)
            return None
        return Lost(state.failure or Failure(FailReason.UNAVAILABLE, "the fetch failed"), tried=True)

    async def _folder(self, token: int, watch: Watch) -> Growing | None:
        """The attempt's folder. It appears just behind the event, and a minute after the end it is gone."""
        for pause in FOLDER_PAUSES:
            growing = await self._means.store.follow(self.want.ref.id, token)
            if growing is not None or await watch.beyond(token, pause):
                return growing
        return None

    async def _arrives(self, cid: Cid, watch: Watch, token: int) -> bool:
        """Verified bytes are shown at once, and are in the store a little later, when they are safe on disk.

        The event says when; without a bus the store itself does.
        """
        deadline = self._means.clock.now() + ARRIVAL_SECONDS
        recorded = False
        while self._means.clock.now() < deadline:
            try:
                body = await self._means.store.open(cid)
            except Untrusted as error:
                log.error("the disk lies", extra={"artifact": self.want.name, "why": str(error)})
                return False
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

    async def _successor(self, watch: Watch, token: int) -> tuple[int, Growing] | None:
        """The attempt that goes on from the bytes of a lost one, once there is one.

        One that began anew is none: it says whether its own bytes are right, and nobody would ever know of
        those that clients have from the lost one.
        """
        if not self.want.vouched:
            return None
        deadline = self._means.clock.now() + REDELIVERY_SECONDS
        while (left := deadline - self._means.clock.now()) > 0:
            following = watch.attempt_after(token)
            if following is None:
                await watch.beyond(max(token, watch.newest), left)
                continue
            sequence, started = following
            if started.adopted != token or not answers(started.want.digests, self.want.digests):
                return None
            growing = await self._means.store.follow(self.want.ref.id, sequence)
            if growing is not None:
                return sequence, growing
            await asyncio.sleep(SUCCESSOR_LOOK_SECONDS)
        return None


def _failure(failed: FetchFailed) -> Failure:
    return Failure(failed.reason, failed.detail, failed.status, failed.retry_after)


def unavailable(detail: str, retry_after: float | None) -> Lost:
    """Cannot be had now."""
    return Lost(Failure(FailReason.UNAVAILABLE, detail, retry_after=retry_after))
