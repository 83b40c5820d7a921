"""What a fetcher does about a request: decide, claim, fetch, verify, record."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from opentelemetry import trace

from dpm_core.artifacts import Lane, Want
from dpm_core.attempts import AttemptState, AttemptView, Failure
from dpm_core.decisions import Claim, Expire, Later, Recorded, Settled, decide_claim
from dpm_core.errors import Conflict, DiskFails, Unavailable
from dpm_core.events import (
    ArtifactStored,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
)
from dpm_core.origins import Origin
from dpm_core.ports import Attempt, Clock, EventLog, Intake
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.sources import Peering
from dpm_fetcher.transfer import GivenUp, Outcome, Stored, Transfer, within
from dpm_fetcher.waiters import Waiters
from dpm_runtime.meters import counter, histogram
from dpm_runtime.react import Done, Retry, Unprocessable
from dpm_runtime.react import Outcome as Delivery

APPEND_PAUSE_SECONDS = 1.0
"""Between two tries to record what an attempt came to while the bus is away."""

log = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)
_attempts = counter(
    "dpm.fetcher.attempts",
    "{attempt}",
    "attempts to fetch an artifact, by how they ended",
    ecosystem="`pypi`, …",
    outcome="`stored`, `unchanged` (upstream confirmed what is held), else the reason of the `fetch-failed` event",
)
_delays = histogram(
    "dpm.fetcher.claim.delay",
    "s",
    "from the append of a fetch request until a fetcher claims it: the lag of the bus",
)


@dataclass(frozen=True)
class Limits:
    """``index_seconds`` is what a whole fetch of an index may take; without a byte for ``stall_seconds`` the
    attempt of another fetcher counts as given up; ``unsized_bytes`` is the largest file taken whose size no
    index gives.
    """

    index_seconds: float
    stall_seconds: float
    unsized_bytes: int | None = None


class Fetcher:
    """Handles fetch requests, each in an attempt of its own, for any ecosystem."""

    def __init__(
        self,
        name: str,
        events: EventLog,
        intake: Intake,
        origins: Sequence[Origin],
        lanes: Lanes,
        waiters: Waiters,
        clock: Clock,
        limits: Limits,
        *,
        peering: Peering | None = None,
        copying: Origin | None = None,
    ) -> None:
        """``peering`` are asked before the origins, which help where they are slow.

        ``copying`` gives what a want is a copy of; such a one has no other origin.
        """
        self._name = name
        self._events = events
        self._intake = intake
        self._origins = origins
        self._lanes = lanes
        self._waiters = waiters
        self._clock = clock
        self._limits = limits
        self._peering = peering
        self._copying = [] if copying is None else [copying]

    async def on_request(self, recorded: Recorded) -> Delivery:
        """Settle one fetch request: the outcome is what becomes of its delivery. Raises Unavailable."""
        request = recorded.event
        if not isinstance(request, FetchRequested):
            return Unprocessable("not a fetch request")
        try:
            # mostly nothing has come behind it; where something has, the log refuses what is decided
            return await self._decide(recorded, request, recorded)
        except Conflict:
            last = await self._events.last(request.want.ref.topic)
        try:
            return await self._decide(recorded, request, last)
        except Conflict:
            return Retry(0)

    async def _decide(self, recorded: Recorded, request: FetchRequested, last: Recorded | None) -> Delivery:
        """Do what ``last``, the artifact's last event, leads to. Raises Conflict if it was not the last."""
        view = self._view(request.want, last)
        decision = decide_claim(
            last,
            recorded.sequence,
            request,
            view,
            self._clock.now(),
            stalled_after=self._limits.stall_seconds,
        )
        match decision:
            case Settled():
                if last is not None:
                    self._settle(request.want, last.sequence - 1)
                return Done()
            case Later(seconds=seconds):
                return Retry(seconds)
            case Expire(after=after):
                late = self._clock.now() - request.deadline
                return await self._expire(request.want, late, after)
            case Claim(after=after, adopt=adopt):
                if adopt is not None and (stored := self._intake.left(request.want.ref.id, adopt)) is not None:
                    log.info("a dead fetcher had stored it", extra={"artifact": stored.name, "token": after})
                    return await self._tell(request.want, stored, after)
                return await self._attempt(recorded, request, after, view if adopt else None)

    def _view(self, want: Want, last: Recorded | None) -> AttemptView | None:
        if last is None or not isinstance(last.event, FetchStarted):
            return None
        return self._intake.view(want.ref.id, last.sequence)

    async def _expire(self, want: Want, late: float, after: int) -> Delivery:
        failure = Failure(FailReason.EXPIRED, f"no fetcher took it up until {late:.0f} s past its deadline")
        return await self._tell(want, _failed(want, failure), after)

    async def _tell(self, want: Want, event: Event, after: int) -> Delivery:
        """Answer a request without an attempt. Raises Conflict."""
        await self._events.append(want.ref.topic, event, after=after)
        self._settle(want, after)
        return Done()

    async def _attempt(
        self, recorded: Recorded, request: FetchRequested, after: int, dead: AttemptView | None
    ) -> Delivery:
        want = request.want
        if dead is not None and not (want.vouched or dead.state.validators.strong):
            dead = None  # nothing would tell whether old and new bytes belong together
        begun = self._clock.now()
        try:
            attempt = await self._intake.begin(want)
        except DiskFails as error:
            return await self._tell(want, _come_to_nothing(want, Failure.of(error)), after)
        try:
            started = FetchStarted(want, recorded.sequence, self._name, dead.token if dead else None)
            token = await self._events.append(want.ref.topic, started, after=after)
            _delays.record(max(0.0, begun - recorded.time))
            self._waiters.expect(want.ref.id)
            event = await self._fetch(attempt, token, request, dead, begun)
            if not await self._record(want, event, token):
                return Retry(0)  # a successor is at it: to be done with its request would take it away
            self._settle(want, token)
        finally:
            self._waiters.forget(want.ref.id)
            await attempt.close()
        return Done()

    async def _fetch(
        self, attempt: Attempt, token: int, request: FetchRequested, dead: AttemptView | None, begun: float
    ) -> Event:
        """What the attempt comes to, whatever happens: a claim without a word would be made again and again."""
        want = request.want
        local = bool(want.copies or want.page_of)  # no upstream is asked: none is to be spared
        transfer = Transfer(
            want,
            attempt,
            self._asked(want),
            self._clock,
            peering=self._peering,
            held=request.held,
            abandoned=lambda written, length: self._waiters.gone(want.ref.id, written, length),
            unsized_limit=self._limits.unsized_bytes,
        )
        limit = self._limits.index_seconds if want.lane is Lane.INDEX else None
        try:
            adopted = await attempt.start(token, dead.token if dead else None)
            with _tracer.start_as_current_span("transfer", attributes=_about(want), record_exception=False):
                async with nullcontext() if local else self._lanes.slot(want):
                    outcome = await within(limit, transfer, adopted, dead.state if dead else None)
        except GivenUp as given_up:
            failed = given_up.failure
        except Unavailable as error:
            failed = Failure.of(error)
        except Exception:
            log.exception("a fetch went wrong", extra={"artifact": want.name})
            failed = Failure(FailReason.UNAVAILABLE, "the fetcher failed, see its log")
        else:
            return self._succeeded(want, outcome, begun)
        try:
            await attempt.publish(AttemptState().failed(failed))
        except Unavailable:  # the disk: readers are to see at least that nobody writes any more
            await attempt.close()
        return _come_to_nothing(want, failed)

    def _asked(self, want: Want) -> Sequence[Origin]:
        """The origins of what is wanted, beside peers that are asked for its bytes."""
        if want.copies:
            return self._copying
        if want.page_of:
            return [] if self._peering is None else [self._peering.peers]
        return self._origins

    def _succeeded(self, want: Want, outcome: Outcome, begun: float) -> Event:
        seconds = self._clock.now() - begun
        how = "stored" if isinstance(outcome, Stored) else "unchanged"
        _attempts.add(1, {"outcome": how, "ecosystem": want.ref.ecosystem})
        if not isinstance(outcome, Stored):
            return FetchUnchanged(want.ref, outcome.held.cid, outcome.validators, want.mutable)
        return ArtifactStored(
            ref=want.ref,
            name=want.name,
            blob=outcome.blob,
            media_type=outcome.state.media_type,
            validators=outcome.state.validators,
            source=outcome.source,
            seconds=round(seconds, 3),
            vouched=want.vouched,
            fresh_for=want.fresh_for,
            private=want.private,
            fields=outcome.state.fields,
            parts=outcome.parts,
        )

    async def _record(self, want: Want, event: Event, token: int) -> bool:
        """Append what the attempt came to. Lost the token: a successor's word counts, ours is dropped."""
        while True:
            try:
                await self._events.append(want.ref.topic, event, after=token)
                return True
            except Conflict:
                log.warning("an attempt was superseded", extra={"artifact": want.name, "token": token})
                return False
            except Unavailable as error:
                log.warning("it will be recorded later", extra={"artifact": want.name, "why": error.what})
                await self._clock.sleep(APPEND_PAUSE_SECONDS)

    def _settle(self, want: Want, token: int) -> None:
        with suppress(Unavailable):  # it only stays longer then
            self._intake.settle(want.ref.id, token)


def _about(want: Want) -> dict[str, str]:
    return {"dpm.lane": want.lane.value, "dpm.artifact.name": want.name}


def _come_to_nothing(want: Want, failure: Failure) -> FetchFailed:
    _attempts.add(1, {"outcome": failure.reason.value, "ecosystem": want.ref.ecosystem})
    log.warning("fetch failed", extra={"artifact": want.name, "reason": failure.reason, "why": failure.detail})
    return _failed(want, failure)


def _failed(want: Want, failure: Failure) -> FetchFailed:
    return FetchFailed(
        ref=want.ref,
        name=want.name,
        reason=failure.reason,
        detail=failure.detail,
        status=failure.status,
        retry_after=failure.retry_after,
        mutable=want.mutable,
    )
