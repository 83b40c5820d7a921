"""What one node of a network stores the others can fetch, through all that happens to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_core.adverts import ADVERT, DELTA, Advert, KeyInBox, seal_advert, seal_rule
from dpm_core.cids import CHUNK
from dpm_core.events import (
    BlobQuarantined,
    BlockReason,
    LeaveReason,
    OriginKind,
    PeerAdvertised,
    PeerBlocked,
    PeerJoined,
    PeerLeft,
)
from dpm_core.multiaddrs import PeerId
from dpm_core.seals import SealKey
from dpm_core.sharing import Clause, Rule
from dpm_core.swarm_keys import SwarmKey
from dpm_peer import telling
from dpm_peer.rotation import remove_member
from dpm_testkit.little_network import ROOM, LittleNetwork, LittleNode, mxid
from dpm_testkit.members import Member
from dpm_testkit.patience import until

BODY, OTHER = b"a wheel", b"".join(bytes([each]) * CHUNK for each in range(3)) + b"end"


class Circle:
    """A network of which ann's node runs, and others as they are asked for."""

    def __init__(self, circle: LittleNetwork, running: AsyncExitStack) -> None:
        self.circle = circle
        self._running = running

    async def node(self, name: str) -> LittleNode:
        return await self._running.enter_async_context(self.circle.node(name).running())


@pytest_asyncio.fixture
async def circle(tmp_path: Path) -> AsyncIterator[Circle]:
    async with AsyncExitStack() as running:
        yield Circle(LittleNetwork(tmp_path), running)


async def test_what_one_stores_the_others_get_small_or_large(circle: Circle) -> None:
    ann, ben, cat = [await circle.node(name) for name in ("ann", "ben", "cat")]
    small, large = await ann.stores(BODY), await ann.stores(OTHER)
    for node in (ben, cat):
        assert await node.gets(small) == BODY
        assert await node.gets(large) == OTHER
    assert ann.who_has(small) == set()


async def test_what_was_there_before_a_member_came_stands_in_the_inventory(circle: Circle) -> None:
    ann = circle.circle.node("ann")
    kept = [await ann.stores(str(number).encode()) for number in range(50)]
    async with ann.running():
        ben = await circle.node("ben")
        assert await ben.gets(kept[49]) == b"49"
        assert ben.table.counts().files == 50
        assert [type(each) for each in ben.register.events][:2] == [PeerJoined, PeerAdvertised]


