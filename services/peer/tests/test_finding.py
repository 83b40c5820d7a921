"""A file that is advertised is found, whoever lies, is away or is slow; and nothing of it stays lying about."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dpm_core.cids import CHUNK, Cid
from dpm_core.digests import Digest
from dpm_core.events import BlockReason, PeerBlocked, PeerJoined
from dpm_core.multiaddrs import PeerId
from dpm_core.origins import Stream
from dpm_peer.blame import UNKEPT, Blame
from dpm_peer.finding import LEFT_SECONDS, LOOK_SECONDS, SETTLED_SECONDS, UNANSWERED, Finder, Found
from dpm_peer.register import Register
from dpm_testkit.clock import ManualClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_sharers import MemorySharers, shared
from dpm_testkit.memory_swarm import MemoryKubo, MemoryNetwork
from dpm_testkit.patience import soon, until, wait_on

SMALL = b"a small file"
LARGE = os.urandom(2 * CHUNK + 7)


class Bench:
    """A node in one network."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.team = MemorySharers("team", MemoryNetwork(), folder, self.clock)
        self.register = Register(MemoryEventLog(), self.clock)
        self.finder = Finder(lambda: [self.team], Blame(self.register, self.clock), self.clock)

    async def find(self, body: bytes, offset: int = 0) -> Found | None:
        file = shared(body)
        return await soon(asyncio.ensure_future(self.finder.open(file.sha256, file.size, offset)))

    async def gets(self, body: bytes, offset: int = 0) -> tuple[str, bytes]:
        """Who gave it, and what came."""
        found = await self.find(body, offset)
        assert found is not None
        try:
            return found.source, b"".join([part async for part in found.body])
        finally:
            await found.body.close()

    def joins(self, member: MemoryKubo) -> None:
        """The log knows of a member."""
        self.register.record([PeerJoined(member.id, "team", f"@{member.id}:example.org")])

    def blocked(self) -> list[PeerBlocked]:
        return [each.event for each in self.register._untold if isinstance(each.event, PeerBlocked)]

    def left(self) -> set[bytes]:
        """The blocks that came of others and are still there."""
        return set(self.team.kubo.copies)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.finder.close()
    bench.team.close()


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_what_a_peer_advertises_comes_from_it(bench: Bench, body: bytes) -> None:
    anna = await bench.team.holder("anna", body)
    assert await bench.gets(body) == (anna.id, body)


async def test_it_goes_on_from_an_offset(bench: Bench) -> None:
    await bench.team.holder("anna", LARGE)
    assert (await bench.gets(LARGE, 2 * CHUNK))[1] == LARGE[2 * CHUNK :]


async def test_what_nobody_advertises_nobody_is_asked_for(bench: Bench) -> None:
    await bench.team.holder("anna", SMALL)
    bench.team.kubo.down = True
    assert await bench.find(LARGE) is None


async def test_of_several_holders_nobody_knows_who_gave_it(bench: Bench) -> None:
    await bench.team.holder("anna", LARGE)
    await bench.team.holder("ben", LARGE)
    assert await bench.gets(LARGE) == ("team", LARGE)


async def test_what_has_another_size_is_another_file(bench: Bench) -> None:
    anna = await bench.team.holder("anna")
    bench.team.says(anna, replace(shared(SMALL), size=5))
    assert await bench.find(SMALL) is None


async def test_an_offset_beyond_the_end_is_nobodys(bench: Bench) -> None:
    await bench.team.holder("anna", SMALL)
    assert await bench.finder.open(shared(SMALL).sha256, None, len(SMALL)) is None


async def test_a_peer_that_is_away_is_not_dialled_for_each_file(bench: Bench) -> None:
    anna = await bench.team.holder("anna", SMALL)
    anna.down = True
    assert await bench.find(SMALL) is None
    anna.down = False
    assert await bench.find(SMALL) is None
    await bench.clock.advance(5.0)
    assert await bench.gets(SMALL) == (anna.id, SMALL)


