"""What is recorded of peers counts at once, and the log is told of it as soon as it can be."""

import asyncio
from collections.abc import Iterator

import pytest

from dpm_core.artifacts import Topic
from dpm_core.events import BlockReason, LeaveReason, PeerBlocked, PeerJoined, PeerLeft
from dpm_core.multiaddrs import PeerId
from dpm_peer.register import Register
from dpm_testkit.clock import LeapingClock
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.patience import soon, until

ANNA = PeerId.of_ed25519(bytes(32))
BEN = PeerId.of_ed25519(bytes(31) + b"\1")
JOINED = PeerJoined(ANNA, "team", "@anna:example.org")


class Bench:
    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.register = Register(self.log, LeapingClock(0.01))
        self.keeping: list[asyncio.Task[None]] = []

    def keep(self) -> None:
        self.keeping.append(asyncio.ensure_future(self.register.kept()))

    def users(self) -> list[str]:
        return [each.user for each in self.register.peers.present("team")]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for task in bench.keeping:
        task.cancel()


async def test_what_the_log_says_is_known_after_a_start(bench: Bench) -> None:
    await bench.log.append(Topic("peer", ANNA), JOINED)
    until_when = bench.log.now() + 100
    harm = PeerBlocked(ANNA, "team", "@anna:example.org", BlockReason.FLOOD, "too much", 1, until_when)
    await bench.log.append(Topic("peer", ANNA), harm)
    bench.keep()
    await soon(asyncio.ensure_future(bench.register.loaded.wait()))
    assert bench.users() == ["@anna:example.org"]
    assert bench.register.peers.blame("team", "@anna:example.org").until == until_when


async def test_what_is_recorded_counts_at_once_and_is_told(bench: Bench) -> None:
    bench.register.record([JOINED])
    assert bench.users() == ["@anna:example.org"]
    bench.keep()
    await until(lambda: bench.log.events == [JOINED])
    left = PeerLeft(ANNA, "team", "@anna:example.org", LeaveReason.KICKED)
    bench.register.record([left])
    await until(lambda: bench.log.events == [JOINED, left])
    assert bench.users() == []


async def test_while_the_bus_is_away_nothing_is_forgotten_and_the_order_stays(bench: Bench) -> None:
    await bench.log.append(Topic("peer", BEN), PeerJoined(BEN, "team", "@ben:example.org"))
    bench.log.down = True
    bench.keep()
    bench.register.record([JOINED])
    left = PeerLeft(ANNA, "team", "@anna:example.org", LeaveReason.LEFT)
    bench.register.record([left])
    assert bench.users() == []
    bench.log.down = False
    await until(lambda: bench.log.events[1:] == [JOINED, left])
    assert bench.users() == ["@ben:example.org"]
