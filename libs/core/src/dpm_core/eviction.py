"""What leaves the store to make room: which blobs, in what order, and when none may."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from dpm_core.attempts import AttemptView
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.events import FetchRequested, FetchStarted
from dpm_core.ports import Entry, Holding

GIB = 1024**3

BEGINNING_SECONDS = 10.0
"""A fetch that was claimed has its folder within so long, or its fetcher died in between."""

MOST_BYTES = 50 * GIB
"""A store takes no more than this unless somebody says so."""

MOST_OF_DISK = 0.2
"""Nor more than this part of its disk."""

MOST_RESERVE = GIB
"""So much of the disk is left to the log, the catalog and others, unless somebody says otherwise."""

RESERVE_OF_DISK = 0.02
"""Nor more than this part of the disk."""

LEAST_RESERVE = 16 * 1024 * 1024
"""Nor less than this, whatever anybody says: on a disk without room no event can be recorded."""


def default_limit(disk: int) -> int:
    """Bytes that a store on a disk of ``disk`` bytes may hold."""
    return min(MOST_BYTES, int(disk * MOST_OF_DISK))


def default_reserve(disk: int) -> int:
    """Bytes of a disk of ``disk`` bytes that are kept free."""
    return max(LEAST_RESERVE, min(MOST_RESERVE, int(disk * RESERVE_OF_DISK)))


@dataclass(frozen=True)
class Quota:
    """How much may be held, in bytes. Above ``start`` of ``limit`` room is made until ``stop`` of it is held.

    ``reserve`` are bytes of the disk that are to be free, whoever else uses it: below them room is made too.
    """

    limit: int
    start: float = 0.9
    stop: float = 0.8
    reserve: int = 0

    @property
    def floor(self) -> int:
        """Bytes of the disk that fetches never take. Above it they go on while room is made for the reserve."""
        return self.reserve // 2


def excess(held: int, free: int, quota: Quota) -> int:
    """How many bytes must go, 0 if there is room: ``held`` are in the store, ``free`` on its disk.

    Once the reserve is touched as much again is made free, so that not every byte that comes costs a look. Nothing
    goes where all of it would not bring the disk back to the floor: somebody else has filled it.
    """
    over = held - int(quota.limit * quota.stop) if held > quota.limit * quota.start else 0
    short = 2 * quota.reserve - free if free < quota.reserve and free + held >= quota.floor else 0
    return max(0, min(held, max(over, short)))


def choose(holdings: Iterable[Holding], need: int) -> list[Holding]:
    """The first of ``holdings`` that together have ``need`` bytes, all if they have not; none that is pinned.

    ``holdings`` come least recently used first, and are read no further than needed. A blob without bytes makes
    no room, and stays.
    """
    chosen: list[Holding] = []
    if need <= 0:
        return chosen
    for holding in holdings:
        if holding.pinned or holding.size == 0:
            continue
        chosen.append(holding)
        need -= holding.size
        if need <= 0:
            break
    return chosen


@dataclass(frozen=True)
class Evict:
    """Append ArtifactEvicted, if ``after`` is still the artifact's last sequence."""

    after: int


@dataclass(frozen=True)
class Stay:
    """Nothing is appended, and why; ``passing``: it is worth another look in a moment."""

    why: str
    passing: bool = False


EvictionDecision: TypeAlias = Evict | Stay


@dataclass(frozen=True)
class Standing:
    """What is known of an artifact when it is decided about: its last event, then the rest.

    ``position`` is how far the catalog was folded before it said ``entry``; ``attempt`` is what the store shows of
    the attempt that a last FetchStarted began.
    """

    last: Recorded | None
    position: int
    entry: Entry | None
    attempt: AttemptView | None = None


def decide_eviction(cid: Cid, standing: Standing, now: float) -> EvictionDecision:
    """Whether an artifact that was found to have the blob ``cid`` may go."""
    last, entry = standing.last, standing.entry
    if last is None or entry is None or entry.blob.cid != cid:
        return Stay("it has other bytes by now")
    if entry.pinned:
        return Stay("it is pinned")
    why = busy(last, standing, now)
    return Evict(last.sequence) if why is None else Stay(why, passing=True)


@dataclass(frozen=True)
class Pin:
    """Append ArtifactPinned or ArtifactUnpinned, if ``after`` is still the artifact's last sequence."""

    after: int


PinDecision: TypeAlias = Pin | Stay


def decide_pin(pinned: bool, standing: Standing, now: float) -> PinDecision:
    """Whether to record that an artifact which is held is pinned from now on, or no longer."""
    last, entry = standing.last, standing.entry
    if last is None or entry is None:
        return Stay("it is no longer held")
    why = busy(last, standing, now)
    if why is not None:
        return Stay(why, passing=True)
    if entry.pinned == pinned:
        return Stay("it is pinned already" if pinned else "it is not pinned")
    return Pin(last.sequence)


def busy(last: Recorded, standing: Standing, now: float) -> str | None:
    """Why nothing may be appended about an artifact for the moment, None if nobody is at it.

    It would take an attempt's token away, and cost a transfer.
    """
    if last.sequence > standing.position:
        return "the catalog lags behind the log"
    attempt = standing.attempt
    match last.event:
        case FetchRequested(deadline=deadline) if now <= deadline:
            return "it is being asked for"
        case FetchStarted() if attempt is None and now - last.time < BEGINNING_SECONDS:
            return "a fetch of it begins"
        case FetchStarted() if attempt is not None and attempt.locked:
            return "it is being fetched"
        case _:
            return None
