"""What clients are told of a fetch that failed."""

from dpm_core.attempts import Failure
from dpm_core.ecosystem import Refusal
from dpm_core.events import FailReason

TOO_MANY_REQUESTS = 429
LEGAL_REASONS = 451
"""These statuses of an upstream's clients are told as they are: they know what to do about the first, and to some
the second says that there is nothing (RFC 7725)."""


def refusal_of(failure: Failure) -> Refusal:
    """What a client is told of it."""
    match failure.reason:
        case FailReason.NOT_FOUND:
            return Refusal(404, failure.detail)
        case FailReason.REFUSED:
            return Refusal(_refused(failure.status), failure.detail)
        case FailReason.UNTRUSTED | FailReason.TOO_LARGE:
            return Refusal(502, failure.detail)
        case FailReason.DISK:
            return Refusal(507, failure.detail, failure.retry_after)
        case _ if failure.status == TOO_MANY_REQUESTS:
            return Refusal(TOO_MANY_REQUESTS, failure.detail, failure.retry_after or 5.0)
        case _:
            return Refusal(503, failure.detail, failure.retry_after or 5.0)


def refusal_of_status(status: int, name: str) -> Refusal | None:
    """What a client is told who asked about ``name``, where upstream said ``status``; None if it has it."""
    if 200 <= status < 300:
        return None
    detail = f"upstream answered {status} when it was asked about {name}"
    if status in (404, 410):
        return Refusal(404, detail)
    if 400 <= status < 500 and status != TOO_MANY_REQUESTS:
        return Refusal(_refused(status), detail)
    return Refusal(status if status == TOO_MANY_REQUESTS else 503, detail, 5.0)


def _refused(status: int | None) -> int:
    return LEGAL_REASONS if status == LEGAL_REASONS else 403
