"""Byte ranges of a request (RFC 9110, 14), as plain functions."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"\s*bytes\s*=\s*(.+)\Z", re.IGNORECASE)
_SPEC = re.compile(r"\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*\Z")


@dataclass(frozen=True)
class Span:
    """Bytes from ``start`` up to and not including ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start


class Unsatisfiable(Exception):
    """None of the bytes that were asked for exist: 416."""


def requested(header: str | None, size: int) -> Span | None:
    """The one range that a Range field asks for, of a body of ``size`` bytes; None: send the whole.

    A field that is malformed, of another unit, or that asks for several ranges is ignored, as RFC 9110, 14.2
    allows. Raises Unsatisfiable.
    """
    match = _RANGE.match(header or "")
    if match is None or "," in match[1]:
        return None
    spec = _SPEC.match(match[1])
    if spec is None or not (spec[1] or spec[2]):
        return None
    if not spec[1]:
        suffix = int(spec[2])
        if suffix == 0 or size == 0:
            raise Unsatisfiable
        return Span(max(0, size - suffix), size)
    start = int(spec[1])
    end = min(int(spec[2]) + 1, size) if spec[2] else size
    if spec[2] and int(spec[2]) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, end)
