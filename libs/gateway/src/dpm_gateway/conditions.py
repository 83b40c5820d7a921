"""Conditional requests (RFC 9110, 13), as plain functions."""

from collections.abc import Mapping

from dpm_core.dates import read_date


def etag_matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match field names ``etag``, by weak comparison; ``*`` names any."""
    if header.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") == bare for each in header.split(","))


def not_modified(
    headers: Mapping[str, str], etag: str | None, last_modified: str | None, *, exactly: bool = False
) -> bool:
    """Whether the client holds the current body already, so that 304 is the answer.

    If-Modified-Since counts only without If-None-Match (RFC 9110, 13.1.3). ``exactly``: what may be older here
    than elsewhere is not what a client with a later date holds.
    """
    if (condition := headers.get("if-none-match")) is not None:
        return etag is not None and etag_matches(condition, etag)
    since = _seconds(headers.get("if-modified-since"))
    if since is None or (modified := _seconds(last_modified)) is None:
        return False
    return modified == since if exactly else modified <= since


def precondition_failed(headers: Mapping[str, str], etag: str | None, last_modified: str | None) -> bool:
    """Whether the client wants a certain body or none, and this is another: 412 is the answer.

    If-Match compares strongly (RFC 9110, 13.1.1); If-Unmodified-Since counts only without it (13.1.4).
    """
    if (condition := headers.get("if-match")) is not None:
        named = {each.strip() for each in condition.split(",")}
        return condition.strip() != "*" and (etag is None or etag.startswith("W/") or etag not in named)
    since = _seconds(headers.get("if-unmodified-since"))
    return since is not None and (modified := _seconds(last_modified)) is not None and modified > since


def range_applies(headers: Mapping[str, str], etag: str | None, last_modified: str | None) -> bool:
    """Whether a Range counts: If-Range must name the current body by strong comparison, or exact date."""
    condition = headers.get("if-range")
    if condition is None:
        return True
    condition = condition.strip()
    if condition.startswith(('"', "W/")):
        return condition == etag and not condition.startswith("W/")
    return last_modified is not None and condition == last_modified


def _seconds(date: str | None) -> float | None:
    return read_date(date) if date else None
