"""Who lies of a file is shut out, once it is proven, and nobody else is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dpm_core.cids import CHUNK, Cid
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import BlockReason, PeerJoined
from dpm_core.multiaddrs import PeerId
from dpm_peer.blame import TRUTH_SECONDS, UNKEPT, Blame, Doubts, Truth
from dpm_peer.register import Register
from dpm_peer.table import Holder
from dpm_testkit.clock import ManualClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.patience import until
from dpm_testkit.peer_things import file_of

ANNA = PeerId.of_ed25519(bytes(32))
BEN = PeerId.of_ed25519(bytes(31) + b"\1")
FILE = file_of(1, 3 * CHUNK)
LIE = replace(FILE, root=Cid.of_node(bytes(32)))


class Bench:
    """Anna and Ben are peers; ``truths`` is what the store has."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.register = Register(MemoryEventLog(), self.clock)
        self.register.record([PeerJoined(ANNA, "team", "@anna:x.org"), PeerJoined(BEN, "team", "@ben:x.org")])
        self.blame = Blame(self.register, self.clock)
        self.truths: dict[Digest, Truth] = {}
        self.holders = [Holder(ANNA, FILE), Holder(BEN, LIE)]
        self.down = False
        self.doubts = Doubts(self.truth, lambda sha256: self.holders, self.blame, self.clock)

    async def truth(self, sha256: Digest) -> Truth | None:
        if self.down:
            raise Unavailable("the disk says nothing")
        return self.truths.get(sha256)

    def blocked(self, user: str) -> bool:
        return self.register.peers.blame("team", f"@{user}:x.org").blocked(self.clock.now())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    settling = asyncio.ensure_future(bench.doubts.settled())
    yield bench
    settling.cancel()


async def test_who_advertises_another_cid_than_the_bytes_have_is_shut_out_alone(bench: Bench) -> None:
    bench.truths[FILE.sha256] = Truth(FILE.cid, FILE.size)
    bench.doubts.raised(FILE.sha256)
    await until(lambda: bench.blocked("ben"))
    assert not bench.blocked("anna")


async def test_who_advertises_another_size_is_shut_out(bench: Bench) -> None:
    bench.holders = [Holder(ANNA, FILE), Holder(BEN, replace(FILE, size=FILE.size + 1))]
    bench.truths[FILE.sha256] = Truth(FILE.cid, FILE.size)
    bench.doubts.raised(FILE.sha256)
    await until(lambda: bench.blocked("ben"))
    assert not bench.blocked("anna")


async def test_it_is_judged_when_the_right_bytes_are_here(bench: Bench) -> None:
    bench.down = True
    bench.doubts.raised(FILE.sha256)
    bench.holders = []  # the liar takes back what it said
    await bench.clock.sleepers()
    bench.down = False
    await bench.clock.advance(2.0)
    assert not bench.blocked("ben")
    bench.truths[FILE.sha256] = Truth(FILE.cid, FILE.size)
    await bench.clock.advance(2.0)
    await until(lambda: bench.blocked("ben"))


async def test_without_the_right_bytes_nobody_is_judged(bench: Bench) -> None:
    bench.doubts.raised(FILE.sha256)
    await bench.clock.sleepers()
    await bench.clock.advance(TRUTH_SECONDS + 2)
    bench.truths[FILE.sha256] = Truth(FILE.cid, FILE.size)
    await bench.clock.advance(TRUTH_SECONDS)
    assert not bench.blocked("ben")


def test_one_file_that_is_not_given_shuts_nobody_out() -> None:
    bench = Bench()
    for _ in range(UNKEPT + 1):
        bench.blame.unkept(ANNA, FILE.sha256)
    assert not bench.blocked("anna")


def test_several_do_unless_one_came_in_between() -> None:
    bench = Bench()
    for number in range(UNKEPT - 1):
        bench.blame.unkept(ANNA, file_of(number).sha256)
        bench.blame.unkept(BEN, file_of(number).sha256)
    bench.blame.gave(ANNA)
    for peer in (ANNA, BEN):
        bench.blame.unkept(peer, file_of(UNKEPT).sha256)
    assert not bench.blocked("anna")
    assert bench.blocked("ben")


async def test_who_is_shut_out_is_let_in_again_and_next_time_for_longer() -> None:
    bench = Bench()
    blame = bench.register.peers.blame
    bench.blame.harmed(ANNA, BlockReason.FLOOD, "it says too much")
    bench.blame.harmed(ANNA, BlockReason.FLOOD, "it says too much")
    first = blame("team", "@anna:x.org")
    assert first.strikes == 1
    await bench.clock.advance(first.until - bench.clock.now() + 1)
    assert not bench.blocked("anna")
    bench.blame.harmed(ANNA, BlockReason.MALFORMED, "it says nonsense")
    assert blame("team", "@anna:x.org").until - bench.clock.now() > first.until - 1_700_000_000


def test_of_a_stranger_nothing_is_recorded() -> None:
    bench = Bench()
    bench.blame.harmed(PeerId.of_ed25519(b"\7" * 32), BlockReason.FLOOD, "who is it?")
    assert not bench.blocked("anna") and not bench.blocked("ben")
