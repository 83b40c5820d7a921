"""What upstreams do wrong, and what must come of it: one row each, for the reference and for the test.

python -m dpm_testkit.upstream_faults prints the table of docs/reference/upstream-faults.md.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dpm_testkit.misbehaviour import (
    JSON,
    Script,
    announces,
    broken,
    chunks_without_end,
    first,
    flipped,
    half_then_drip,
    half_then_hang_up,
    half_then_reset,
    half_then_silence,
    head_without_end,
    leads,
    no_chunks,
    no_http,
    no_such_part,
    other_body,
    other_etag,
    other_part,
    packed_bomb,
    part_elsewhere,
    right,
    says,
    sends,
    silence,
    slow_without_end,
    whole_again,
)


class Wants(StrEnum):
    """What the client asks for, and what the index says of it."""

    SMALL = "small file"
    LARGE = "large file"
    UNSIZED = "large file, no size"
    BARE = "large file, no digest"
    BARE_SMALL = "small file, no digest"
    PAGE = "page"
    HELD = "page that is held"

    @property
    def page(self) -> bool:
        """Whether it is a page of the index, not a file that one names."""
        return self in (Wants.PAGE, Wants.HELD)


class Gets(StrEnum):
    """What comes of the body."""

    RIGHT = "the right bytes"
    CUT = "a part, then the connection is cut"
    ERROR = "an error"
    STALE = "the held page, with `Age`"


class Certificate(StrEnum):
    """What a server shows for its name, where it speaks TLS."""

    GOOD = "good"
    STRANGE = "of a CA that nobody knows"
    EXPIRED = "expired"
    MISNAMED = "of another name"


STORED = "artifact-stored"
UNAVAILABLE = "fetch-failed: unavailable"
UNTRUSTED = "fetch-failed: untrusted"
TOO_LARGE = "fetch-failed: too-large"
NOT_FOUND = "fetch-failed: not-found"
REFUSED = "fetch-failed: refused"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    ``asked`` is how many requests upstream gets for the one of the client; ``resumed`` whether one of them asks
    for the part that is missing; ``then`` whether the next client's request goes to upstream again.
    ``retry_after`` is the largest value (seconds) that the client may be told, None for no such field. ``at`` is
    where a file is said to be if no server of the row's own has it.
    """

    id: str
    wants: Wants
    does: str
    script: Script
    status: int
    gets: Gets
    recorded: str
    asked: int = 1
    resumed: bool = False
    then: bool = True
    retry_after: int | None = None
    certificate: Certificate | None = None
    at: str | None = None

    def __post_init__(self) -> None:
        if self.status == 503 and self.retry_after is None:
            object.__setattr__(self, "retry_after", 5)  # what a client is told where upstream says nothing


def _right(name: str, wants: Wants, does: str, script: Script, *, asked: int = 2, resumed: bool = False) -> Fault:
    return Fault(name, wants, does, script, 200, Gets.RIGHT, STORED, asked, resumed, then=False)


def _error(
    name: str, wants: Wants, does: str, script: Script, status: int, recorded: str, asked: int = 1
) -> Fault:
    return Fault(name, wants, does, script, status, Gets.ERROR, recorded, asked)


def _cut(
    name: str, wants: Wants, does: str, script: Script, recorded: str, asked: int = 1, *, resumed: bool = False
) -> Fault:
    return Fault(name, wants, does, script, 200, Gets.CUT, recorded, asked, resumed)


def _stale(name: str, does: str, script: Script, recorded: str = UNAVAILABLE) -> Fault:
    return Fault(name, Wants.HELD, does, script, 200, Gets.STALE, recorded)


def _nowhere(name: str, does: str, at: str | None, *, certificate: Certificate | None = None) -> Fault:
    return Fault(name, Wants.SMALL, does, right, 503, Gets.ERROR, UNAVAILABLE, 0, certificate=certificate, at=at)


LARGE, SMALL, UNSIZED, BARE, PAGE = Wants.LARGE, Wants.SMALL, Wants.UNSIZED, Wants.BARE, Wants.PAGE

