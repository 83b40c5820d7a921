"""What a client that asks now would get, and why: told from what is known of an artifact and from its events.

Pure. It follows the gateway's own steps: what is held and fresh is served, for the rest the log is asked what
:func:`dpm_core.decisions.decide_request` does about it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dpm_core.artifacts import Want
from dpm_core.attempts import AttemptView
from dpm_core.cids import Cid
from dpm_core.decisions import (
    ANSWERS,
    NEGATIVE,
    Behind,
    Follow,
    Join,
    Recorded,
    Refuse,
    Serve,
    believed_until,
    decide_request,
)
from dpm_core.digests import answers
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    BlobQuarantined,
    FetchFailed,
    FetchRequested,
    FetchUnchanged,
    about,
)
from dpm_core.ports import Entry


class Answer(StrEnum):
    """What a client that asks now gets."""

    HIT = "hit"
    """What is held; nobody is asked."""
    STALE = "stale"
    """What is held, once upstream has been asked whether it has changed; at once while upstream is away."""
    FETCHING = "fetching"
    """What is on its way already."""
    MISS = "miss"
    """It is fetched."""
    REFUSED = "refused"
    """An error."""


class Why(StrEnum):
    """The reason for it; a stable word for programs."""

    HELD = "held"
    MADE = "made"
    EXPIRED = "expired"
    ASKED = "asked"
    STARTED = "started"
    BROKEN_OFF = "broken-off"
    NEVER_ASKED = "never-asked"
    NO_PAGE = "no-page"
    NOT_NAMED = "not-named"
    EVICTED = "evicted"
    QUARANTINED = "quarantined"
    LOST = "lost"
    REPLACED = "replaced"
    FAILED = "failed"
    NOT_SERVED = "not-served"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Page:
    """An index page on which a file may stand: its URL at upstream, and whether it names the file.

    ``checked_at`` (epoch seconds) is when upstream last vouched for it, None if it is not held.
    """

    url: str
    checked_at: float | None = None
    names: bool = False


@dataclass(frozen=True)
class Sight:
    """What is known of an artifact beside its events.

    ``want`` is as a gateway would ask for it, with what a page says of a file; ``pages`` are those on which a file
    may stand, best first, none for what needs no page. ``present`` are the blobs whose bytes are in the store,
    of those that catalog or events name. ``attempt`` is its newest one that has a folder. ``stale_for`` (seconds)
    is how long a page is served while upstream is away.
    """

    want: Want
    entry: Entry | None = None
    pages: tuple[Page, ...] = ()
    present: frozenset[Cid] = frozenset()
    attempt: AttemptView | None = None
    stale_for: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The answer, its reason in a word and in a sentence, and until when (epoch seconds) it stands, if it ends."""

    answer: Answer
    why: Why
    text: str
    until: float | None = None


def judge(sight: Sight, events: Sequence[Recorded] | None, now: float) -> Verdict:
    """What a client that asks at ``now`` (epoch seconds) gets, and why.

    ``events`` are those of the artifact and of the blobs that it had, in order; None if the log cannot be read.
    """
    want, entry = sight.want, sight.entry
    held = entry is not None and entry.blob.cid in sight.present and answers(entry.blob.digests, want.digests)
    if sight.pages and (unnamed := _unnamed(sight, held=held)) is not None:
        return unnamed
    if entry is not None and held and entry.fresh(now):
        if entry.fresh_for is None:
            return Verdict(Answer.HIT, Why.HELD, "it is in the store, and a file never changes")
        return Verdict(Answer.HIT, Why.HELD, "it is in the store, and fresh", entry.checked_at + entry.fresh_for)
    if events is None:
        if held:
            return _stale(sight, now)
        return Verdict(Answer.MISS, Why.UNKNOWN, "it is not held; the log, which would say why, cannot be read")
    return _asked_of_log(sight, events, now, held=held)


def pinned(sight: Sight, events: Sequence[Recorded] | None) -> bool:
    """Whether the artifact is to be kept; a pin outlives what it was set on."""
    if sight.entry is not None:
        return sight.entry.pinned
    pins = [each.event for each in events or () if isinstance(each.event, ArtifactPinned | ArtifactUnpinned)]
    return bool(pins) and isinstance(pins[-1], ArtifactPinned)


def _unnamed(sight: Sight, *, held: bool) -> Verdict | None:
    """What keeps a file from its client before its bytes are even looked for: no page that is held names it."""
    if any(page.names for page in sight.pages):
        return None
    unread = [page.url for page in sight.pages if page.checked_at is None]
    if unread:
        begin = "its bytes are held, but not its page" if held else "its page is not held"
        text = f"{begin}: {unread[0]} is fetched first, and says what the file must be"
        return Verdict(Answer.MISS, Why.NO_PAGE, text)
    said = " and ".join(f"{page.url}, of {moment(page.checked_at or 0.0)}," for page in sight.pages)
    text = f"{said} does not name it; upstream is asked again before that is believed"
    return Verdict(Answer.REFUSED, Why.NOT_NAMED, text)


