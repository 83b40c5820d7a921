"""An attempt to fetch an artifact: its state, and how much of it may be shown before it is verified."""

from dataclasses import dataclass, replace
from enum import StrEnum

from dpm_core.artifacts import NO_VALIDATORS, Fields, Validators
from dpm_core.cids import Cid
from dpm_core.errors import AttemptFailed, DiskFails, Unavailable
from dpm_core.events import FailReason

WITHHELD_TAIL = 64 * 1024
"""Bytes at the end of a body that nobody sees before the digest of the whole is right."""

WITHHELD_WHOLE = 1024 * 1024
"""Bodies of up to so many bytes are withheld whole."""


FORMAT = 1
"""Of an attempt's state: a newer one is left alone. What is only added needs no new one."""


class Phase(StrEnum):
    """Where an attempt stands: opening, then open, then verified or failed."""

    OPENING = "opening"
    OPEN = "open"
    VERIFIED = "verified"
    FAILED = "failed"


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended without the bytes; ``detail`` is for people, ``retry_after`` in seconds."""

    reason: FailReason
    detail: str
    status: int | None = None
    retry_after: float | None = None

    @classmethod
    def of(cls, error: Unavailable) -> "Failure":
        """What is told of an error."""
        if isinstance(error, AttemptFailed):
            return error.failure
        detail = f"{error.what} ({error.advice})" if error.advice else error.what
        reason = FailReason.DISK if isinstance(error, DiskFails) else FailReason.UNAVAILABLE
        return cls(reason, detail, error.status, error.retry_after)


@dataclass(frozen=True)
class AttemptState:
    """What ``state.json`` says of an attempt.

    ``length`` in bytes is None while nobody knows it. ``streams`` says that bytes may be shown before the end:
    only where an expected digest or a strong validator will tell whether they belong together. ``fields`` are
    those of the answer that are kept.
    """

    phase: Phase = Phase.OPENING
    length: int | None = None
    media_type: str = "application/octet-stream"
    validators: Validators = NO_VALIDATORS
    streams: bool = False
    cid: Cid | None = None
    failure: Failure | None = None
    format: int = FORMAT
    fields: Fields = ()

    @property
    def over(self) -> bool:
        """Whether the state will not change any more."""
        return self.phase in (Phase.VERIFIED, Phase.FAILED)

    def verified(self, cid: Cid, size: int) -> "AttemptState":
        """The state once all digests were right, or upstream confirmed what is held."""
        return replace(self, phase=Phase.VERIFIED, cid=cid, length=size)

    def failed(self, failure: Failure) -> "AttemptState":
        """The state once the attempt has come to nothing."""
        return replace(self, phase=Phase.FAILED, failure=failure)


def readable(state: AttemptState, written: int) -> int:
    """How many of the ``written`` bytes may be shown.

    All once verified, none once failed. Before: none unless the attempt streams, then all but the tail, and
    nothing of a small body: so no client ever holds a complete wrong one.
    """
    if state.phase is Phase.VERIFIED:
        return written
    if state.phase is not Phase.OPEN or not state.streams:
        return 0
    if state.length is None:
        return written - WITHHELD_TAIL if written > WITHHELD_WHOLE else 0
    if state.length <= WITHHELD_WHOLE:
        return 0
    return max(0, min(written, state.length - WITHHELD_TAIL))


@dataclass(frozen=True)
class AttemptView:
    """What can be seen of an attempt from outside: its state, whether a writer lives, when bytes last came.

    ``grown_at`` is in seconds since the epoch, ``written`` in bytes.
    """

    token: int
    state: AttemptState
    locked: bool
    written: int
    grown_at: float
