"""The keeper removes members and changes the rule; what breaks off on the way is done again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_core.adverts import RULE, read_rule
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import LeaveReason, PeerLeft
from dpm_core.seals import SealKey
from dpm_core.sharing import Clause, Rule
from dpm_peer import roster
from dpm_peer.keeping import NoSuchMember, Removed
from dpm_peer.network_files import Removal
from dpm_peer.room import NotAllowed
from dpm_peer.roster import Described, Standing
from dpm_testkit.little_network import ROOM, LittleNetwork, LittleNode, mxid
from dpm_testkit.memory_room import MemoryRoom
from dpm_testkit.patience import eventually, soon, until

BODY = b"a wheel"
ANN, BEN, CAT = map(mxid, ("ann", "ben", "cat"))


class Circle:
    """A network; ann's node keeps it."""

    def __init__(self, circle: LittleNetwork, running: AsyncExitStack) -> None:
        self.circle = circle
        self.server = circle.server
        self._running = running

    async def nodes(self, *names: str) -> list[LittleNode]:
        """Nodes that run and know of each other."""
        nodes = [await self._running.enter_async_context(self.circle.node(name).running()) for name in names]
        for node in nodes:
            await until(lambda node=node: len(node.register.peers.present("team")) == len(names) - 1)  # type: ignore[misc]
        return nodes


@pytest_asyncio.fixture
async def circle(tmp_path: Path) -> AsyncIterator[Circle]:
    async with AsyncExitStack() as running:
        yield Circle(LittleNetwork(tmp_path), running)


@pytest.mark.parametrize("called", [CAT, "cat", "@cat", "its peer"])
async def test_a_member_is_removed_and_the_others_have_a_new_key(circle: Circle, called: str) -> None:
    ann, ben, cat = await circle.nodes("ann", "ben", "cat")
    before = ben.key
    who = cat.kubo.id if called == "its peer" else called
    assert await ann.keeping.kick(who, "no longer of the team") == Removed(CAT, 2)
    await until(lambda: ben.network.generation == 2)
    assert ann.key == ben.key != before == cat.key
    assert circle.server.membership(CAT) == "leave"
    assert ann.files.removal() is None
    assert await ben.gets(await ann.stores(BODY)) == BODY


async def test_who_is_invited_still_is_removed_too_and_whose_invitation_is_old_is_named(circle: Circle) -> None:
    (ann,) = await circle.nodes("ann")
    for user in (BEN, CAT):
        await circle.server.room(ANN).invite(user)
    assert await ann.keeping.kick("ben") == Removed(BEN, 2, invited=(CAT,))
    assert circle.server.membership(BEN) == "leave"


async def test_who_never_said_a_word_has_no_key_and_is_named(circle: Circle) -> None:
    ann, _ = await circle.nodes("ann", "ben")
    await circle.server.room(ANN).invite(CAT)
    circle.server.join(CAT)
    assert await ann.keeping.kick("ben") == Removed(BEN, 2, without_key=(CAT,))


async def test_who_was_silent_for_long_gets_the_key_too(circle: Circle) -> None:
    ann, ben, _ = await circle.nodes("ann", "ben", "cat")
    ann.register.record([PeerLeft(ben.kubo.id, "team", BEN, LeaveReason.SILENT)])
    assert (await ann.keeping.kick("cat")).without_key == ()
    await until(lambda: ben.network.generation == 2)


async def test_nobody_else_may_remove_members_and_nobody_removes_itself(circle: Circle) -> None:
    ann, ben = await circle.nodes("ann", "ben")
    with pytest.raises(NotAllowed):
        await ben.keeping.kick("ann")
    with pytest.raises(Invalid, match="leave"):
        await ann.keeping.kick("ann")
    with pytest.raises(NoSuchMember, match=BEN):
        await ann.keeping.kick("dan")
    assert ann.network.generation == 1 and ben.files.removal() is None


