"""The node's events as a person reads them, and as one JSON object a line."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from dpm_cli import show
from dpm_core.decisions import Recorded
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    BlobQuarantined,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
)
from dpm_core.registry import to_json, type_of
from dpm_runtime.bus_address import bus_url
from dpm_runtime.home import Home

KEY = "operator"
"""The key that may read everything and write nothing."""


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
    kind = type_of(event).name
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
        case _:
            return Line(when, kind, "")


def as_json(recorded: Recorded) -> str:
    """The event with what the log knows of it, on one line; ``time`` in seconds since the epoch."""
    facts = {
        "sequence": recorded.sequence,
        "time": recorded.time,
        "id": recorded.id,
        "event": type_of(recorded.event).name,
        "body": json.loads(to_json(recorded.event)),
    }
    return json.dumps(facts, separators=(",", ":"))


async def tail(home: Home, before: int) -> AsyncIterator[Recorded]:
    """The last ``before`` events at most, then every event as it comes, for ever. Raises Unavailable."""
    from dpm_runtime.nats_bus import NatsBus

    async with NatsBus.open(bus_url(home), KEY, home.key(KEY)) as bus:
        await bus.up()
        after = max(0, await bus.log.end() - before)
        async with contextlib.aclosing(bus.log.follow(None, after=after)) as events:
            async for recorded in events:
                yield recorded


async def watch(home: Home, *, as_lines_of_json: bool, before: int) -> None:
    """Print the tail until cancelled."""
    out = show.console()
    async with contextlib.aclosing(tail(home, before)) as events:  # type: ignore[type-var]
        async for recorded in events:
            if as_lines_of_json:
                print(as_json(recorded), flush=True)
            else:
                shown = line(recorded)
                out.print(str(shown), style="red" if shown.bad else None)
                out.file.flush()


def _size(size: int | None) -> str:
    return "" if size is None else show.amount(size)
