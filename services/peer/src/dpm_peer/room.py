"""The ports of a network's room: what a member says and hears in it, and what its keeper does besides.

Contents are plain data here; what they mean is the core's.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from dpm_core.canonical import Content, canonical
from dpm_core.errors import Invalid, Unavailable
from dpm_core.seals import CONTENT_LIMIT


class NotAllowed(Unavailable):
    """The homeserver refuses it: the account has no such right, or its access token counts no more."""

    def __init__(self, what: str, *, advice: str = "", status: int | None = None) -> None:
        super().__init__(what, advice=advice, status=status, lasting=True)


class NotMember(NotAllowed):
    """The account is not a member of the room: it left, it was removed, or it never was one."""


@dataclass(frozen=True)
class Said:
    """A member said it: ``kind`` is ADVERT, DELTA, RULE or KEYS, ``sender`` the member's MXID.

    An advert stood under its sender's own name, and a rule or keys came from who may set them. ``content`` is
    canonical JSON of at most CONTENT_LIMIT bytes, and no more is known of it.
    """

    kind: str
    sender: str
    content: Content


@dataclass(frozen=True)
class Ignored:
    """What ``sender`` sent does not count, and why."""

    sender: str
    why: str


@dataclass(frozen=True)
class Batch:
    """What was new at once, in order, and the ``members`` (MXIDs) after it.

    ``seconds``: for how long the homeserver was there, up to this batch and since the one before: to be silent
    counts only then. ``token`` says where to go on after it.
    """

    said: tuple[Said, ...]
    members: frozenset[str]
    seconds: float
    token: str
    ignored: tuple[Ignored, ...] = ()


class Room(Protocol):
    """One network's room, as the member whose account this is.

    ``away``: why the homeserver could not be heard when ``follow`` asked it last; None if it could.
    """

    away: str | None

    @property
    def limited(self) -> float:
        """Seconds, in all, that this account was let wait for the homeserver's rate limit."""

    async def advertise(self, content: Content) -> None:
        """Put ``content`` in place of one's last advert.

        Returns once the homeserver has it. Raises Invalid for a content that no room takes, NotAllowed (for who is
        no member, too), and Unavailable where nobody knows whether it arrived: to say it again is right.
        """

    async def tell(self, content: Content, name: str) -> None:
        """Send a delta. Told twice under one ``name``, the room has it once.

        Returns and raises as ``advertise``.
        """

    def follow(self, since: str | None = None) -> AsyncGenerator[Batch, None]:
        """What is said, for ever, one's own words too.

        The first batch tells all that stands: every member's last advert, the rule, the keys, however old; then
        the deltas after the token ``since``, or the last ones. If there were too many of these since then, the
        oldest are left out. While the homeserver is away it waits, and goes on by itself. Empty batches come too.
        Raises NotMember when the account is a member no more, NotAllowed when its access token counts no more.
        """

    async def members(self) -> frozenset[str]:
        """The MXIDs of who is in the room now. Raises NotAllowed (for who is no member, too), Unavailable."""

    async def invited(self) -> frozenset[str]:
        """The MXIDs of who is invited and has not joined yet. Raises as ``members``."""


class Keeper(Protocol):
    """What the keeper of a room may do besides. All raise NotAllowed for others, and Unavailable."""

    async def invite(self, member: str) -> None:
        """Let ``member`` (MXID) join, whether the account exists already or not. Nothing, if it is in."""

    async def kick(self, member: str, why: str) -> None:
        """Remove ``member``, or take its invitation back. Nothing, if it is neither in nor invited."""

    async def set_rule(self, content: Content) -> None:
        """Put ``content`` in place of the room's rule. Raises Invalid for one that no room takes."""

    async def set_keys(self, content: Content) -> None:
        """Put ``content`` in place of the room's keys. Raises Invalid for one that no room takes."""


class KeptRoom(Room, Keeper, Protocol):
    """A room, for who keeps it."""


def check_content(content: object) -> Content:
    """``content``, if a room takes it. Raises Invalid."""
    if not isinstance(content, dict) or not content:
        raise Invalid("a content is a JSON object with something in it")
    if (size := len(canonical(content))) > CONTENT_LIMIT:
        raise Invalid(f"a content has at most {CONTENT_LIMIT} bytes, and this one {size}")
    return content
