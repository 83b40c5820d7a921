"""Byte ranges of a request (RFC 9110, 14), as plain functions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_RANGES = 16
"""A field that asks for more than so many ranges is ignored, which RFC 9110, 14.2 asks servers to consider."""

NEAR_BYTES = 128
"""Ranges with so few bytes between them are sent as one: the head of another part would cost as much."""

_RANGE = re.compile(r"\s*bytes\s*=(.+)\Z", re.IGNORECASE | re.DOTALL)
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


def requested(header: str | None, size: int) -> tuple[Span, ...]:
    """What a Range field asks for of a body of ``size`` bytes; empty: send the whole.

    The spans neither overlap nor nearly touch, and stand in the order of the field. A field that is malformed,
    of another unit, or of more than :data:`MOST_RANGES` is ignored, as RFC 9110, 14.2 allows. Raises
    Unsatisfiable.
    """
    match = _RANGE.match(header or "")
    if match is None:
        return ()
    specs = [spec for spec in match[1].split(",") if spec.strip()]
    if not 0 < len(specs) <= MOST_RANGES:
        return ()
    spans = []
    for spec in specs:
        parsed = _SPEC.match(spec)
        if parsed is None or not (parsed[1] or parsed[2]):
            return ()
        if parsed[1] and parsed[2] and int(parsed[2]) < int(parsed[1]):
            return ()
        span = _span(parsed[1], parsed[2], size)
        if span.length > 0:
            spans.append(span)
    if not spans:
        raise Unsatisfiable
    return _merged(spans)


def _span(first: str, last: str, size: int) -> Span:
    """The bytes that exist of ``first-last``; ``-last`` are the last so many."""
    if not first:
        return Span(max(0, size - int(last)), size)
    return Span(int(first), min(int(last) + 1, size) if last else size)


def _merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans, those that overlap or are near made one, which stands where its first one stood."""
    merged: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda each: each[1].start):
        if merged and span.start <= merged[-1][1].end + NEAR_BYTES:
            before, last = merged.pop()
            merged.append((min(before, place), Span(last.start, max(last.end, span.end))))
        else:
            merged.append((place, span))
    return tuple(span for _, span in sorted(merged, key=lambda each: each[0]))
