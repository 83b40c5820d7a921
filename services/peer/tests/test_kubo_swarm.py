"""Two real Kubos of one private swarm, and strangers to it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_core.cids import CHUNK, CidHasher
from dpm_core.errors import Unavailable
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_swarm import Patience
from dpm_peer.shelf import Shelf
from dpm_peer.swarm import Lot
from dpm_testkit.kubo import KuboNode, kubo_node, member, new_key
from dpm_testkit.members import Member
from dpm_testkit.patience import PATIENCE, eventually, until
from dpm_testkit.swarm_conformance import LARGE, SwarmSuite, unheard

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

HUGE = 200 * CHUNK


@pytest.fixture(scope="module")
def key() -> SwarmKey:
    return new_key()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node_a(key: SwarmKey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KuboNode]:
    async with kubo_node(tmp_path_factory.mktemp("a"), key) as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node_b(
    key: SwarmKey, tmp_path_factory: pytest.TempPathFactory, node_a: KuboNode
) -> AsyncIterator[KuboNode]:
    async with kubo_node(tmp_path_factory.mktemp("b"), key) as node:
        await node.member.meets(node_a.member)
        yield node


@pytest.fixture(scope="module")
def anna(node_a: KuboNode) -> Member:
    return node_a.member


@pytest.fixture(scope="module")
def ben(node_b: KuboNode) -> Member:
    return node_b.member


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient_ben(node_b: KuboNode) -> Member:
    return await member(node_b.kubo, node_b.member.folder, Patience(first_byte=PATIENCE, stall=PATIENCE))


class TestKubo(SwarmSuite):
    """What Kubo's adapters promise."""


def large_file(folder: Path, size: int) -> Lot:
    """A file whose chunks differ, with little to compute."""
    path = folder / f"of-{size}"
    hasher = CidHasher()
    chunk = bytearray(os.urandom(CHUNK))
    with path.open("wb") as file:
        for number in range(size // CHUNK):
            chunk[:8] = number.to_bytes(8, "big")
            file.write(chunk)
            hasher.update(memoryview(chunk))
    return Lot(hasher.cid(), path, size, hasher.leaves())


async def test_two_hundred_mebibytes_come_whole_and_are_referenced_not_copied(
    anna: Member, node_a: KuboNode, ben: Member, patient_ben: Member
) -> None:
    before = await node_a.kubo.rpc.size()
    lot = large_file(anna.folder, HUGE)
    assert await anna.repository.give(lot) == lot.cid
    assert await node_a.kubo.rpc.size() - before < CHUNK
    stream = await patient_ben.swarm.open(lot.cid, lot.size)
    got = hashlib.sha256()
    async for part in stream:
        got.update(part)
    await stream.close()
    with lot.path.open("rb") as file:
        assert got.digest() == hashlib.file_digest(file, "sha256").digest()
    await ben.repository.drop(lot.blocks)


async def test_of_what_was_fetched_and_stored_one_copy_stays_and_is_served(
    anna: Member, ben: Member, node_b: KuboNode, key: SwarmKey, tmp_path: Path
) -> None:
    body = unheard(LARGE)
    lot = await anna.gives(body)
    ours = Lot(lot.cid, ben.folder / lot.cid, lot.size, lot.leaves)
    shelf = Shelf(ben.repository, node_b.repository, lambda cid: ours, node_b.kubo.renew)
    before = await node_b.kubo.rpc.size()
    ours.path.write_bytes(await ben.gets(lot))
    assert await node_b.kubo.rpc.size() - before > LARGE
    assert await shelf.adopt(lot.cid)
    assert await node_b.kubo.rpc.size() - before < CHUNK // 2
    shelf.close()
    await anna.repository.drop(lot.blocks)
    async with kubo_node(tmp_path, key) as friend:
        await friend.member.meets(ben)
        assert await friend.member.gets(lot) == body


async def test_of_a_fetch_that_nobody_waits_for_no_block_stays(
    anna: Member, ben: Member, node_b: KuboNode
) -> None:
    lot = await anna.gives(unheard(20 * CHUNK))
    shelf = Shelf(ben.repository, node_b.repository, lambda cid: None, node_b.kubo.renew)
    before = await ben.blocks()
    stream = await ben.swarm.open(lot.cid, lot.size)
    async for _ in stream:
        break
    await stream.close()
    await shelf.abandon(lot.cid)
    assert await ben.blocks() == before
    shelf.close()


async def test_a_want_is_taken_back_when_nobody_waits(anna: Member, node_b: KuboNode) -> None:
    lot = anna.keeps(unheard(LARGE))
    opening = asyncio.ensure_future(node_b.member.swarm.open(lot.cid, lot.size))
    await until_wanted(node_b, lot, wanted=True)
    opening.cancel()
    await until_wanted(node_b, lot, wanted=False)


async def until_wanted(node: KuboNode, lot: Lot, *, wanted: bool) -> None:
    async def is_so() -> bool:
        return (lot.cid in await node.kubo.rpc.wants()) is wanted

    await eventually(is_so)


async def test_a_stranger_is_not_let_in_where_a_member_is(anna: Member, key: SwarmKey, tmp_path: Path) -> None:
    lot = await anna.gives(unheard(4096))
    async with (
        kubo_node(tmp_path / "stranger", new_key()) as stranger,
        kubo_node(tmp_path / "friend", key) as friend,
    ):
        with pytest.raises(Unavailable):
            await stranger.member.meets(anna)
        assert not await stranger.member.swarm.peers()
        with pytest.raises(Unavailable):
            await stranger.member.gets(lot)
        await friend.member.meets(anna)
        assert len(await friend.member.gets(lot)) == 4096


async def test_a_holder_that_is_killed_half_way_is_gone_on_with_once_it_is_back(
    key: SwarmKey, ben: Member, patient_ben: Member, tmp_path: Path
) -> None:
    async with kubo_node(tmp_path, key) as holder:
        lot = large_file(holder.member.folder, 64 * CHUNK)
        await holder.member.repository.give(lot)
        await ben.meets(holder.member)
        whole, count = hashlib.sha256(), 0
        stream = await ben.swarm.open(lot.cid, lot.size)
        with pytest.raises(Unavailable):
            async for part in stream:
                whole.update(part)
                count += len(part)
                if count > 10 * CHUNK and holder.kubo.starts == 1 and holder.kubo.pid:
                    holder.kill()
                    await until(lambda: holder.kubo.starts == 2)
        await stream.close()
        assert 0 < count < lot.size
        await ben.meets(await member(holder.kubo, holder.member.folder))
        rest = await patient_ben.gets(lot, count)
        whole.update(rest)
        with lot.path.open("rb") as file:
            assert whole.digest() == hashlib.file_digest(file, "sha256").digest()
        await ben.repository.drop(lot.blocks)
