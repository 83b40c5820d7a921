"""How far one has followed what a peer says it has: what to do with its next advert or delta."""

from dataclasses import dataclass
from enum import StrEnum

from dpm_core.adverts import Advert, Delta


@dataclass(frozen=True)
class Place:
    """Followed up to delta ``n`` of ``epoch``, by what was said at ``at`` (milliseconds since the Unix epoch)."""

    epoch: int
    n: int
    at: int


class Step(StrEnum):
    """What to do."""

    PASS = "pass"  # noqa: S105 - no password
    """Nothing: it is old, or told again."""
    NOTE = "note"
    """It is there, and has what one knows of."""
    FETCH = "fetch"
    """Fetch the inventory: what it has differs from what one knows, by more than the next delta says."""
    APPLY = "apply"
    """Apply the delta."""
    WAIT = "wait"
    """A delta is missing: wait for the next advert, and go on with what one knows."""


def step_advert(place: Place | None, advert: Advert) -> Step:
    """What to do with an advert of a peer that was followed up to ``place``, None: never.

    An older one than is known is passed over, since whoever carries it might have kept it.
    """
    if place is None:
        return Step.FETCH
    if (advert.epoch, advert.at) < (place.epoch, place.at):
        return Step.PASS
    return Step.FETCH if (advert.epoch, advert.n) > (place.epoch, place.n) else Step.NOTE


def step_delta(place: Place | None, delta: Delta) -> Step:
    """What to do with a delta of a peer that was followed up to ``place``, None: never."""
    if place is None or delta.epoch > place.epoch:
        return Step.WAIT
    if (delta.epoch, delta.n) <= (place.epoch, place.n):
        return Step.PASS
    return Step.APPLY if delta.n == place.n + 1 else Step.WAIT


def placed(place: Place | None, said: Advert | Delta, step: Step) -> Place | None:
    """The place once the step was done (the inventory fetched, the delta applied)."""
    match step, said:
        case (Step.FETCH, Advert()):
            return Place(said.epoch, said.n, said.at)
        case (Step.NOTE, Advert()) if place is not None:
            return Place(place.epoch, place.n, said.at)
        case (Step.APPLY, Delta()) if place is not None:
            return Place(place.epoch, said.n, place.at)
        case _:
            return place