async def test_what_is_evicted_is_gone_for_the_others(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    kept, gone = await ann.stores(BODY), await ann.stores(OTHER)
    assert await ben.gets(kept) == BODY
    assert await ben.gets(gone) == OTHER
    await ann.evicts(OTHER)
    await until(lambda: not ben.who_has(gone))
    assert ben.who_has(kept) == {ann.kubo.id}


async def test_bytes_of_two_artifacts_are_shared_until_both_are_evicted(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    sha256 = await ann.stores(BODY, "one")
    await ann.stores(BODY, "two")
    last = await ann.stores(OTHER)
    assert await ben.gets(sha256) == BODY
    await ann.lets_go(BODY, "one")
    end = await ann.stores(b"the last word")
    await ben.gets(end)
    assert ben.who_has(sha256) == ben.who_has(last) == {ann.kubo.id}


async def test_what_came_from_a_peer_is_shared_with_one_copy(circle: Circle) -> None:
    ann, ben, cat = [await circle.node(name) for name in ("ann", "ben", "cat")]
    sha256 = await ann.stores(OTHER)
    assert await ben.gets(sha256) == OTHER
    assert ben.kubo.copied() == len(OTHER)
    await ben.stores(OTHER, source=OriginKind.PEER)
    await until(lambda: cat.who_has(sha256) == {ann.kubo.id, ben.kubo.id})
    assert ben.kubo.copied() == 0


async def test_a_missed_delta_is_made_up_for_by_the_next_inventory(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    ann.clock.faster = 1_000.0  # until its next inventory
    first = await ann.stores(BODY)
    await ben.gets(first)
    say = circle.circle.server.say
    lost: list[str] = []

    def loses(kind: str, sender: str, content: dict[str, object], key: str | None = None, name: str = "") -> None:
        if kind == DELTA and not lost:
            lost.append(name)
            return
        say(kind, sender, content, key, name)

    circle.circle.server.say = loses  # type: ignore[method-assign]
    second = await ann.stores(OTHER)
    await until(lambda: lost)
    third = await ann.stores(b"third")
    assert await ben.gets(third) == b"third"
    assert await ben.gets(second) == OTHER


async def test_a_node_that_starts_again_knows_what_it_knew_and_what_changed_meanwhile(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), circle.circle.node("ben")
    first = await ann.stores(BODY)
    async with ben.running():
        await ben.gets(first)
    second = await ann.stores(OTHER)
    async with ben.running():
        assert ben.who_has(first) == {ann.kubo.id}
        assert await ben.gets(second) == OTHER


async def test_known_members_are_asked_though_the_homeserver_is_away(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), circle.circle.node("ben")
    first = await ann.stores(BODY)
    async with ben.running():
        await ben.gets(first)
    circle.circle.server.away = True
    async with ben.running():
        assert await ben.gets(first) == BODY


async def test_a_sharer_that_starts_again_tells_what_changed_while_it_was_away(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), await circle.node("ben")
    async with ann.running():
        first, second = await ann.stores(BODY), await ann.stores(OTHER)
        await ben.gets(first)
        await ben.gets(second)
    third = await ann.stores(b"third")
    await ann.lets_go(BODY)
    async with ann.running():
        assert await ben.gets(third) == b"third"
        await until(lambda: not ben.who_has(first))
        assert ben.who_has(second) == {ann.kubo.id}


async def test_a_sharer_that_starts_again_and_has_not_changed_is_not_fetched_anew(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), await circle.node("ben")
    sha256 = await ann.stores(BODY)
    async with ann.running():
        await ben.gets(sha256)
        await until(lambda: (told := ann.stock.told()) and not told.behind)
    before = ben.table.place(ann.user)
    async with ann.running():
        await ben.gets(await ann.stores(OTHER))
        after = ben.table.place(ann.user)
    assert before is not None
    assert after is not None
    assert (after.epoch, after.n) == (before.epoch, before.n + 1)


async def test_a_sharer_that_lost_what_it_had_told_is_believed_again(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), await circle.node("ben")
    async with ann.running():
        await ben.gets(await ann.stores(BODY))
        await ben.gets(await ann.stores(OTHER))
    ann.loses("stock")
    ann.clock.ahead = -86_400.0
    async with ann.running():
        third = await ann.stores(b"third")
        assert await ben.gets(third) == b"third"


async def test_who_is_silent_is_not_asked_until_it_is_heard_again(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), circle.circle.node("ben")
    sha256 = await ann.stores(BODY)
    async with ann.running(), ben.running():
        await ben.gets(sha256)
    ann.clock.ahead = ben.clock.ahead = 3600.0
    async with ben.running():
        await until(lambda: ben.membership.silent() == {ann.user})
        assert ben.who_has(sha256) == set()
        async with ann.running():
            assert await ben.gets(sha256) == BODY


async def test_who_was_silent_for_a_week_has_left(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), circle.circle.node("ben")
    sha256 = await ann.stores(BODY)
    async with ann.running(), ben.running():
        await ben.gets(sha256)
    ben.clock.ahead = 8 * 86_400.0
    async with ben.running():
        await until(lambda: PeerLeft(ann.kubo.id, "team", ann.user, LeaveReason.SILENT) in ben.register.events)
        await until(lambda: ben.table.users() == [])


async def test_who_calls_something_else_an_inventory_is_shut_out(circle: Circle, tmp_path: Path) -> None:
    ben, liar = await circle.node("ben"), circle.circle.swarm.joined("liar")
    kept = Member(liar.id, liar.addresses, tmp_path, liar, liar)
    lot = await kept.gives(b"this is no list\n")
    advert = Advert(
        liar.id, liar.addresses, 7, 0, lot.cid, 1, 0, 1, int(ben.clock.now() * 1000), bytes(32), lot.size
    )
    seal = SealKey(circle.circle.key, ROOM)
    circle.circle.server.happen(ADVERT, mxid("ann"), seal_advert(advert, seal, mxid("ann")), mxid("ann"))
    (blocked,) = await until(lambda: [each for each in ben.register.events if isinstance(each, PeerBlocked)])
    assert (blocked.peer, blocked.reason) == (liar.id, BlockReason.MALFORMED)
    await until(lambda: liar.id not in ben.kubo.connected)


async def test_what_was_sealed_by_a_stranger_is_not_heard_and_nobody_is_blamed(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    wrong = SealKey(SwarmKey(b"\x08" * 32), ROOM)
    advert = Advert(ben.kubo.id, (), 7, 0, None, 0, 0, 0, 1, bytes(32))
    circle.circle.server.happen(ADVERT, ann.user, seal_advert(advert, wrong, ann.user), ann.user)
    circle.circle.server.happen(DELTA, ann.user, {"v": 1, "generation": 1, "seal": "0" * 64})
    assert await ben.gets(await ann.stores(BODY)) == BODY
    assert {type(each) for each in ben.register.events} == {PeerJoined, PeerAdvertised}


async def test_a_new_rule_takes_away_what_it_does_not_share(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    sha256 = await ann.stores(BODY, "packages/six.whl")
    other = await ann.stores(OTHER, "packages/flask.whl")
    await ben.gets(sha256)
    rule = Rule(excepts=(Clause(name="*flask*"),))
    content = seal_rule(rule, SealKey(circle.circle.key, ROOM), ann.user)
    await circle.circle.server.room(ann.user).set_rule(content)
    await until(lambda: not ben.who_has(other))
    assert await ben.gets(sha256) == BODY
    assert ben.network.rule == ann.network.rule == rule


async def test_pages_are_shared_if_the_rule_says_so_and_newest_first(tmp_path: Path) -> None:
    circle = LittleNetwork(tmp_path, Rule(pages=True))
    async with circle.node("ann").running() as ann, circle.node("ben").running() as ben:
        await ann.stores(b"<html>", "simple/six/", page=True)
        (entry,) = ann.catalog.entries()
        await until(lambda: ben.membership.pages(entry.ref.id))
        ((peer, page),) = ben.membership.pages(entry.ref.id)
        assert (peer, page.ref, page.validators) == (ann.kubo.id, entry.ref, entry.validators)
        assert await ben.kubo.open(page.file.cid, page.file.size)
        assert ben.who_has(page.file.sha256) == set()


async def test_after_a_kick_those_who_stay_go_on_with_the_new_key(circle: Circle) -> None:
    ann, ben, cat = [await circle.node(name) for name in ("ann", "ben", "cat")]
    first = await ann.stores(BODY)
    await ben.gets(first)
    await cat.gets(first)
    await ben.gets(await cat.stores(b"by cat"))
    net = circle.circle
    boxes = {mxid(name): box.public for name, box in net.boxes.items()}
    fresh = KeyInBox(ROOM, 2, SwarmKey(b"\x09" * 32))
    room = net.server.room(ann.user)
    await remove_member(room, cat.user, "enough", fresh=fresh, ours=net.boxes["ann"], boxes=boxes)
    await until(lambda: PeerLeft(cat.kubo.id, "team", cat.user, LeaveReason.LEFT) in ben.register.events)
    second = await ann.stores(OTHER)
    assert await ben.gets(second) == OTHER
    assert (ann.network.generation, ben.network.generation, cat.network.generation) == (2, 2, 1)
    await until(lambda: ben.table.users() == [ann.user])
    assert cat.who_has(second) == set()


async def test_what_was_not_yet_told_when_it_stopped_is_told_when_it_starts_again(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), await circle.node("ben")
    async with ann.running():
        await ben.gets(await ann.stores(BODY))
        circle.circle.server.away = True
        second = await ann.stores(OTHER)
        await until(lambda: ann.stock.sums().files == 2)
    circle.circle.server.away = False
    async with ann.running():
        assert await ben.gets(second) == OTHER


async def test_many_changes_at_once_are_told_by_an_inventory(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "MOST_CHANGES", 20)
    ann, ben = await circle.node("ann"), await circle.node("ben")
    await ben.gets(await ann.stores(BODY))
    sent = circle.circle.server.sent
    circle.circle.server.away = True
    stored = [await ann.stores(str(number).encode()) for number in range(30)]
    await until(lambda: ann.stock.sums().files == 31)
    circle.circle.server.away = False
    assert await ben.gets(stored[-1]) == b"29"
    assert await ben.gets(stored[0]) == b"0"
    assert circle.circle.server.sent < sent + 10


async def test_what_kubo_missed_or_lost_is_given_once_it_is_back(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    first = await ann.stores(BODY)
    await ben.gets(first)
    ann.kubo.down = True
    second = await ann.stores(OTHER)
    ann.kubo_starts_anew()
    assert await ben.gets(second) == OTHER
    assert await ben.gets(first) == BODY


async def test_an_inventory_is_asked_for_until_its_member_can_be_reached(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), circle.circle.node("ben")
    sha256 = await ann.stores(BODY)
    await until(lambda: (ADVERT, ann.user) in circle.circle.server.standing())
    await until(lambda: ann.stock.told() and ann.broadcasting)
    ann.kubo.down = True
    async with ben.running():
        await until(lambda: ben.register.peers.present("team"))
        assert ben.who_has(sha256) == set()
        ann.kubo_starts_anew()
        assert await ben.gets(sha256) == BODY


async def test_what_is_quarantined_is_given_to_nobody(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    sha256 = await ann.stores(BODY)
    await ben.gets(sha256)
    (lot,) = ann.held.values()
    await ann.tells(BlobQuarantined(lot.cid, "it has other bytes"))
    await until(lambda: not ben.who_has(sha256))
    await until(lambda: not ann.shelf.holds(lot.cid))


async def test_what_the_store_lost_is_not_promised(circle: Circle) -> None:
    ann, ben = circle.circle.node("ann"), await circle.node("ben")
    lost, kept = await ann.stores(BODY), await ann.stores(OTHER)
    next(lot for lot in ann.held.values() if lot.size == len(BODY)).path.write_bytes(b"changed")
    async with ann.running():
        assert await ben.gets(kept) == OTHER
        assert ben.who_has(lost) == set()


async def test_changes_told_while_an_inventory_is_fetched_are_not_lost(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = await circle.node("ann"), circle.circle.node("ben")
    first = await ann.stores(BODY)
    await until(lambda: (ADVERT, ann.user) in circle.circle.server.standing())
    async with ben.running():
        reach, reachable = ben.contacts.reach, asyncio.Event()

        async def later(peer: PeerId) -> None:
            await reachable.wait()
            await reach(peer)

        monkeypatch.setattr(ben.contacts, "reach", later)
        await until(lambda: ben.register.peers.present("team"))
        sent = circle.circle.server.sent
        second = await ann.stores(OTHER)
        await until(lambda: circle.circle.server.sent > sent)
        reachable.set()
        assert await ben.gets(second) == OTHER
        assert await ben.gets(first) == BODY


async def test_who_seals_what_is_no_delta_is_shut_out_and_asked_for_nothing(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    sha256 = await ann.stores(BODY)
    await ben.gets(sha256)
    content = SealKey(circle.circle.key, ROOM).sealed(DELTA, ann.user, {"epoch": "today", "n": 1})
    circle.circle.server.happen(DELTA, ann.user, content)
    (blocked,) = await until(lambda: [each for each in ben.register.events if isinstance(each, PeerBlocked)])
    assert (blocked.peer, blocked.reason) == (ann.kubo.id, BlockReason.MALFORMED)
    assert ben.who_has(sha256) == set()


async def test_nobody_can_take_the_peer_of_another(circle: Circle) -> None:
    ann, ben = await circle.node("ann"), await circle.node("ben")
    sha256 = await ann.stores(BODY)
    await ben.gets(sha256)
    cat = circle.circle.node("cat")
    advert = Advert(ann.kubo.id, (), 7, 0, None, 0, 0, 0, 1, bytes(32))
    seal = SealKey(circle.circle.key, ROOM)
    circle.circle.server.happen(ADVERT, cat.user, seal_advert(advert, seal, cat.user), cat.user)
    assert await ben.gets(await ann.stores(OTHER)) == OTHER
    assert [peer.user for peer in ben.register.peers.present("team")] == [ann.user]


async def test_telling_begins_once_nobody_is_at_the_stock(circle: Circle) -> None:
    ann = await circle.node("ann")
    await until(lambda: ann.stock.told() is not None)
    async with ann.stock.turn:
        ann.stock.fall_behind()
        told = ann.stock.told()
        again = asyncio.ensure_future(ann.telling.run())
        for _ in range(10):
            await asyncio.sleep(0)
        assert told is not None and ann.stock.told() == told
    await until(lambda: (ann.stock.told() or told).n > told.n)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
