"""Dates as HTTP has them (RFC 9110, 5.6.7), in seconds since the epoch."""

import email.utils
from datetime import UTC
from functools import lru_cache


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """An IMF-fixdate, the form of today."""
    return email.utils.formatdate(seconds, usegmt=True)


@lru_cache(maxsize=4096)
def read_date(date: str) -> float | None:
    """What a date in the form of today or an older one means; None if it is none."""
    try:
        parsed = email.utils.parsedate_to_datetime(date)
        # the two older forms of a date have no zone that is read, and are in GMT
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def same_date(date: str | None) -> str | None:
    """A date in the form of today; None for what is none."""
    seconds = read_date(date) if date else None
    return None if seconds is None else http_date(int(seconds))
