"""The node's events as a person reads them, and as one JSON object a line."""

import contextlib
import json
import time
from dataclasses import dataclass
from datetime import date
from typing import Any

from dpm_cli import show
from dpm_cli.events_source import Selection, Source, tail
from dpm_core.decisions import Recorded
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    BlobQuarantined,
    Event,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
    PeerAdvertised,
    PeerBlocked,
    PeerJoined,
    PeerLeft,
    Unknown,
)
from dpm_core.registry import to_json, type_of


@dataclass(frozen=True)
class Line:
    """What a person needs of an event. ``size`` and ``source`` are empty where the event has none."""

    time: str
    event: str
    name: str
    size: str = ""
    source: str = ""
    detail: str = ""
    bad: bool = False

    def __str__(self) -> str:
        parts = [self.time, f"{self.event:<18}", self.name, self.size, self.source, self.detail]
        return "  ".join(part for part in parts if part)


def line(recorded: Recorded) -> Line:
    """The event as a line; its time is this machine's local time."""
    when = time.strftime("%H:%M:%S", time.localtime(recorded.time))
    event: Any = recorded.event
    kind = name_of(event)
    match event:
        case FetchRequested(want=want, gateway=gateway):
            return Line(when, kind, want.name, _size(want.size), gateway)
        case FetchStarted(want=want, fetcher=fetcher, adopted=adopted):
            went_on = "" if adopted is None else f"goes on from attempt {adopted}"
            return Line(when, kind, want.name, _size(want.size), fetcher, went_on)
        case ArtifactStored(name=name, blob=blob, source=source, seconds=seconds):
            return Line(when, kind, name, _size(blob.size), f"{source.kind} {source.name}", f"{seconds:.2f} s")
        case FetchUnchanged(ref=ref):
            return Line(when, kind, ref.key)
        case FetchFailed(name=name, reason=reason, detail=detail):
            return Line(when, kind, name, detail=f"{reason}: {detail}", bad=True)
        case ArtifactEvicted(ref=ref, reason=reason):
            return Line(when, kind, ref.key, detail=reason)
        case ArtifactPinned(ref=ref) | ArtifactUnpinned(ref=ref):
            return Line(when, kind, ref.key)
        case BlobQuarantined(cid=cid, detail=detail):
            return Line(when, kind, str(cid), detail=detail, bad=True)
        case PeerJoined(peer=peer, network=network, user=user):
            return Line(when, kind, peer, source=network, detail=user)
        case PeerAdvertised(peer=peer, network=network, files=files, pages=pages, size=size):
            return Line(when, kind, peer, _size(size), network, f"{files} files, {pages} pages")
        case PeerLeft(peer=peer, network=network, reason=reason):
            return Line(when, kind, peer, source=network, detail=reason)
        case PeerBlocked(peer=peer, network=network, reason=reason, detail=detail, until=until):
            until_when = time.strftime("%H:%M:%S", time.localtime(until))
            return Line(when, kind, peer, "", network, f"until {until_when}, {reason}: {detail}", bad=True)
        case Unknown():
            return Line(when, kind, "", detail="of a newer version of DPM, or malformed")
        case _:
            return Line(when, kind, "")


def name_of(event: Event) -> str:
    """What the type of an event is called, also of one that cannot be read."""
    return event.type if isinstance(event, Unknown) else type_of(event).name


def plain(recorded: Recorded) -> dict[str, Any]:
    """The event with what the log knows of it, as plain data; ``time`` in seconds since the epoch."""
    return {
        "sequence": recorded.sequence,
        "time": recorded.time,
        "id": recorded.id,
        "event": name_of(recorded.event),
        "body": json.loads(to_json(recorded.event)),
    }


def as_json(recorded: Recorded) -> str:
    """The event as :func:`plain` has it, on one line."""
    return json.dumps(plain(recorded), separators=(",", ":"))


async def watch(source: Source, selection: Selection, *, as_lines_of_json: bool) -> None:
    """Print what :func:`tail` yields until cancelled; for people with a line wherever a day begins."""
    out = show.console()
    day = date.today()
    async with contextlib.aclosing(tail(source, selection)) as events:  # type: ignore[type-var]
        async for recorded in events:
            if as_lines_of_json:
                print(as_json(recorded), flush=True)
                continue
            of = date.fromtimestamp(recorded.time)
            if of != day:
                out.print(of.isoformat(), style="dim")
                day = of
            shown = line(recorded)
            out.print(str(shown), style="red" if shown.bad else None)
            out.file.flush()


def _size(size: int | None) -> str:
    return "" if size is None else show.amount(size)
