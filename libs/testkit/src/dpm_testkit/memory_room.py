"""The memory twin of a network's room, with the rules of its homeserver."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from dpm_core.adverts import ADVERT, DELTA, KEYS, RULE
from dpm_core.canonical import Content
from dpm_core.errors import Unavailable
from dpm_peer.hearing import CREATE, MEMBER, POWER_LEVELS, Hearing
from dpm_peer.room import Batch, NotAllowed, NotMember, check_content
from dpm_peer.room_keeping import power_levels

POLL_SECONDS = 0.05


class MemoryHomeserver:
    """One room, and who is in it. While ``away`` it answers nobody.

    ``refuses`` are raised by the next requests to say something, one by each; ``sent`` counts what arrived.
    """

    def __init__(self, keeper: str) -> None:
        self.keeper = keeper
        self.away = False
        self.lets_wait = self.limited = 0.0
        self.refuses: list[Unavailable] = []
        self.sent = 0
        self._events: list[dict[str, Any]] = []
        self._names: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()
        self.happen(CREATE, keeper, {"room_version": "12"}, "")
        self.happen(MEMBER, keeper, {"membership": "join"}, keeper)
        self.happen(POWER_LEVELS, keeper, power_levels(), "")

    def room(self, user: str) -> "MemoryRoom":
        """The room as ``user`` (MXID) has it."""
        return MemoryRoom(self, user)

    def join(self, user: str) -> None:
        """``user`` accepts its invitation."""
        if self.membership(user) not in ("invite", "join"):
            raise NotAllowed(f"{user} is not invited", status=403)
        self.happen(MEMBER, user, {"membership": "join"}, user)

    def membership(self, user: str) -> object:
        """What ``user`` is in the room."""
        return self.standing().get((MEMBER, user), {"content": {}})["content"].get("membership")

    def standing(self) -> dict[tuple[str, object], dict[str, Any]]:
        """The state events that stand."""
        return {(each["type"], each["state_key"]): each for each in self._events if "state_key" in each}

    def since(self, position: int) -> list[dict[str, Any]]:
        """What happened after the first ``position`` events."""
        return self._events[position:]

    def position(self) -> int:
        """How much has happened."""
        return len(self._events)

    def happen(self, kind: str, sender: str, content: Content, key: str | None = None) -> None:
        """Let an event into the room, whoever sends it: a homeserver that lies can do that."""
        event = {"type": kind, "sender": sender, "content": content}
        self._events.append(event if key is None else {**event, "state_key": key})
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next event, or for POLL_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):  # wait_for of Python 3.11 may lose a cancellation
                await self._changed.wait()

    def answer(self, user: str, *, keeps: bool = False) -> None:
        """Whether ``user`` gets an answer at all, and not a refusal. ``keeps``: it wants what is the keeper's."""
        if self.away:
            raise Unavailable("the homeserver cannot be reached")
        if self.membership(user) != "join" or (keeps and user != self.keeper):
            raise NotAllowed(f"{user} has no right to that", status=403)

    def say(self, kind: str, sender: str, content: Content, key: str | None = None, name: str = "") -> None:
        """What a member sends, by the homeserver's rules."""
        self.answer(sender, keeps=kind in (RULE, KEYS) or (kind == ADVERT and key != sender))
        if self.refuses:
            raise self.refuses.pop(0)
        self.limited += self.lets_wait
        self.sent += 1
        if name and (sender, name) in self._names:
            return
        self._names.add((sender, name))
        self.happen(kind, sender, check_content(content), key)


class MemoryRoom:
    """Ports Room and Keeper."""

    def __init__(self, server: MemoryHomeserver, user: str) -> None:
        self.away: str | None = None
        self._server = server
        self._user = user

    @property
    def limited(self) -> float:
        return self._server.limited

    async def advertise(self, content: Content) -> None:
        self._server.say(ADVERT, self._user, check_content(content), self._user)

    async def tell(self, content: Content, name: str) -> None:
        self._server.say(DELTA, self._user, check_content(content), name=name)

    async def members(self) -> frozenset[str]:
        return self._who("join")

    async def invited(self) -> frozenset[str]:
        return self._who("invite")

    def _who(self, membership: str) -> frozenset[str]:
        self._server.answer(self._user)
        known = [str(key) for kind, key in self._server.standing() if kind == MEMBER]
        return frozenset(user for user in known if self._server.membership(user) == membership)

    async def invite(self, member: str) -> None:
        self._server.answer(self._user, keeps=True)
        if self._server.membership(member) != "join":
            self._server.happen(MEMBER, self._user, {"membership": "invite"}, member)

    async def kick(self, member: str, why: str) -> None:
        self._server.answer(self._user, keeps=True)
        if self._server.membership(member) in ("join", "invite"):
            self._server.happen(MEMBER, self._user, {"membership": "leave", "reason": why}, member)

    async def set_rule(self, content: Content) -> None:
        self._server.say(RULE, self._user, check_content(content), "")

    async def set_keys(self, content: Content) -> None:
        self._server.say(KEYS, self._user, check_content(content), "")

    async def follow(self, since: str | None = None) -> AsyncGenerator[Batch, None]:
        hearing, server = Hearing(), self._server
        position = int(since) if since else 0
        whole = True
        while True:
            began = time.monotonic()
            if not whole and position == server.position():
                await server.changed()
            self.away = "the homeserver cannot be reached" if server.away else None
            if self.away:
                await server.changed()
                continue
            new, position = server.since(position), server.position()
            if whole:
                hearing.state(server.standing().values(), whole=True)
                new = [each for each in new if each["type"] == DELTA]
            if server.membership(self._user) != "join":
                raise NotMember(f"{self._user} is no member")
            hearing.timeline(new)
            whole = False
            said, ignored = hearing.taken()
            yield Batch(said, hearing.members, time.monotonic() - began, str(position), ignored)