def _asked_of_log(sight: Sight, events: Sequence[Recorded], now: float, *, held: bool) -> Verdict:
    want, entry = sight.want, sight.entry
    own = [each for each in events if about(each.event) in (want.ref.topic, None)]
    last = own[-1] if own else None
    missing = None if entry is None or (want.mutable and held) else entry.blob.cid
    fresh_since = now - want.fresh_for if want.fresh_for is not None else 0.0
    decision = decide_request(last, now, fresh_since=fresh_since, digests=want.digests, missing=missing)
    if isinstance(decision, Serve) and decision.cid in sight.present:
        return Verdict(Answer.HIT, Why.HELD, "it is in the store; the catalog has yet to say so")
    if last is not None:
        match decision:
            case Join():
                text = f"it was asked for at {moment(last.time)}, and no fetcher has begun yet"
                return Verdict(Answer.FETCHING, Why.ASKED, text, _deadline(last))
            case Behind():
                text = "other bytes are being fetched under its name: it waits for their end"
                return Verdict(Answer.FETCHING, Why.STARTED, text)
            case Follow(token=token):
                return _under_way(sight.attempt, token, last)
            case Refuse(failed=failed):
                until = believed_until(last, want.digests)
                if want.fresh_for is not None and failed.reason in NEGATIVE:
                    until = min(until, last.time + want.fresh_for)
                text = f"upstream's answer of {moment(last.time)} still counts: {_failure(failed)}"
                if held and failed.reason not in ANSWERS:
                    return Verdict(Answer.STALE, Why.FAILED, f"it is held; {text}", until)
                return Verdict(Answer.REFUSED, Why.FAILED, text, until)
    return _stale(sight, now) if held else _missed(sight, events, own)


def _stale(sight: Sight, now: float) -> Verdict:
    assert sight.entry is not None
    until = sight.entry.checked_at + sight.stale_for
    if now > until:
        text = "it is held, but too old to be served unless upstream confirms it"
        return Verdict(Answer.MISS, Why.EXPIRED, text)
    of = moment(sight.entry.checked_at)
    text = f"it is held, of {of}: upstream is asked whether it has changed, and while that is away it is served"
    return Verdict(Answer.STALE, Why.EXPIRED, text, until)


def _under_way(attempt: AttemptView | None, token: int, started: Recorded) -> Verdict:
    since = f"since {moment(started.time)}"
    if attempt is None or attempt.token != token or not attempt.locked:
        text = (
            f"its fetch, {since}, has no fetcher any more: another one goes on with it, or it is asked for again"
        )
        return Verdict(Answer.FETCHING, Why.BROKEN_OFF, text)
    length = "" if attempt.state.length is None else f" of {attempt.state.length}"
    return Verdict(Answer.FETCHING, Why.STARTED, f"it is being fetched {since}: {attempt.written}{length} bytes")


def _missed(sight: Sight, events: Sequence[Recorded], own: Sequence[Recorded]) -> Verdict:
    told = [each for each in own if not isinstance(each.event, ArtifactPinned | ArtifactUnpinned)]
    if not told:
        return Verdict(
            Answer.MISS, Why.NEVER_ASKED, "nobody has asked this node for it, as far as its log goes back"
        )
    last = told[-1]
    at = moment(last.time)
    match last.event:
        case ArtifactEvicted(reason=reason):
            return Verdict(Answer.MISS, Why.EVICTED, f"it was evicted at {at}: {reason}")
        case FetchFailed() as failed:
            text = f"its last fetch failed at {at}, and is tried again: {_failure(failed)}"
            return Verdict(Answer.MISS, Why.FAILED, text)
        case FetchRequested():
            text = f"it was asked for at {at}, and no fetcher had begun when that ran out"
            return Verdict(Answer.MISS, Why.ASKED, text)
        case ArtifactStored(blob=blob) if not answers(blob.digests, sight.want.digests):
            text = "its page vouches for other bytes than those of the store: upstream has replaced the file"
            return Verdict(Answer.MISS, Why.REPLACED, text)
        case ArtifactStored() | FetchUnchanged():
            return _gone(last, events)
        case _:
            return Verdict(Answer.MISS, Why.UNKNOWN, f"its last event, {last.sequence}, cannot be read here")


def _gone(stored: Recorded, events: Sequence[Recorded]) -> Verdict:
    cid = stored.event.blob.cid if isinstance(stored.event, ArtifactStored) else None
    if isinstance(stored.event, FetchUnchanged):
        cid = stored.event.cid
    for each in reversed(events):
        if each.sequence > stored.sequence and isinstance(each.event, BlobQuarantined) and each.event.cid == cid:
            text = f"its bytes were wrong and were set aside at {moment(each.time)}: {each.event.detail}"
            return Verdict(Answer.MISS, Why.QUARANTINED, text)
    return Verdict(Answer.MISS, Why.LOST, "the log has it, and its bytes are not in the store")


def _failure(failed: FetchFailed) -> str:
    return f"{failed.reason}: {failed.detail}"


def _deadline(requested: Recorded) -> float | None:
    return requested.event.deadline if isinstance(requested.event, FetchRequested) else None


def moment(seconds: float) -> str:
    """A time (epoch seconds) for people, in this machine's zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
