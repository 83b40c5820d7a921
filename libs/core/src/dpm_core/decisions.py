"""What a gateway and a fetcher do next, decided from an artifact's last event alone.

The log is the lock: each decision that appends names the sequence that it was made from, and the log refuses
it if that is no longer the last.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from dpm_core.attempts import AttemptView
from dpm_core.cids import Cid
from dpm_core.digests import Digest, answers
from dpm_core.events import (
    ArtifactStored,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
)

NEGATIVE_FOR = 60.0
"""Seconds for which upstream's "there is no such thing" or "come back later" is believed."""

DENIED_FOR = 2.0
"""Seconds for which "there is no such thing" is believed of what metadata gave a digest of.

The metadata is upstream's own: it is being brought up to date, and has the thing in a moment.
"""

NEGATIVE = frozenset({FailReason.NOT_FOUND})
"""Failures that are answers, and believed for a while."""

ANSWERS = frozenset({FailReason.NOT_FOUND, FailReason.REFUSED})
"""Failures by which upstream itself says that clients do not get it, or no longer: it is not away."""


@dataclass(frozen=True)
class Recorded:
    """An event as the log holds it: its sequence, its time (seconds since the epoch), its own random id.

    ``trace`` are the W3C trace context headers it was appended under.
    """

    sequence: int
    time: float
    event: Event
    id: str
    trace: tuple[tuple[str, str], ...] = ()

    @property
    def happened(self) -> float:
        """When it happened (seconds since the epoch): before ``time``, if it was told again to a new log."""
        told = self.event.stored_at if isinstance(self.event, ArtifactStored) else None
        return self.time if told is None else told


def believed_until(failed: Recorded, digests: Iterable[Digest] = ()) -> float:
    """Until when (epoch seconds) a fetch that failed is not tried again; when it failed, if it may be at once.

    That is so for upstream's own answers, and for as long as it asked to be left alone, never beyond
    NEGATIVE_FOR. ``digests``: what metadata gave.
    """
    match failed.event:
        case FetchFailed(reason=reason) if reason in NEGATIVE:
            return failed.time + (DENIED_FOR if tuple(digests) else NEGATIVE_FOR)
        case FetchFailed(status=int(), retry_after=float() as pause):
            return failed.time + min(pause, NEGATIVE_FOR)
        case _:
            return failed.time


@dataclass(frozen=True)
class Ask:
    """Append FetchRequested, if ``after`` is still the artifact's last sequence (0: it has no event)."""

    after: int


@dataclass(frozen=True)
class Join:
    """Somebody has asked already: wait for what follows ``sequence``."""

    sequence: int


@dataclass(frozen=True)
class Follow:
    """An attempt is under way: read from it."""

    token: int


@dataclass(frozen=True)
class Behind:
    """Bytes with other digests are being fetched under this name: wait for what follows ``sequence``."""

    sequence: int


@dataclass(frozen=True)
class Serve:
    """The bytes are in the store, and fresh enough; ``time`` (epoch seconds) is when that was last known."""

    cid: Cid
    time: float
    stored: ArtifactStored | None = None


@dataclass(frozen=True)
class Refuse:
    """There are no bytes: the fetch that was asked for failed, or upstream said no a moment ago."""

    failed: FetchFailed


GatewayDecision: TypeAlias = Ask | Join | Follow | Behind | Serve | Refuse


def decide_request(
    last: Recorded | None,
    now: float,
    *,
    fresh_since: float,
    digests: Iterable[Digest] = (),
    missing: Cid | None = None,
    lost: int = 0,
    asked: int | None = None,
) -> GatewayDecision:
    """What a gateway does about an artifact that its catalog has not, or not fresh.

    An answer from before ``fresh_since`` (epoch seconds) does not count, nor one that names ``missing``, a blob
    that the store turned out not to have, nor one about bytes that ``digests``, what metadata gave, does not
    vouch for: upstream replaced the file in place. ``lost`` is the highest token whose attempt is known to be
    dead. What ends an attempt behind ``asked``, the sequence of the request that is waited on, is its answer in
    any case: else an upstream that fails faster than one can look would be asked for ever. One that said
    when to come back is not asked before, for NEGATIVE_FOR at most.
    """
    if last is None:
        return Ask(0)
    answered = asked is not None and last.sequence > asked
    match last.event:
        case FetchRequested(want=want, deadline=deadline) if now <= deadline:
            return Join(last.sequence) if answers(want.digests, digests) else Behind(last.sequence)
        case FetchStarted(want=want) if last.sequence > lost:
            return Follow(last.sequence) if answers(want.digests, digests) else Behind(last.sequence)
        case ArtifactStored(blob=blob) if not answers(blob.digests, digests):
            return Ask(last.sequence)
        case ArtifactStored(blob=blob) if answered or (last.happened >= fresh_since and blob.cid != missing):
            return Serve(blob.cid, last.happened, last.event)
        case FetchUnchanged(cid=cid) if answered or (last.time >= fresh_since and cid != missing):
            return Serve(cid, last.time)
        case FetchFailed() if answered:
            return Refuse(last.event)
        case FetchFailed(reason=reason) if reason in NEGATIVE:
            believed = last.time >= fresh_since and now <= believed_until(last, digests)
            return Refuse(last.event) if believed else Ask(last.sequence)
        case FetchFailed() as failed:
            left = believed_until(last) - now  # upstream asked to be left alone: fresh or not
            return Refuse(replace(failed, retry_after=left)) if left > 0 else Ask(last.sequence)
        case _:
            return Ask(last.sequence)


@dataclass(frozen=True)
class Claim:
    """Append FetchStarted after ``after``; ``adopt`` is the dead attempt whose bytes may be gone on from."""

    after: int
    adopt: int | None = None


@dataclass(frozen=True)
class Expire:
    """The request's deadline has passed: append FetchFailed (expired) after ``after``, fetch nothing."""

    after: int


@dataclass(frozen=True)
class Later:
    """Somebody is at work on it: look again in so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Settled:
    """The request has had its answer."""


FetcherDecision: TypeAlias = Claim | Expire | Later | Settled


def decide_claim(
    last: Recorded | None,
    sequence: int,
    request: FetchRequested,
    attempt: AttemptView | None,
    now: float,
    *,
    stalled_after: float,
) -> FetcherDecision:
    """What a fetcher does about the request at ``sequence``, given the artifact's last event.

    ``attempt`` is what the store shows of the attempt that a last FetchStarted began, None if it has no
    folder. A living writer without bytes for ``stalled_after`` seconds is superseded and its bytes are not
    adopted: it may still write to them. One that has its verdict only waits for the log to take it. An attempt
    at a later request is that request's matter: its bytes may be meant to be others.
    """
    if last is None:
        return Settled()
    if last.sequence == sequence:
        return Expire(sequence) if now > request.deadline else Claim(sequence)
    if not isinstance(last.event, FetchStarted) or last.event.request != sequence:
        return Settled()
    if attempt is None:
        return Claim(last.sequence)
    if not attempt.locked:
        return Claim(last.sequence, adopt=attempt.token)
    if attempt.state.over or now - attempt.grown_at < stalled_after:
        return Later(2.0)
    return Claim(last.sequence)