async def test_where_one_does_not_give_it_another_does(bench: Bench) -> None:
    liar = bench.team.member("liar")
    bench.team.says(liar, replace(shared(LARGE), root=Cid.of_node(bytes(32))))
    anna = await bench.team.holder("anna", LARGE)
    assert await bench.gets(LARGE) == (anna.id, LARGE)


async def test_two_networks_are_one_to_who_looks(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "friends"
    folder.mkdir()
    friends = MemorySharers("friends", MemoryNetwork(), folder, bench.clock)
    anna, ben = await bench.team.holder("anna", SMALL), await friends.holder("ben", LARGE)
    finder = Finder(lambda: [bench.team, friends], Blame(bench.register, bench.clock), bench.clock)
    for body, giver in ((SMALL, anna), (LARGE, ben)):
        found = await finder.open(shared(body).sha256)
        assert found is not None and found.source == giver.id
        await found.body.close()
    await finder.close()
    friends.close()


async def test_who_gives_nothing_of_what_it_advertises_is_shut_out(bench: Bench) -> None:
    liar = bench.team.member("liar")
    bench.joins(liar)
    for number in range(UNKEPT):
        body = b"%d" % number
        bench.team.says(liar, shared(body))
        assert await bench.find(body) is None
    await bench.clock.sleepers(UNKEPT)
    assert bench.blocked() == []
    await bench.clock.advance(SETTLED_SECONDS + 1)
    await until(bench.blocked)
    assert [(each.peer, each.reason) for each in bench.blocked()] == [(liar.id, BlockReason.NOT_GIVEN)]


async def test_who_says_meanwhile_that_it_has_it_no_more_is_not_to_blame(bench: Bench) -> None:
    anna = bench.team.member("anna")
    bench.joins(anna)
    for number in range(UNKEPT):
        bench.team.says(anna, shared(b"%d" % number))
        await bench.find(b"%d" % number)
    await bench.clock.sleepers(UNKEPT)
    bench.team.listed.clear()
    await bench.clock.advance(SETTLED_SECONDS + 1)
    assert bench.blocked() == []


async def test_who_was_not_connected_is_not_to_blame(bench: Bench) -> None:
    anna = bench.team.member("anna")
    bench.joins(anna)
    for number in range(UNKEPT):
        bench.team.says(anna, shared(b"%d" % number))
        await bench.find(b"%d" % number)
    await bench.clock.sleepers(UNKEPT)
    await bench.team.kubo.disconnect(anna.id)
    await bench.clock.advance(SETTLED_SECONDS + 1)
    assert bench.blocked() == []


class Slow:
    """Port Swarm over another one: it gives nothing before ``go``. ``asked`` are the CIDs."""

    def __init__(self, kubo: MemoryKubo) -> None:
        self.asked: list[Cid] = []
        self.go = asyncio.Event()
        self._kubo = kubo
        self.peers, self.connect, self.disconnect = kubo.peers, kubo.connect, kubo.disconnect

    async def open(self, cid: Cid, size: int, offset: int = 0, holders: Sequence[PeerId] = ()) -> Stream:
        self.asked.append(cid)
        await self.go.wait()
        return await self._kubo.open(cid, size, offset)


async def leaves(bench: Bench, slow: Slow, body: bytes) -> None:
    """Somebody asks for it, and hangs up before it comes."""
    already = len(slow.asked)
    asking = asyncio.ensure_future(bench.find(body))
    await until(lambda: len(slow.asked) > already)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_who_is_slow_is_not_to_blame(bench: Bench) -> None:
    bodies = [b"%d" % number for number in range(UNANSWERED)]
    anna = await bench.team.holder("anna", *bodies)
    bench.joins(anna)
    slow = Slow(bench.team.kubo)
    bench.team.swarm = slow  # type: ignore[assignment]
    for body in bodies:
        await leaves(bench, slow, body)
    slow.go.set()
    await bench.clock.advance(SETTLED_SECONDS + 1)
    assert bench.blocked() == []


async def upstream_is_quicker(bench: Bench, member: MemoryKubo) -> None:
    """Nobody waits for what a member is asked for, since upstream gave it: it is this node's own then."""
    slow = Slow(bench.team.kubo)
    bench.team.swarm = slow  # type: ignore[assignment]
    bodies = [b"wanted %d" % number for number in range(UNKEPT)]
    for body in bodies:
        bench.team.says(member, shared(body))
        await leaves(bench, slow, body)
        lot = bench.team.lot(body)
        bench.team.stored[lot.cid] = lot
        assert await bench.team.shelf.give(lot.cid)
    slow.go.set()
    await bench.clock.sleepers(UNKEPT)
    await bench.clock.advance(LOOK_SECONDS)


async def test_who_gives_nothing_is_shut_out_though_upstream_is_quicker(bench: Bench) -> None:
    liar = bench.team.member("liar")
    bench.joins(liar)
    for number in range(UNKEPT):
        bench.team.says(liar, shared(b"not wanted %d" % number))
    await upstream_is_quicker(bench, liar)
    await bench.clock.sleepers(UNKEPT)
    await bench.clock.advance(SETTLED_SECONDS + 1)
    await until(bench.blocked)
    assert [(each.peer, each.reason) for each in bench.blocked()] == [(liar.id, BlockReason.NOT_GIVEN)]


async def test_who_gives_other_files_is_not_to_blame_where_upstream_is_quicker(bench: Bench) -> None:
    anna = await bench.team.holder("anna", *(b"not wanted %d" % number for number in range(UNKEPT)))
    bench.joins(anna)
    await upstream_is_quicker(bench, anna)
    await until(lambda: not any(bench.finder._unanswered.values()))
    await bench.clock.advance(SETTLED_SECONDS + 1)
    assert bench.blocked() == []


async def test_who_owes_first_bytes_is_not_asked_for_more(bench: Bench) -> None:
    bodies = [b"%d" % number for number in range(UNANSWERED + 1)]
    await bench.team.holder("anna", *bodies)
    slow = Slow(bench.team.kubo)
    bench.team.swarm = slow  # type: ignore[assignment]
    for body in bodies[:UNANSWERED]:
        await leaves(bench, slow, body)
    assert await bench.find(bodies[-1]) is None
    slow.go.set()
    await bench.clock.sleepers(UNANSWERED)
    await bench.clock.advance(LOOK_SECONDS)
    await until(lambda: not any(bench.finder._unanswered.values()))
    assert (await bench.gets(bodies[-1]))[1] == bodies[-1]


async def test_what_nobody_stored_is_removed_after_a_while(bench: Bench) -> None:
    await bench.team.holder("anna", LARGE)
    keeping = asyncio.ensure_future(bench.finder.kept())
    await bench.gets(LARGE)
    assert bench.left()
    await bench.clock.advance(LEFT_SECONDS + 2)
    await until(lambda: not bench.left())
    keeping.cancel()


async def test_what_is_still_read_stays(bench: Bench) -> None:
    await bench.team.holder("anna", LARGE)
    keeping = asyncio.ensure_future(bench.finder.kept())
    still = await bench.find(LARGE)
    assert still is not None
    await bench.gets(LARGE)
    await bench.clock.advance(LEFT_SECONDS + 2)
    await wait_on(keeping)
    assert bench.left()
    await still.body.close()
    await bench.clock.advance(LEFT_SECONDS + 2)
    await until(lambda: not bench.left())
    keeping.cancel()


async def test_it_is_known_who_was_asked(bench: Bench) -> None:
    anna = await bench.team.holder("anna", LARGE)
    await bench.gets(LARGE)
    bench.team.listed.clear()
    assert {each.peer for each in bench.finder.asked(shared(LARGE).sha256)} == {anna.id}
    assert bench.finder.asked(Digest(f"sha256:{'0' * 64}")) == frozenset()
