"""Whether a node is reached is seen by the others, and told to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from dpm_cli.ports import choose_free
from dpm_core.adverts import Missed, Reach
from dpm_core.multiaddrs import Address, PeerId
from dpm_peer import reaching
from dpm_peer.reaching import AGAIN_SECONDS, MISSED_SECONDS, Reaching, tried
from dpm_peer.roster import Attendee
from dpm_testkit.clock import LeapingClock
from dpm_testkit.little_network import LittleNetwork, LittleNode, mxid
from dpm_testkit.patience import eventually, until

ANN = PeerId.of_ed25519(bytes(32))
NEAR, FAR = Address("/ip4/192.0.2.1/tcp/1"), Address("/ip4/192.0.2.2/tcp/1")

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[Address]:
    """Somebody who does this with a connection, until the end."""
    over = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(writer)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield Address(f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}")
    finally:
        over.set()
        server.close()


async def test_a_peer_of_a_private_swarm_says_24_bytes_first() -> None:
    async def says(writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(24))

    async with listening(says) as address:
        assert await tried(address) is None


async def test_what_is_no_such_peer_is_not_reached_and_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "CONNECT_SECONDS", 0.3)

    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(23))

    async def rude(writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(silent) as address:
        assert await tried(address) == "connects, but says nothing"
    async with listening(rude) as address:
        assert await tried(address) == "hangs up"
    assert await tried(Address(f"/ip4/127.0.0.1/tcp/{choose_free()}")) == "refused"
    assert await tried(Address("/dns/nobody.invalid/tcp/1")) == "no such name"


class Walls:
    """What ``stands`` in the way to each address, and who was ``asked`` so far."""

    def __init__(self) -> None:
        self.stands: dict[Address, str] = {}
        self.asked: list[Address] = []
        self.members: dict[PeerId, tuple[Address, ...]] = {}
        self.news = 0
        self.clock = LeapingClock()
        self.reaching = Reaching(lambda: self.members, self.changed, self.clock, self.dial)

    async def dial(self, address: Address) -> str | None:
        self.asked.append(address)
        return self.stands.get(address)

    def changed(self) -> None:
        self.news += 1


async def test_one_address_that_is_reached_is_enough() -> None:
    walls = Walls()
    assert walls.reaching.found() is None
    walls.members, walls.stands = {ANN: (NEAR, FAR)}, {NEAR: "timed out"}
    await walls.reaching._look()
    assert walls.reaching.found() == Reach((ANN,))
    walls.members = {ANN: (NEAR,)}
    await walls.reaching._look()
    assert walls.reaching.found() == Reach((), (Missed(ANN, NEAR, "timed out"),))
    assert walls.news == 2
    walls.members = {}
    await walls.reaching._look()
    assert walls.reaching.found() is None


async def test_who_is_reached_is_tried_again_later_than_who_is_not() -> None:
    walls = Walls()
    walls.members, walls.stands = {ANN: (NEAR,)}, {NEAR: "timed out"}
    for seconds, asked in ((0.0, 1), (MISSED_SECONDS / 2, 1), (MISSED_SECONDS, 2)):
        await walls.clock.sleep(seconds)
        walls.stands = {} if asked == 2 else walls.stands
        await walls.reaching._look()
        assert len(walls.asked) == asked
    for seconds, asked in ((MISSED_SECONDS, 2), (AGAIN_SECONDS, 3)):
        await walls.clock.sleep(seconds)
        await walls.reaching._look()
        assert len(walls.asked) == asked
    assert walls.news == 2


async def test_a_node_hears_of_the_others_who_reaches_it(tmp_path: Path) -> None:
    circle = LittleNetwork(tmp_path)
    async with AsyncExitStack() as running:
        ann, ben, _ = [
            await running.enter_async_context(circle.node(name).running()) for name in ("ann", "ben", "cat")
        ]

        async def said(node: LittleNode) -> dict[str, Attendee] | None:
            members = (await node.roster.described()).members
            return (
                {each.user: each for each in members}
                if all(each.reaches_us is not None for each in members)
                else None
            )

        assert {user: each.reaches_us for user, each in (await eventually(lambda: said(ann))).items()} == {
            mxid("ben"): True,
            mxid("cat"): True,
        }
        circle.walls[ben.kubo.addresses[0]] = "timed out"
        for node in (ann, ben):
            node.clock.ahead += AGAIN_SECONDS
        await until(lambda: ben.membership.reaches[mxid("ann")][0].missed)
        of_ann = (await eventually(lambda: said(ben)))[mxid("ann")]
        assert (of_ann.reaches_us, of_ann.missed) == (False, ((ben.kubo.addresses[0], "timed out"),))
