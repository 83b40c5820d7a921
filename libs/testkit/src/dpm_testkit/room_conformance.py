"""What every room of a network promises, in memory or on a homeserver."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from dpm_core.adverts import ADVERT, DELTA, KEYS, RULE
from dpm_core.canonical import Content
from dpm_core.errors import Invalid
from dpm_peer.room import Batch, KeptRoom, NotAllowed, NotMember, Said
from dpm_testkit.patience import PATIENCE, soon


@dataclass
class RoomKit:
    """A new room: its ``keeper``'s, and two accounts', ``ann`` and ``bob``, of which none is in it yet.

    ``names`` are the MXIDs of the three. ``join`` accepts an invitation. ``send`` sends any event (kind, content,
    state key or None) with Bob's account, past the port.
    """

    keeper: KeptRoom
    ann: KeptRoom
    bob: KeptRoom
    names: dict[str, str]
    join: Callable[[str], Awaitable[None]]
    send: Callable[[str, Content, str | None], Awaitable[None]]

    async def let_in(self, *who: str) -> None:
        """Invite them, and have them join."""
        for each in who:
            await self.keeper.invite(self.names[each])
            await self.join(each)


class Listener:
    """Hears a room: all that was said, and the last batch."""

    def __init__(self, batches: AsyncGenerator[Batch, None]) -> None:
        self.batches = batches
        self.said: list[Said] = []
        self.ignored: list[str] = []
        self.last: Batch | None = None

    async def next(self) -> Batch:
        """One more batch."""
        self.last = await soon(asyncio.ensure_future(anext(self.batches)))
        self.said += self.last.said
        self.ignored += [each.why for each in self.last.ignored]
        return self.last

    async def until(self, heard: Callable[[], object]) -> None:
        """Batches until ``heard`` is true. Raises TimeoutError after PATIENCE."""
        async with asyncio.timeout(PATIENCE):
            while not heard():
                await self.next()

    def contents(self, kind: str, sender: str) -> list[Any]:
        """The values that were sent as ``{"v": value}``, in order."""
        return [each.content.get("v") for each in self.said if (each.kind, each.sender) == (kind, sender)]


class RoomSuite:
    """Inherit, and give a fixture ``kit``."""

    async def test_what_a_member_says_is_heard_by_the_others(self, kit: RoomKit) -> None:
        await kit.let_in("ann", "bob")
        async with aclosing(kit.bob.follow()) as batches:
            bob = Listener(batches)
            await bob.next()
            await kit.ann.advertise({"v": 1})
            await kit.ann.tell({"v": "a"}, "1-1")
            await kit.ann.tell({"v": "b"}, "1-2")
            await bob.until(lambda: len(bob.contents(DELTA, kit.names["ann"])) == 2)
            assert bob.contents(DELTA, kit.names["ann"]) == ["a", "b"]
            assert bob.contents(ADVERT, kit.names["ann"]) == [1]
            assert bob.last and bob.last.members == frozenset(kit.names.values())

    async def test_who_comes_late_hears_every_members_last_advert_and_the_rule(self, kit: RoomKit) -> None:
        await kit.let_in("ann")
        for number in (1, 2, 3):
            await kit.ann.advertise({"v": number})
        await kit.ann.tell({"v": "before"}, "1-1")
        await kit.keeper.advertise({"v": "keeper's"})
        await kit.keeper.set_rule({"v": "rule"})
        await kit.keeper.set_keys({"v": "keys"})
        await kit.let_in("bob")
        async with aclosing(kit.bob.follow()) as batches:
            bob = Listener(batches)
            await bob.next()
        assert bob.contents(ADVERT, kit.names["ann"])[-1] == 3
        assert bob.contents(ADVERT, kit.names["keeper"]) == ["keeper's"]
        assert bob.contents(RULE, kit.names["keeper"])[-1] == "rule"
        assert bob.contents(KEYS, kit.names["keeper"])[-1] == "keys"
        assert bob.contents(DELTA, kit.names["ann"]) == ["before"]

    async def test_who_goes_on_from_a_token_hears_what_was_missed_once(self, kit: RoomKit) -> None:
        await kit.let_in("ann", "bob")
        await kit.ann.advertise({"v": 1})
        await kit.ann.tell({"v": "heard"}, "1-1")
        async with aclosing(kit.bob.follow()) as batches:
            before = Listener(batches)
            await before.until(lambda: before.contents(DELTA, kit.names["ann"]))
        assert before.last
        await kit.ann.tell({"v": "missed"}, "1-2")
        async with aclosing(kit.bob.follow(before.last.token)) as batches:
            after = Listener(batches)
            await after.next()
            assert after.contents(DELTA, kit.names["ann"]) == ["missed"]
            assert after.contents(ADVERT, kit.names["ann"]) == [1]
            assert after.last and after.last.members == frozenset(kit.names.values())

    async def test_what_is_told_twice_under_one_name_is_heard_once(self, kit: RoomKit) -> None:
        await kit.let_in("ann", "bob")
        for _ in range(2):
            await kit.ann.tell({"v": "a"}, "1-1")
        await kit.ann.tell({"v": "b"}, "1-2")
        async with aclosing(kit.bob.follow()) as batches:
            bob = Listener(batches)
            await bob.until(lambda: "b" in bob.contents(DELTA, kit.names["ann"]))
        assert bob.contents(DELTA, kit.names["ann"]) == ["a", "b"]

    async def test_batches_come_though_nobody_says_a_word(self, kit: RoomKit) -> None:
        async with aclosing(kit.keeper.follow()) as batches:
            keeper = Listener(batches)
            await keeper.next()
            quiet = await keeper.next()
        assert quiet.said == () and quiet.seconds > 0

    async def test_who_is_removed_hears_and_says_no_more(self, kit: RoomKit) -> None:
        await kit.let_in("ann", "bob")
        async with aclosing(kit.bob.follow()) as batches, aclosing(kit.ann.follow()) as others:
            bob, ann = Listener(batches), Listener(others)
            await bob.next()
            await kit.keeper.kick(kit.names["bob"], "no longer of the team")
            await kit.keeper.advertise({"v": "not for Bob"})
            with pytest.raises(NotMember):
                await bob.until(lambda: False)
            assert not bob.contents(ADVERT, kit.names["keeper"])
            await ann.until(lambda: ann.last and kit.names["bob"] not in ann.last.members)
        for said in (kit.bob.tell({"v": 1}, "1-1"), kit.bob.advertise({"v": 1})):
            with pytest.raises(NotAllowed):
                await said
        with pytest.raises(NotMember):
            await anext(kit.bob.follow())
        assert await kit.keeper.members() == {kit.names["keeper"], kit.names["ann"]}
        await kit.keeper.kick(kit.names["bob"], "again")

    async def test_who_is_invited_is_known_until_it_joins_or_the_invitation_is_taken_back(
        self, kit: RoomKit
    ) -> None:
        with pytest.raises(NotAllowed):
            await kit.ann.invited()
        await kit.let_in("bob")
        await kit.keeper.invite(kit.names["ann"])
        assert await kit.bob.invited() == {kit.names["ann"]}
        await kit.keeper.kick(kit.names["ann"], "by mistake")
        assert await kit.bob.invited() == frozenset()

    async def test_who_is_invited_again_is_a_member_again(self, kit: RoomKit) -> None:
        await kit.let_in("bob")
        await kit.keeper.kick(kit.names["bob"], "by mistake")
        with pytest.raises(NotAllowed):
            await kit.join("bob")
        await kit.let_in("bob")
        await kit.keeper.invite(kit.names["bob"])
        async with aclosing(kit.bob.follow()) as batches:
            assert kit.names["bob"] in (await Listener(batches).next()).members

    async def test_only_the_keeper_sets_rule_and_keys_and_says_who_is_in(self, kit: RoomKit) -> None:
        await kit.let_in("bob")
        for attempt in (
            kit.bob.set_rule({"v": "forged"}),
            kit.bob.set_keys({"v": "forged"}),
            kit.bob.invite(kit.names["ann"]),
            kit.bob.kick(kit.names["keeper"], "a coup"),
            kit.send(ADVERT, {"v": "forged"}, kit.names["keeper"]),
        ):
            with pytest.raises(NotAllowed):
                await attempt
        async with aclosing(kit.keeper.follow()) as batches:
            keeper = Listener(batches)
            await keeper.next()
        assert not keeper.said

    async def test_what_no_room_takes_is_refused_before_it_is_sent(self, kit: RoomKit) -> None:
        for content in ({}, {"v": 1.5}, {"v": 2**53}, {"v": "x" * 48 * 1024}, {"v": b"x"}, {"v": "\ud800"}):
            with pytest.raises(Invalid):
                await kit.keeper.advertise(content)
            with pytest.raises(Invalid):
                await kit.keeper.tell(content, "1-1")
        await kit.keeper.tell({"v": "x" * (48 * 1024 - 8)}, "1-1")
