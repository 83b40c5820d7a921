"""Rooms on a real Synapse."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_core.adverts import (
    ADVERT,
    DELTA,
    KEYS,
    Advert,
    Delta,
    KeyInBox,
    read_advert,
    read_delta,
    seal_advert,
    seal_delta,
)
from dpm_core.canonical import Content
from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import PeerId
from dpm_core.seals import SealKey
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.room import NotAllowed
from dpm_peer.room_keeping import create_room, join, leave, log_in, log_out, register, registration_token
from dpm_peer.rotation import new_key, remove_member
from dpm_runtime.service import SystemClock
from dpm_testkit.clock import LeapingClock
from dpm_testkit.patience import soon
from dpm_testkit.peer_things import file_of, page_of
from dpm_testkit.room_conformance import Listener, RoomKit, RoomSuite
from dpm_testkit.synapse import SERVER_NAME, Synapse, running_synapse

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

CLOCK = SystemClock()
RESTLESS = LeapingClock(pause=0.2)
"""A homeserver that is away is asked again each 0.2 s, however long it is away."""
PASSWORD = secrets.token_urlsafe()


def mxid(name: str) -> str:
    return f"@{name}:{SERVER_NAME}"


@dataclass
class Homeserver:
    """A Synapse, and links with the accounts of its administrator, who keeps the rooms, and of Ann and Bob."""

    synapse: Synapse
    links: dict[str, MatrixLink]
    open: AsyncExitStack

    async def restarted(self, *, limits: bool) -> None:
        """Killed and started again."""
        await self.synapse.stop()
        self.synapse.limits = limits
        await self.synapse.start()

    async def link(self, account: Account | None = None) -> MatrixLink:
        return await self.open.enter_async_context(MatrixLink.open(self.synapse.url, CLOCK, account))

    async def new_account(self, name: str) -> Account:
        token = await registration_token(self.links["keeper"], time.time())
        return await register(await self.link(), name, PASSWORD, token, "a test")

    async def new_room(self) -> "RealKit":
        room = await create_room(self.links["keeper"], "a network")
        rooms = {name: MatrixRoom(link, room, RESTLESS, poll=0.3, page=10) for name, link in self.links.items()}

        async def send(kind: str, content: Content, key: str | None) -> None:
            await self.links["bob"].ask("send", lambda nio: nio.room_put_state(room, kind, content, key or ""))

        return RealKit(
            rooms["keeper"], rooms["ann"], rooms["bob"], {name: mxid(name) for name in rooms},
            lambda who: join(self.links[who], room), send, room,
        )  # fmt: skip


@dataclass
class RealKit(RoomKit):
    id: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Homeserver]:
    folder: Path = tmp_path_factory.mktemp("synapse")
    async with running_synapse(folder) as synapse, AsyncExitStack() as open:
        server = Homeserver(synapse, {}, open)
        administrator = Account(synapse.url, mxid("keeper"), "", await synapse.administrator("keeper"))
        server.links["keeper"] = await server.link(administrator)
        for name in ("ann", "bob"):
            server.links[name] = await server.link(await server.new_account(name))
        yield server


class TestMatrixRoom(RoomSuite):
    @pytest_asyncio.fixture(loop_scope="module")
    async def kit(self, homeserver: Homeserver) -> RoomKit:
        return await homeserver.new_room()


async def test_a_registration_token_serves_once(homeserver: Homeserver) -> None:
    token = await registration_token(homeserver.links["keeper"], time.time())
    account = await register(await homeserver.link(), "once", PASSWORD, token, "a test")
    assert account.user == mxid("once") and account.access_token not in repr(account)
    with pytest.raises(NotAllowed, match="counts no more"):
        await register(await homeserver.link(), "twice", PASSWORD, token, "a test")
    with pytest.raises(NotAllowed, match="USER_IN_USE"):
        await homeserver.new_account("once")


async def test_only_the_homeservers_administrator_makes_registration_tokens(homeserver: Homeserver) -> None:
    with pytest.raises(NotAllowed, match="admin"):
        await registration_token(homeserver.links["ann"], time.time())


async def test_who_is_invited_before_its_account_exists_can_join(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.keeper.invite(mxid("later"))
    link = await homeserver.link(await homeserver.new_account("later"))
    room = MatrixRoom(link, kit.id, CLOCK)
    await join(link, kit.id)
    assert mxid("later") in await room.members()
    await leave(link, kit.id)
    await leave(link, kit.id)
    assert await kit.keeper.members() == {mxid("keeper")}


async def test_a_password_gives_an_access_token_until_it_is_logged_out(homeserver: Homeserver) -> None:
    with pytest.raises(NotAllowed):
        await log_in(await homeserver.link(), "ann", "wrong", "a test")
    account = await log_in(await homeserver.link(), "ann", PASSWORD, "a test")
    link = await homeserver.link(account)
    await log_out(link)
    await log_out(link)
    room = MatrixRoom(link, (await homeserver.new_room()).id, CLOCK)
    with pytest.raises(NotAllowed, match="access token"):
        await anext(room.follow())


async def test_a_stranger_with_an_account_hears_nothing(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.keeper.advertise({"v": 1})
    for attempt in (anext(kit.bob.follow()), kit.join("bob"), kit.bob.members(), kit.bob.tell({"v": 1}, "1")):
        with pytest.raises(NotAllowed):
            await attempt


async def test_a_room_takes_no_word_but_those_of_a_network(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.let_in("bob")
    for kind, key in (("m.room.topic", ""), ("dpm.other", mxid("bob"))):
        with pytest.raises(NotAllowed):
            await kit.send(kind, {"topic": "mine"}, key)
    with pytest.raises(NotAllowed):
        await homeserver.links["bob"].ask(
            "chat", lambda nio: nio.room_send(kit.id, "m.room.message", {"msgtype": "m.text", "body": "hi"})
        )


async def test_an_advert_under_a_name_that_is_nobodys_does_not_count(homeserver: Homeserver) -> None:
    """Matrix keeps names that begin with @ for their owners, and no others."""
    kit = await homeserver.new_room()
    await kit.let_in("bob")
    await kit.send(ADVERT, {"v": "forged"}, "")
    await kit.send(ADVERT, {"v": "forged"}, mxid("bob").removeprefix("@"))
    async with aclosing(kit.keeper.follow()) as batches:
        keeper = Listener(batches)
        await keeper.next()
    assert not keeper.said
    assert keeper.ignored == [f"{ADVERT}: it stands under another's name"] * 2


async def test_what_is_sealed_comes_out_as_it_was_sent_and_its_seal_holds(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.let_in("ann", "bob")
    key = SealKey(SwarmKey(bytes(32)), kit.id)
    files = tuple(file_of(number, 2_000_000, "application/ünusual+json") for number in range(150))
    advert = Advert(
        PeerId.of_ed25519(bytes(32)), (), 1_764_000_000_000, 0, None, 0, 0, 0, 1_764_000_000_000, bytes(32)
    )
    delta = Delta(advert.epoch, 1, add=files, pages=(page_of(1),))
    await kit.ann.advertise(seal_advert(advert, key, mxid("ann")))
    await kit.ann.tell(seal_delta(delta, key, mxid("ann")), f"{delta.epoch}-1")
    async with aclosing(kit.bob.follow()) as batches:
        said = (await anext(batches)).said
    heard = {each.kind: each for each in said}
    assert read_advert(heard[ADVERT].content, key, heard[ADVERT].sender) == advert
    assert read_delta(heard[DELTA].content, key, heard[DELTA].sender) == delta


async def test_a_new_key_reaches_who_stays_when_a_member_is_removed(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.let_in("ann", "bob")
    pairs = {name: BoxKey.make() for name in kit.names}
    boxes = {mxid(name): pair.public for name, pair in pairs.items()}
    fresh = KeyInBox(kit.id, 2, SwarmKey(bytes(range(32))))
    left_out = await remove_member(
        kit.keeper, mxid("bob"), "no longer of the team", fresh=fresh, ours=pairs["keeper"], boxes=boxes
    )
    assert not left_out
    async with aclosing(kit.ann.follow()) as batches:
        (heard,) = [each.content for each in (await anext(batches)).said if each.kind == KEYS]
    keeper = pairs["keeper"].public
    found = new_key(heard, user=mxid("ann"), room=kit.id, generation=1, ours=pairs["ann"], keeper=keeper)
    assert found == fresh
    with pytest.raises(NotAllowed):
        await anext(kit.bob.follow())


async def test_many_deltas_that_were_missed_are_read_back(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.let_in("ann", "bob")
    token = (await anext(kit.bob.follow())).token
    wanted = list(range(25))
    for number in wanted:
        await kit.ann.tell({"v": number}, f"1-{number}")
    for since in (token, None):
        async with aclosing(kit.bob.follow(since)) as batches:
            bob = Listener(batches)
            await bob.next()
            assert bob.contents(DELTA, mxid("ann")) == wanted


async def test_an_own_restart_and_one_of_the_homeserver_lose_nothing(homeserver: Homeserver) -> None:
    kit = await homeserver.new_room()
    await kit.let_in("ann", "bob")
    await kit.ann.advertise({"v": 1})
    async with aclosing(kit.bob.follow()) as batches:
        bob = Listener(batches)
        await bob.until(lambda: bob.contents(ADVERT, mxid("ann")))
        waiting = asyncio.ensure_future(bob.until(lambda: bob.contents(DELTA, mxid("ann"))))
        await homeserver.synapse.stop()
        with pytest.raises(Unavailable) as refused:
            await kit.ann.tell({"v": "a"}, "1-1")
        assert not refused.value.lasting
        await homeserver.restarted(limits=True)
        await kit.ann.tell({"v": "a"}, "1-1")
        await soon(waiting)
        assert bob.last
        token = bob.last.token
        assert kit.bob.away is None
    # what was heard before it went away is there after it, and the token is good
    link = await homeserver.link(homeserver.links["bob"].account)
    async with aclosing(MatrixRoom(link, kit.id, CLOCK).follow(token)) as batches:
        again = Listener(batches)
        await again.next()
        assert again.contents(ADVERT, mxid("ann")) == [1]
        assert again.contents(DELTA, mxid("ann")) == []
    # a token that this homeserver never gave
    async with aclosing(MatrixRoom(link, kit.id, CLOCK).follow("nonsense")) as batches:
        again = Listener(batches)
        await again.next()
        assert again.contents(DELTA, mxid("ann")) == ["a"]


async def test_synapses_own_rate_limit_delays_and_loses_nothing(homeserver: Homeserver) -> None:
    """Ten messages at once, then one in five seconds. Last of all, because the limits stay."""
    kit = await homeserver.new_room()
    await kit.let_in("ann", "bob")
    if not homeserver.synapse.limits:
        await homeserver.restarted(limits=True)
    wanted = list(range(11))
    for number in wanted:
        await kit.ann.tell({"v": number}, f"1-{number}")
    assert homeserver.links["ann"].waited > 0
    async with aclosing(kit.bob.follow()) as batches:
        bob = Listener(batches)
        await bob.next()
        assert bob.contents(DELTA, mxid("ann")) == wanted
