"""What counts of what a homeserver says of a room. Pure: events in, what was said and who is in out.

The homeserver enforces most of it too; it is checked again, because a homeserver errs, and because what is let
through here is what the rest of a node believes of the room. Events:
https://spec.matrix.org/v1.16/client-server-api/#events
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dpm_core.adverts import ADVERT, DELTA, KEYS, RULE
from dpm_core.errors import Invalid
from dpm_core.networks import user_id
from dpm_peer.room import Ignored, Said, check_content

CREATE, MEMBER, POWER_LEVELS = "m.room.create", "m.room.member", "m.room.power_levels"

STATE_KINDS = (ADVERT, RULE, KEYS)
KINDS = (*STATE_KINDS, DELTA)
ROOM_KINDS = (CREATE, MEMBER, POWER_LEVELS)

_BEFORE_CREATORS = frozenset(map(str, range(1, 12)))
"""Room versions in which who created a room has the power that its power levels give, and no other."""


def is_mxid(text: object) -> bool:
    """Whether it is a user's id."""
    try:
        return isinstance(text, str) and bool(user_id(text))
    except Invalid:
        return False


@dataclass
class Hearing:
    """A room as far as it was heard."""

    members: frozenset[str] = frozenset()
    said: list[Said] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    _creator: str = ""
    _creators: frozenset[str] = frozenset()
    _levels: dict[str, Any] | None = None

    def state(self, events: Iterable[object], *, whole: bool = False) -> None:
        """Hear state events in no order; ``whole``: they are all that stands, and nothing heard before does."""
        if whole:
            self.members, self._creator, self._creators, self._levels = frozenset(), "", frozenset(), None
        known = [event for event in events if isinstance(event, dict)]
        for kind in ROOM_KINDS:
            for event in known:
                if event.get("type") == kind:
                    self.event(event)
        for event in known:
            if event.get("type") not in ROOM_KINDS:
                self.event(event)

    def timeline(self, events: Iterable[object]) -> None:
        """Hear events in the order in which they were sent."""
        for event in events:
            if isinstance(event, dict):
                self.event(event)

    def event(self, event: dict[Any, Any]) -> None:
        """Hear one event, whatever is in it."""
        kind, sender, content = event.get("type"), event.get("sender"), event.get("content")
        if not is_mxid(sender) or not isinstance(content, dict) or not content:
            return  # a redacted event has no content
        match kind, event.get("state_key"):
            case "m.room.create", "":
                self._created(str(sender), content)
            case "m.room.power_levels", "":
                self._levels = content
            case "m.room.member", str(member) if is_mxid(member):
                joined = content.get("membership") == "join"
                self.members = self.members | {member} if joined else self.members - {member}
            case str(known), key if known in KINDS:
                self._says(known, str(sender), key, content)

    def taken(self) -> tuple[tuple[Said, ...], tuple[Ignored, ...]]:
        """What was said since this was asked before."""
        said, ignored = tuple(self.said), tuple(self.ignored)
        self.said.clear()
        self.ignored.clear()
        return said, ignored

    def _says(self, kind: str, sender: str, key: object, content: dict[Any, Any]) -> None:
        try:
            if sender not in self.members:
                raise Invalid("its sender is no member")
            wanted = {ADVERT: sender, DELTA: None}.get(kind, "")
            if key != wanted:
                raise Invalid("it stands under another's name" if kind == ADVERT else "it stands in a wrong place")
            if kind in (RULE, KEYS) and not self._may_set(sender, kind):
                raise Invalid("its sender may not set it")
            self.said.append(Said(kind, sender, check_content(content)))
        except Invalid as why:
            self.ignored.append(Ignored(sender, f"{kind}: {why}"))

    def _created(self, sender: str, content: dict[Any, Any]) -> None:
        self._creator = sender
        if str(content.get("room_version", "1")) not in _BEFORE_CREATORS:
            more = content.get("additional_creators")
            also = [each for each in more if is_mxid(each)] if isinstance(more, list) else []
            self._creators = frozenset({sender, *also})

    def _may_set(self, sender: str, kind: str) -> bool:
        """https://spec.matrix.org/v1.16/client-server-api/#mroompower_levels."""
        if sender in self._creators or self._levels is None:
            return sender == self._creator or sender in self._creators
        levels = self._levels
        needed = _level(_mapped(levels.get("events")).get(kind, levels.get("state_default", 50)), math.inf)
        return _level(_mapped(levels.get("users")).get(sender, levels.get("users_default", 0)), 0) >= needed


def _level(value: object, otherwise: float) -> float:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _mapped(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