FAULTS: Sequence[Fault] = (
    _error("wrong-small", SMALL, "sends other bytes of the right length", sends(flipped), 502, UNTRUSTED),
    _cut("wrong-large", LARGE, "sends other bytes of the right length", sends(flipped), UNTRUSTED),
    _error("short", LARGE, "announces less than the index says", sends(lambda b: b[:-9]), 502, UNTRUSTED),
    _error("long", LARGE, "announces more than the index says", sends(lambda b: b + b"9"), 502, UNTRUSTED),
    _error("empty", SMALL, "announces and sends nothing", sends(lambda b: b""), 502, UNTRUSTED),
    _error("empty-chunked", SMALL, "ends a chunked body before its first byte", no_chunks, 503, UNAVAILABLE, 5),
    _cut("endless", LARGE, "sends chunks without end", chunks_without_end, UNTRUSTED),
    _cut("endless-unsized", UNSIZED, "sends chunks without end", chunks_without_end, TOO_LARGE),
    _error("huge-unsized", UNSIZED, "announces a terabyte", announces(lambda n: 10**12), 502, TOO_LARGE),
    _error("length-too-small", LARGE, "announces less than it sends", announces(lambda n: n // 2), 502, UNTRUSTED),
    _cut(
        "length-too-small-unsized", UNSIZED, "announces less than it sends", announces(lambda n: n // 2), UNTRUSTED
    ),
    _cut(
        "length-too-large", LARGE, "sends half of what it announces, and never the rest", half_then_hang_up,
        UNAVAILABLE, 5, resumed=True,
    ),
    _right("stall", LARGE, "stalls at half, once", first(half_then_silence), resumed=True),
    _right("drip", LARGE, "sends a byte now and then from half on, once", first(half_then_drip), resumed=True),
    _right("silent", SMALL, "says nothing, once", first(silence)),
    _right("reset", LARGE, "resets the connection at half, once", first(half_then_reset), resumed=True),
    _right("reset-early", SMALL, "resets the connection before it says a word, once", first(broken)),
    _error("reset-always", SMALL, "resets the connection before it says a word", broken, 503, UNAVAILABLE, 10),
    _right(
        "no-ranges", LARGE, "breaks off, then sends all again", first(half_then_reset, whole_again), resumed=True
    ),
    _right("not-http", SMALL, "speaks another protocol, once", first(no_http)),
    _right("endless-head", SMALL, "sends header fields without end, once", first(head_without_end)),
    _error("401", SMALL, "answers 401", says("401 Unauthorized"), 403, REFUSED),
    _error("403", SMALL, "answers 403", says("403 Forbidden"), 403, REFUSED),
    Fault("404", SMALL, "answers 404", says("404 Not Found"), 404, Gets.ERROR, NOT_FOUND, then=False),
    Fault("410", SMALL, "answers 410", says("410 Gone"), 404, Gets.ERROR, NOT_FOUND, then=False),
    _right("408", SMALL, "answers 408, once", first(says("408 Request Timeout"))),
    _error("418", SMALL, "answers 418, as for any 4xx not named here", says("418 Teapot"), 503, UNAVAILABLE),
    _error("416", SMALL, "answers 416 though no part was asked for", says("416 No"), 503, UNAVAILABLE),
    _right(
        "416-resumed", LARGE, "breaks off, then answers 416 to the rest", first(half_then_reset, no_such_part),
        asked=3, resumed=True,
    ),
    _right(
        "206-elsewhere", LARGE, "breaks off, then sends another part than was asked for",
        first(half_then_reset, part_elsewhere), asked=3, resumed=True,
    ),
    Fault(
        "429", SMALL, "answers 429 with Retry-After: 20", says("429 Too Many Requests", "Retry-After: 20"),
        429, Gets.ERROR, UNAVAILABLE, then=False, retry_after=20,
    ),
    _right("429-bare", SMALL, "answers 429 without Retry-After, once", first(says("429 Too Many Requests"))),
    _right("500", SMALL, "answers 500, once", first(says("500 Internal Server Error"))),
    _error("502-always", SMALL, "answers 502", says("502 Bad Gateway"), 503, UNAVAILABLE, 5),
    Fault(
        "503-later", SMALL, "answers 503 with Retry-After: 20", says("503 Service Unavailable", "Retry-After: 20"),
        503, Gets.ERROR, UNAVAILABLE, then=False, retry_after=20,
    ),
    _error("redirect-loop", SMALL, "redirects to itself", leads("/again"), 503, UNAVAILABLE, 6),
    _error("redirect-away", SMALL, "redirects to a host that the index does not name",
           leads("http://localhost:1/elsewhere"), 503, UNAVAILABLE),
    _error("redirect-nowhere", SMALL, "redirects to no URL", leads("http://[nowhere"), 503, UNAVAILABLE),
    Fault(
        "redirect-to-http", SMALL, "redirects from https to http", leads("http://{here}/x"), 503, Gets.ERROR,
        UNAVAILABLE, certificate=Certificate.GOOD,
    ),
    _right(
        "encoding-named", SMALL, "calls the right bytes gzip", sends(lambda b: b, "Content-Encoding: gzip"),
        asked=1,
    ),
    _error(
        "encoding-packed", SMALL, "packs the file, which nobody asked for",
        sends(gzip.compress, "Content-Encoding: gzip"), 502, UNTRUSTED,
    ),
    _cut(
        "changed", LARGE, "breaks off, then has a file of other bytes and another ETag",
        first(half_then_reset, other_body), UNTRUSTED, 2, resumed=True,
    ),
    _cut(
        "changed-secretly", LARGE, "breaks off, then sends the rest of other bytes under the same ETag",
        first(half_then_reset, other_part), UNTRUSTED, 2, resumed=True,
    ),
    _right(
        "etag-changed", LARGE, "breaks off, then has the same bytes under another ETag",
        first(half_then_reset, other_etag), resumed=True,
    ),
    _cut(
        "changed-bare", BARE, "breaks off, then has a file of other bytes and another ETag",
        first(half_then_reset, other_body), UNAVAILABLE, 2, resumed=True,
    ),
    _right(
        "etag-changed-bare", Wants.BARE_SMALL, "stalls, then has the same bytes under another ETag",
        first(half_then_silence, other_etag), resumed=True,
    ),
    _nowhere("dns", "has a name that nobody knows", "http://nothing.invalid/"),
    _nowhere("refused", "does not listen", "http://127.0.0.1:1/"),
    _nowhere("private", "has an address in a private range that nobody named", "http://169.254.169.254/"),
    _nowhere("strange-ca", "has a certificate of a CA that nobody knows", None, certificate=Certificate.STRANGE),
    _nowhere("expired", "has a certificate that has expired", None, certificate=Certificate.EXPIRED),
    _nowhere("misnamed", "has the certificate of another name", None, certificate=Certificate.MISNAMED),
    Fault(
        "page-nonsense", PAGE, "sends what is no page", says("200 OK", JSON), 502, Gets.ERROR, STORED, then=False
    ),
    Fault("page-404", PAGE, "answers 404", says("404 Not Found"), 404, Gets.ERROR, NOT_FOUND, then=False),
    _right("page-reset", PAGE, "resets the connection, once", first(broken)),
    _error("page-500", PAGE, "answers 500", says("500 Internal Server Error"), 503, UNAVAILABLE, 3),
    _error("page-empty", PAGE, "sends a page of no bytes", sends(lambda b: b""), 503, UNAVAILABLE, 3),
    _error(
        "page-304", PAGE, "answers 304 to who holds nothing", says("304 Not Modified", text=b""), 503, UNAVAILABLE
    ),
    _error("page-silent", PAGE, "says nothing", silence, 503, UNAVAILABLE, 3),
    _error("page-endless", PAGE, "sends chunks without end", chunks_without_end, 502, TOO_LARGE),
    _error("page-bomb", PAGE, "sends little that unpacks to a lot", sends(packed_bomb, "Content-Encoding: gzip"),
           502, TOO_LARGE),
    _error("page-br", PAGE, "packs the page as nobody asked for", sends(lambda b: b, "Content-Encoding: br"),
           503, UNAVAILABLE),
    _error("page-401", Wants.HELD, "answers 401", says("401 Unauthorized"), 403, REFUSED),
    _error("page-gone", Wants.HELD, "answers 410", says("410 Gone"), 404, NOT_FOUND),
    _stale("stale-500", "answers 500", says("500 Internal Server Error")),
    _stale("stale-empty", "sends a page of no bytes", sends(lambda b: b"", etag=False)),
    Fault(
        "stale-reset", Wants.HELD, "resets the connection before it says a word", broken, 200, Gets.STALE,
        UNAVAILABLE, 2,
    ),
    _stale("stale-silent", "says nothing", silence),
    _stale("stale-slow", "sends without end, not fast", slow_without_end),
    _stale("stale-endless", "sends chunks without end", chunks_without_end, TOO_LARGE),
    _stale("stale-redirect", "redirects to another host", leads("http://localhost:1/elsewhere")),
    _stale(
        "stale-cut", "packs the page and breaks off within",
        sends(lambda b: gzip.compress(b)[:-9], "Content-Encoding: gzip"),
    ),
    Fault(
        "stale-429", Wants.HELD, "answers 429 with Retry-After: 3",
        says("429 Too Many Requests", "Retry-After: 3"), 200, Gets.STALE, UNAVAILABLE, then=False,
    ),
)  # fmt: skip


_COLUMNS = """| row | asked for | upstream | the client gets | recorded | requests | next client |
|---|---|---|---|---|---|---|
"""


def table() -> str:
    """The rows, as Markdown."""
    return _COLUMNS + "".join(_row(fault) for fault in FAULTS)


def _row(fault: Fault) -> str:
    gets = f"{fault.status}, {fault.gets}"
    if fault.retry_after is not None and fault.gets is Gets.ERROR:
        gets += f", `Retry-After` up to {fault.retry_after}"
    requests = f"{fault.asked}, Range" if fault.resumed else str(fault.asked)
    if fault.at is None and fault.certificate not in (None, Certificate.GOOD):
        requests = "none"
    elif fault.at is not None:
        requests = "-"
    then = "asks" if fault.then else "no"
    cells = (f"`{fault.id}`", fault.wants, fault.does, gets, f"`{fault.recorded}`", requests, then)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(table(), end="")
