"""Ports Room and Keeper: a room of a Matrix homeserver.

Paths and answers: https://spec.matrix.org/v1.16/client-server-api/.
"""

import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from dpm_core.adverts import ADVERT, DELTA, KEYS, RULE
from dpm_core.canonical import Content
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import Clock
from dpm_peer.hearing import CREATE, KINDS, MEMBER, ROOM_KINDS, STATE_KINDS, Hearing, is_mxid
from dpm_peer.matrix_link import MatrixLink, Refused
from dpm_peer.room import Batch, NotAllowed, NotMember, check_content

POLL_SECONDS = 30.0
"""For how long the homeserver may keep a sync waiting for something new."""

BEHIND_SECONDS = 15.0
"""How much later than that it may answer."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
"""Before a homeserver that is away is asked again: doubled each time."""

MOST_EVENTS = 100
"""Of a timeline, in one answer. Synapse gives no more (filter_timeline_limit)."""

MOST_PAGES = 10
"""Of so many events each, read back for what was missed."""

log = logging.getLogger(__name__)


class MatrixRoom:
    """A room as the account of ``link`` has it."""

    def __init__(
        self, link: MatrixLink, room: str, clock: Clock, *, poll: float = POLL_SECONDS, page: int = MOST_EVENTS
    ) -> None:
        if link.account is None:
            raise Invalid("a room wants an account")
        self._link = link
        self.id = room
        self._clock = clock
        self._poll = poll
        self._page = page
        self._user = link.account.user
        self.away: str | None = None

    @property
    def limited(self) -> float:
        """See :class:`dpm_peer.room.Room`."""
        return self._link.waited

    async def advertise(self, content: Content) -> None:
        """See :class:`dpm_peer.room.Room`."""
        await self._put(ADVERT, content, self._user)

    async def tell(self, content: Content, name: str) -> None:
        """See :class:`dpm_peer.room.Room`."""
        check_content(content)
        # One transaction id is one event, for as long as the homeserver remembers it.
        await self._link.ask("tell", lambda nio: nio.room_send(self.id, DELTA, content, tx_id=name))

    async def members(self) -> frozenset[str]:
        """See :class:`dpm_peer.room.Room`."""
        answer = await self._link.ask("members", lambda nio: nio.joined_members(self.id))
        return frozenset(each.user_id for each in answer.members if is_mxid(each.user_id))

    async def invited(self) -> frozenset[str]:
        """See :class:`dpm_peer.room.Room`."""
        query = {"membership": "invite"}
        answer = await self._link.call("invited", "GET", self._path("members"), query=query)
        events = [each for each in _listed(answer.get("chunk")) if isinstance(each, dict)]
        return frozenset(str(each["state_key"]) for each in events if is_mxid(each.get("state_key")))

    async def invite(self, member: str) -> None:
        """See :class:`dpm_peer.room.Keeper`."""
        if member not in await self.members():
            await self._link.ask("invite", lambda nio: nio.room_invite(self.id, member))

    async def kick(self, member: str, why: str) -> None:
        """See :class:`dpm_peer.room.Keeper`."""
        try:
            await self._link.ask("kick", lambda nio: nio.room_kick(self.id, member, why))
        except NotAllowed:
            # Synapse refuses it for somebody who is not there in the same words as for somebody without the right.
            if await self._membership(member) in ("join", "invite"):
                raise

    async def set_rule(self, content: Content) -> None:
        """See :class:`dpm_peer.room.Keeper`."""
        await self._put(RULE, content, "")

    async def set_keys(self, content: Content) -> None:
        """See :class:`dpm_peer.room.Keeper`."""
        await self._put(KEYS, content, "")

    async def follow(self, since: str | None = None) -> AsyncGenerator[Batch, None]:
        """See :class:`dpm_peer.room.Room`."""
        hearing, token, whole, pause = Hearing(), since, True, FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                answer = await self._sync(token, whole)
                missed = await self._missed(answer, token)
                creation = [await self._creation()] if whole else []
            except NotAllowed:
                raise
            except Unavailable as why:
                if isinstance(why, Refused) and why.status == 400 and token is not None:
                    log.warning("the homeserver does not know where we were: the room is read anew: %s", why)
                    token, whole = None, True
                    continue
                if self.away is None:
                    log.warning("%s: asked again until it can", why)
                self.away = str(why)
                await self._clock.sleep(max(pause, why.retry_after or 0.0))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            if self.away is not None:
                log.info("the homeserver is heard again")
            self.away, pause = None, FIRST_PAUSE_SECONDS
            token = str(answer["next_batch"])
            joined = _at(answer, "rooms", "join", self.id)
            hearing.state(creation + _events(joined, "state"), whole=whole)
            hearing.timeline(missed)
            hearing.timeline(_events(joined, "timeline"))
            said, ignored = hearing.taken()
            whole = False
            yield Batch(said, hearing.members, time.monotonic() - began, token, ignored)

    async def _sync(self, token: str | None, whole: bool) -> Content:
        """What is new since ``token``; ``whole``: with all that stands. Raises NotMember."""
        query = {"filter": self._filter(), "set_presence": "offline"}
        if token:
            query["since"] = token
        if whole:
            # Answered at once, whatever the time; but Synapse keeps such an answer for two minutes, and gives it
            # to who asks in the same words: a member that was removed meanwhile would still be one.
            query |= {"full_state": "true", "timeout": str(secrets.randbelow(1_000_000))}
        else:
            query["timeout"] = str(int(self._poll * 1000))
        answer = await self._link.call(
            "sync", "GET", "/_matrix/client/v3/sync", query=query, timeout=self._poll + BEHIND_SECONDS
        )
        if not isinstance(answer.get("next_batch"), str):
            raise Unavailable("sync: what answers is no Matrix homeserver")
        gone = _at(answer, "rooms", "leave", self.id)
        if gone or (whole and not _at(answer, "rooms", "join", self.id)):
            raise NotMember(self._how_it_ended(gone), advice="ask for a new invitation")
        return answer

    async def _missed(self, answer: Content, token: str | None) -> list[Any]:
        """The deltas between ``token`` and a timeline that did not hold all, oldest first."""
        timeline = _at(answer, "rooms", "join", self.id, "timeline")
        before = timeline.get("prev_batch")
        missed: list[Any] = []
        if timeline.get("limited") is not True:
            return missed
        query = {"dir": "b", "limit": str(self._page), "filter": json.dumps({"types": [DELTA]})}
        if token:
            query["to"] = token
        for _ in range(MOST_PAGES):
            if not isinstance(before, str):
                break
            page = await self._link.call(
                "read back", "GET", self._path("messages"), query={**query, "from": before}
            )
            missed += _listed(page.get("chunk"))
            before = page.get("end")
        return missed[::-1]

    async def _creation(self) -> Content:
        """The event that made the room: a filter by rooms hides it in rooms of version 12 (Synapse 1.163)."""
        path = self._path("state", CREATE, "")
        return await self._link.call("who made the room", "GET", path, query={"format": "event"})

    async def _put(self, kind: str, content: Content, key: str) -> None:
        check_content(content)
        await self._link.ask(f"set {kind}", lambda nio: nio.room_put_state(self.id, kind, content, state_key=key))

    async def _membership(self, member: str) -> object:
        try:
            state = await self._link.call("membership", "GET", self._path("state", MEMBER, member))
        except Refused as why:
            if why.code == "M_NOT_FOUND":
                return None
            raise
        return state.get("membership")

    def _path(self, *words: str) -> str:
        return "/".join(("/_matrix/client/v3/rooms", *(quote(each, safe="") for each in (self.id, *words))))

    def _filter(self) -> str:
        nothing: dict[str, list[str]] = {"types": []}
        of_room = {
            "rooms": [self.id],
            "include_leave": True,
            "timeline": {"types": [*KINDS, *ROOM_KINDS], "limit": self._page},
            "state": {"types": [*STATE_KINDS, *ROOM_KINDS]},
            "ephemeral": nothing,
            "account_data": nothing,
        }
        return json.dumps({"room": of_room, "presence": nothing, "account_data": nothing})

    def _how_it_ended(self, gone: Content) -> str:
        for event in reversed(_events(gone, "timeline")):
            if isinstance(event, dict) and event.get("type") == MEMBER and event.get("state_key") == self._user:
                who, why = event.get("sender"), _at(event, "content").get("reason")
                by = "left it" if who == self._user else f"was removed by {who}"
                return f"{self._user} is no member of {self.id}: it {by}" + (f" ({why})" if why else "")
        return f"{self._user} is no member of {self.id}"


def _at(answer: Content, *names: str) -> Content:
    """The object below ``names``; an empty one where there is none."""
    for name in names:
        below = answer.get(name)
        answer = below if isinstance(below, dict) else {}
    return answer


def _events(room: Content, section: str) -> list[Any]:
    return _listed(_at(room, section).get("events"))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