async def test_a_name_that_two_have_is_asked_for_again(circle: Circle) -> None:
    (ann,) = await circle.nodes("ann")
    for user in (BEN, "@ben:other.test"):
        await circle.server.room(ANN).invite(user)
    with pytest.raises(NoSuchMember, match="say which"):
        await ann.keeping.kick("ben")


async def test_what_a_homeserver_that_is_away_breaks_off_goes_on_with_the_same_key(circle: Circle) -> None:
    ann, ben, _ = await circle.nodes("ann", "ben", "cat")
    circle.server.refuses = [Unavailable("no room for keys")] * 100
    with pytest.raises(Unavailable):
        await ann.keeping.kick("cat")
    begun = ann.files.removal()
    assert begun is not None and begun.member == CAT
    circle.server.refuses.clear()
    await until(lambda: ben.network.generation == 2)
    assert ben.key == begun.swarm_key
    await until(lambda: ann.files.removal() is None)


async def test_what_a_crash_broke_off_goes_on_at_the_next_start(circle: Circle) -> None:
    async with circle.circle.node("ben").running(), circle.circle.node("cat").running():
        ann = circle.circle.node("ann")
        async with ann.running():
            await until(lambda: len(ann.register.peers.present("team")) == 2)
        ann.files.begin(Removal(CAT, "", 2, "09" * 32))
        async with ann.running():
            await until(lambda: ann.files.removal() is None)
        assert ann.network.generation == 2 and circle.server.membership(CAT) == "leave"


async def test_asked_again_it_says_what_it_said(circle: Circle) -> None:
    ann, _, _ = await circle.nodes("ann", "ben", "cat")
    circle.server.refuses = [Unavailable("no room for keys")] * 100
    with pytest.raises(Unavailable):
        await ann.keeping.kick("cat")
    circle.server.refuses.clear()
    for _ in range(2):
        assert await ann.keeping.kick("cat") == Removed(CAT, 2)
    with pytest.raises(NoSuchMember):
        await ann.keeping.kick("dan")


async def test_a_new_rule_is_told_to_all_and_known_to_who_comes_after_a_new_key(circle: Circle) -> None:
    ann, ben, _ = await circle.nodes("ann", "ben", "cat")
    rule = Rule(shares=(Clause("pypi"),))
    await ann.keeping.set_rule(rule)
    await until(lambda: ben.network.rule == rule)
    await ann.keeping.kick("cat")
    said = circle.server.standing()[RULE, ""]["content"]
    assert read_rule(said, SealKey(ann.key, ROOM, 2), ANN) == rule
    with pytest.raises(NotAllowed):
        await ben.keeping.set_rule(Rule())


async def test_who_is_there_and_how_each_does(circle: Circle) -> None:
    ann, ben, cat = await circle.nodes("ann", "ben", "cat")
    await circle.server.room(ANN).invite(mxid("dan"))
    await ben.stores(BODY)

    async def described() -> Described | None:
        said = await ann.roster.described()
        here = all(each.connected for each in said.members[:2])
        return said if here and said.members[0].files else None

    said = await eventually(described)
    assert (said.user, said.peer, said.generation, said.away) == (ANN, ann.kubo.id, 1, None)
    assert [(each.user, each.standing, each.peer) for each in said.members] == [
        (BEN, Standing.HERE, ben.kubo.id),
        (CAT, Standing.HERE, cat.kubo.id),
        (mxid("dan"), Standing.INVITED, None),
    ]
    assert [each.files for each in said.members[:2]] == [1, 0]
    circle.server.away = True
    assert (await ann.roster.described()).away


async def test_a_homeserver_that_hangs_keeps_nobody_waiting_who_asks_about_the_network(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "ASK_SECONDS", 0.1)
    (ann,) = await circle.nodes("ann")
    ann.roster._room = Hanging(circle.server, ANN)
    said = await soon(asyncio.ensure_future(ann.roster.described()))
    assert said.away and "0.1 s" in said.away


class Hanging(MemoryRoom):
    """A room that never says who is invited."""

    async def invited(self) -> frozenset[str]:
        await asyncio.Event().wait()
        raise AssertionError
