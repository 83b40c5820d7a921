"""Files by streams of libp2p between two real Kubos: what comes is right, what cannot comes by BitSwap."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from dpm_core.cids import CHUNK, Cid
from dpm_core.errors import Unavailable
from dpm_core.origins import Stream
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_swarm import KuboSwarm
from dpm_peer.stream_giving import PATH, Giving
from dpm_peer.stream_taking import Taking
from dpm_peer.swarm import Lot
from dpm_runtime.service import SystemClock
from dpm_testkit.kubo import SOON, KuboNode, kubo_node, new_key
from dpm_testkit.members import drained
from dpm_testkit.patience import eventually
from dpm_testkit.swarm_conformance import LARGE, SMALL, unheard

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

KEY = new_key()


@dataclass
class Pair:
    """``anna`` gives what is in ``given``, ``ben`` takes."""

    anna: KuboNode
    ben: KuboNode
    given: dict[Cid, Lot] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def has(self, body: bytes) -> Lot:
        lot = await self.anna.member.gives(body)
        self.given[lot.cid] = lot
        return lot

    def taking(self) -> Taking:
        kubo = self.ben.kubo
        socket = self.ben.root / "run" / f"streams{next(self.numbers)}.sock"
        return Taking(kubo.rpc, socket, lambda: KEY, lambda: kubo.starts)

    async def taken(self, lot: Lot, offset: int = 0) -> bytes:
        """By a stream and by nothing else. Raises Unavailable."""
        return await drained(await self.opened(lot, offset))

    async def opened(self, lot: Lot, offset: int = 0) -> Stream:
        anna = self.anna.member.id
        return await self.taking().open(anna, lot.cid, lot.size, offset, first=SOON.first_byte, stall=SOON.stall)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with (
        kubo_node(tmp_path_factory.mktemp("a"), KEY) as anna,
        kubo_node(tmp_path_factory.mktemp("b"), KEY) as ben,
    ):
        pair = Pair(anna, ben)
        giving = Giving(pair.given.__contains__, pair.given.get, lambda: KEY)
        work = giving.run(anna.kubo.rpc, lambda starts: anna.kubo.up(after=starts), SystemClock())
        task = asyncio.create_task(work)
        await ben.member.meets(anna.member)
        lot = await pair.has(unheard(SMALL))
        await eventually(lambda: comes(pair, lot))
        yield pair
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def comes(pair: Pair, lot: Lot) -> bool:
    with contextlib.suppress(Unavailable):
        return bool(await pair.taken(lot))
    return False


@pytest.mark.parametrize("size", [1, SMALL, CHUNK, CHUNK + 1, LARGE])
async def test_what_one_shares_another_takes_and_nothing_of_it_stays(pair: Pair, size: int) -> None:
    body = unheard(size)
    lot = await pair.has(body)
    assert await pair.taken(lot) == body
    assert not await pair.ben.member.blocks() & set(lot.leaves)


@pytest.mark.parametrize("offset", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 7, LARGE - 1])
async def test_it_begins_at_an_offset(pair: Pair, offset: int) -> None:
    body = unheard(LARGE)
    assert await pair.taken(await pair.has(body), offset) == body[offset:]


async def test_what_is_not_shared_does_not_come(pair: Pair) -> None:
    lot = await pair.anna.member.gives(unheard(SMALL))
    with pytest.raises(Unavailable):
        await pair.taken(lot)


@pytest.mark.parametrize("at", [0, 2 * CHUNK])
async def test_other_bytes_than_those_of_the_cid_are_never_passed_on(pair: Pair, at: int, tmp_path: Path) -> None:
    body = unheard(LARGE)
    lot = await pair.has(body)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(body[:at] + b"\0" * 10 + body[at + 10 :])
    pair.given[lot.cid] = Lot(lot.cid, wrong, lot.size, lot.leaves)
    came = b""
    with pytest.raises(Unavailable):
        stream = await pair.opened(lot)
        async for part in stream:
            came += part
    assert came == body[:at]


async def test_a_file_that_is_too_short_is_no_file(pair: Pair, tmp_path: Path) -> None:
    body = unheard(LARGE)
    lot = await pair.has(body)
    (tmp_path / "short").write_bytes(body[: 2 * CHUNK])
    pair.given[lot.cid] = Lot(lot.cid, tmp_path / "short", lot.size, lot.leaves)
    with pytest.raises(Unavailable):
        await pair.taken(lot)


async def test_what_fails_by_a_stream_comes_by_bitswap(pair: Pair) -> None:
    body = unheard(LARGE)
    lot = await pair.anna.member.gives(body)  # to Kubo alone
    swarm = KuboSwarm(pair.ben.kubo.rpc, SOON, pair.taking())
    for _ in range(2):  # the second time without trying
        assert await drained(await swarm.open(lot.cid, lot.size, 0, [pair.anna.member.id])) == body


async def test_who_has_not_the_key_is_given_nothing(pair: Pair) -> None:
    lot = await pair.has(unheard(SMALL))
    assert pair.anna.kubo.pid
    mine = [each for each in psutil.Process().net_connections("tcp4") if each.status == psutil.CONN_LISTEN]
    ports = {each.laddr.port for each in mine if each.laddr.ip == "127.0.0.1"}
    async with aiohttp.ClientSession() as session:
        for port in ports:
            for headers in ({}, {"Authorization": f"Bearer {SwarmKey(bytes(32)).text}".split("\n")[0]}):
                async with session.get(f"http://127.0.0.1:{port}{PATH}{lot.cid}", headers=headers) as answer:
                    assert answer.status == 404


async def test_after_a_new_start_of_either_it_goes_on(pair: Pair) -> None:
    body = unheard(LARGE)
    lot = await pair.has(body)
    for each in (pair.ben, pair.anna):
        await each.kubo.restart()
    await pair.ben.member.swarm.connect(pair.anna.member.id, await pair.anna.kubo.addresses())
    await eventually(lambda: comes(pair, lot))
    assert await pair.taken(lot) == body
