"""The life of a real Kubo: what it is started with, what keeps it running, and what it survives."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from dpm_core.errors import Invalid, Unavailable
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_daemon import Kubo, Pulse
from dpm_peer.kubo_rpc import KuboRpc
from dpm_peer.shelf import Reconciled, Shelf
from dpm_peer.swarm import Lot
from dpm_testkit.kubo import KuboNode, kubo_node, member, new_key, place
from dpm_testkit.patience import soon, until, wait_on
from dpm_testkit.swarm_conformance import LARGE, SMALL, unheard

pytestmark = pytest.mark.real


@pytest.fixture
def key() -> SwarmKey:
    return new_key()


@pytest.fixture
async def node(key: SwarmKey, tmp_path: Path) -> AsyncIterator[KuboNode]:
    async with kubo_node(tmp_path / "a", key) as node:
        yield node


@contextlib.contextmanager
def shelved(node: KuboNode, *lots: Lot) -> Iterator[Shelf]:
    held = {lot.cid: lot for lot in lots}
    shelf = Shelf(node.member.repository, node.repository, held.get, node.kubo.renew)
    try:
        yield shelf
    finally:
        shelf.close()


async def reads(node: KuboNode, *lots: Lot) -> bool:
    return all([await node.member.repository.reads(block) for lot in lots for block in lot.blocks])


@pytest.mark.parametrize("text", [None, "not a key"])
async def test_it_is_not_started_without_a_key(text: str | None, tmp_path: Path) -> None:
    kubo = Kubo(place(tmp_path, None))
    if text is not None:
        kubo.place.swarm_key.write_text(text)
    with pytest.raises(Invalid):
        async with kubo.running():
            pass
    assert not kubo.place.repository.exists()


async def test_nobody_else_may_read_its_secrets_or_ask_it(node: KuboNode) -> None:
    secrets = [node.repository / "config", node.repository / "swarm.key", node.kubo.place.identity]
    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600] * 3
    assert node.kubo.place.api.stat().st_mode & 0o077 == 0
    stranger = KuboRpc(node.kubo.place.api, "another token")
    with pytest.raises(Unavailable):
        await stranger.peers()
    await stranger.close()


async def test_it_listens_where_it_was_told_and_nowhere_else(node: KuboNode) -> None:
    assert node.kubo.pid
    connections = psutil.Process(node.kubo.pid).net_connections("inet")
    assert {each.laddr.ip for each in connections} == {"127.0.0.1"}
    assert {each.laddr.port for each in connections} == {each.port for each in node.member.addresses}
    assert {each.status for each in connections} == {psutil.CONN_LISTEN}


async def test_it_tells_its_metrics(node: KuboNode) -> None:
    assert "go_goroutines" in await node.kubo.rpc.metrics()


async def test_one_that_is_killed_is_started_again_and_gives_what_it_gave(
    node: KuboNode, key: SwarmKey, tmp_path: Path
) -> None:
    body = unheard(LARGE)
    lot = node.member.keeps(body)
    with shelved(node, lot) as shelf:
        assert await shelf.give(lot.cid)
        before = node.kubo.peer_id
        node.kill()
        await node.kubo.up(after=1)
        assert node.kubo.peer_id == before
        assert await shelf.reconcile([lot.cid]) == Reconciled()
    async with kubo_node(tmp_path / "b", key) as other:
        await other.member.swarm.connect(node.member.id, await node.kubo.addresses())
        assert await other.member.gets(lot) == body


async def test_who_waits_for_its_next_start_waits_as_long_as_it_takes(node: KuboNode) -> None:
    starts = node.kubo.starts
    waiting = asyncio.create_task(node.kubo.up(after=starts, seconds=None))
    with pytest.raises(Unavailable):
        await node.kubo.up(after=starts, seconds=0.05)
    await wait_on(waiting)
    node.kill()
    assert await soon(waiting) == starts + 1


async def test_one_that_is_frozen_is_killed_and_started_again(key: SwarmKey, tmp_path: Path) -> None:
    impatient = Pulse(every=0.05, answer=1.0, missed=2)
    async with Kubo(place(tmp_path, key), pulse=impatient).running() as kubo:
        await kubo.up()
        assert kubo.pid
        frozen = psutil.Process(kubo.pid)
        frozen.suspend()
        await kubo.up(after=1)
        assert not frozen.is_running()
        await kubo.rpc.peers()


async def test_a_repository_that_was_deleted_is_made_again_for_the_same_peer(node: KuboNode) -> None:
    lots = [node.member.keeps(unheard(size)) for size in (SMALL, LARGE)]
    with shelved(node, *lots) as shelf:
        await shelf.reconcile([lot.cid for lot in lots])
        before = node.kubo.peer_id
        shutil.rmtree(node.repository)
        node.kill()
        await node.kubo.up(after=1)
        assert node.kubo.peer_id == before
        assert not await reads(node, *lots)
        assert await shelf.reconcile([lot.cid for lot in lots]) == Reconciled(given=2)
        assert await reads(node, *lots)


@pytest.mark.parametrize("part", ["datastore", "blocks", "datastore_spec"])
async def test_a_repository_that_has_lost_a_part_is_made_anew(node: KuboNode, part: str) -> None:
    lot = node.member.keeps(unheard(LARGE))
    with shelved(node, lot) as shelf:
        await shelf.reconcile([lot.cid])
        gone = node.repository / part
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()
        node.kill()
        await node.kubo.up(after=1)
        assert (await shelf.reconcile([lot.cid])).given == 1
        assert await reads(node, lot)


async def test_another_key_is_another_swarm(node: KuboNode, key: SwarmKey, tmp_path: Path) -> None:
    async with kubo_node(tmp_path / "b", key) as other:
        await other.member.meets(node.member)
        node.kubo.place.swarm_key.write_text(new_key().text)
        await node.kubo.restart()
        with pytest.raises(Unavailable):
            await other.member.meets(await member(node.kubo, node.root))


async def test_it_ends_with_whoever_keeps_it(tmp_path: Path) -> None:
    where = place(tmp_path, new_key())
    keeper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KEEPER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert keeper.stdout is not None
    daemon = psutil.Process(int(await keeper.stdout.readline()))
    keeper.kill()
    await keeper.wait()
    await until(lambda: not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE)
    assert where.repository.exists()


KEEPER = """
import asyncio, sys
from pathlib import Path
from dpm_peer.kubo_daemon import Kubo
from dpm_testkit.kubo import place

async def keep():
    async with Kubo(place(Path(sys.argv[1]), None)).running() as kubo:
        await kubo.up()
        print(kubo.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(keep())
"""
