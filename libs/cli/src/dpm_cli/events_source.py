"""Which events are shown, and whence they are read: a node on this machine, or a bus anywhere by a key for it."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from dpm_core.decisions import Recorded
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import about
from dpm_core.registry import event_types, type_of
from dpm_core.subjects import kind_filter
from dpm_runtime.bus_address import bus_url
from dpm_runtime.home import Home
from dpm_runtime.nats_log import NatsEventLog

KEY = "operator"
"""The key of a node that may read everything and write nothing."""

REACHED_SECONDS = 10.0
"""For the first connection; one that is lost later is waited for, for ever."""

_LONGEST_SEQUENCE = 18
"""Digits: more are beyond what the log counts to."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO = re.compile(rf"([0-9]+(?:\.[0-9]+)?)([{''.join(_SECONDS)}])")


@dataclass(frozen=True)
class Last:
    """Begin with so many past events, whatever they are."""

    count: int


@dataclass(frozen=True)
class FromSequence:
    """Begin with this event of the log, or the next one that is there."""

    sequence: int


@dataclass(frozen=True)
class FromMoment:
    """Begin with what was stored at this moment (epoch seconds) or later."""

    moment: float


Begin: TypeAlias = Last | FromSequence | FromMoment


def begin_of(text: str, now: float) -> Begin:
    """What ``--since`` says: ``2h`` before ``now`` (epoch seconds), a time in ISO 8601, or a sequence.

    A time without a zone is this machine's. Raises Invalid.
    """
    if ago := _AGO.fullmatch(text):
        return FromMoment(max(0.0, now - float(ago[1]) * _SECONDS[ago[2]]))
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_SEQUENCE:
        return FromSequence(int(text))
    try:
        return FromMoment(max(0.0, datetime.fromisoformat(text).timestamp()))
    except (ValueError, OverflowError, OSError):
        raise Invalid(
            f"--since: {text!r} is neither an age (90s, 30m, 2h, 7d, 1w), nor a time (2026-01-31T08:00:00Z), "
            "nor the sequence of an event"
        ) from None


@dataclass(frozen=True)
class Selection:
    """The events of these kinds of topics with these names; of all where there are none. Raises Invalid."""

    begin: Begin = Last(0)
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = [each.name for each in event_types()]
        for name in self.names:
            if name not in known:
                raise Invalid(f"--event: there is no event {name!r}. There are {', '.join(known)}")
        for kind in self.kinds:
            kind_filter(kind)

    @property
    def kind(self) -> str | None:
        """What the server can filter by: the one kind."""
        return self.kinds[0] if len(self.kinds) == 1 else None

    @property
    def name(self) -> str | None:
        """What the server can filter by: the one name."""
        return self.names[0] if len(self.names) == 1 else None

    def takes(self, recorded: Recorded) -> bool:
        """Whether the event is one of these; what the server has filtered, or could not."""
        topic = about(recorded.event)
        return (not self.names or type_of(recorded.event).name in self.names) and (
            not self.kinds or (topic is not None and topic.kind in self.kinds)
        )


@dataclass(frozen=True)
class Source:
    """A bus at ``url``, and the file of a key; ``outside`` if that is one that was given away."""

    url: str
    key: Path
    outside: bool

    @classmethod
    def of_home(cls, home: Home) -> "Source":
        """The bus of a node on this machine. Raises Unavailable if it has none."""
        return cls(bus_url(home), home.key(KEY), outside=False)

    @classmethod
    def elsewhere(cls, server: str, credentials: Path) -> "Source":
        """A bus anywhere. Raises Invalid if ``server`` is no URL of one."""
        try:
            parts = urlsplit(server)
            right = parts.scheme in ("nats", "tls") and parts.hostname and parts.port != 0 and not parts.username
        except ValueError:
            right = False
        if not right:
            raise Invalid("--server: an address is like nats://node.example:4222, without a name or a password")
        return cls(server, credentials, outside=True)


async def tail(source: Source, selection: Selection) -> AsyncIterator[Recorded]:
    """The past events that are selected, then every one as it comes, for ever.

    Raises Unavailable if the bus cannot be reached, or does not accept the key (any more).
    """
    from dpm_runtime.nats_bus import NatsBus

    async with NatsBus.open(source.url, KEY, source.key, reader=source.outside) as bus:
        try:
            async with asyncio.timeout(REACHED_SECONDS):
                await bus.up()
        except TimeoutError:
            raise Unavailable(
                f"the bus at {source.url} cannot be reached: {bus.reason}", advice="is the node up?"
            ) from None
        after = await _after(bus.log, selection.begin)
        following = bus.log.follow(selection.kind, after=after, name=selection.name)
        async with contextlib.aclosing(following) as events:
            async for recorded in events:
                if selection.takes(recorded):
                    yield recorded


async def _after(log: NatsEventLog, begin: Begin) -> int:
    match begin:
        case Last(count):
            return max(0, await log.end() - count)
        case FromSequence(sequence):
            return max(0, sequence - 1)
        case FromMoment(moment):
            return await log.before(moment)


def selection_of(
    since: str | None, last: int | None, kinds: Sequence[str], names: Sequence[str], now: float
) -> Selection:
    """What the options say; without ``since`` the last ten events come first. Raises Invalid."""
    if since is not None and last is not None:
        raise Invalid("--since and --last exclude each other")
    begin = begin_of(since, now) if since is not None else Last(10 if last is None else last)
    return Selection(begin, tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(names)))
