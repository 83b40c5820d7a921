import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpm_core.cids import CHUNK, Cid
from dpm_core.errors import Unavailable
from dpm_peer.shelf import Reconciled, Shelf
from dpm_peer.swarm import Lot
from dpm_testkit.members import Member
from dpm_testkit.memory_swarm import MemoryKubo, MemoryNetwork

BLOCK = bytes(range(256)) * (CHUNK // 256)


class Kit:
    """A shelf over a twin, the store of which is a dict of lots, and a member that is connected."""

    def __init__(self, root: Path) -> None:
        network = MemoryNetwork()
        self.twin = network.joined("anna")
        self.anna = member(self.twin, root / "anna")
        self.ben = member(network.joined("ben"), root / "ben")
        self.held: dict[Cid, Lot] = {}
        self.renewals = 0
        self.folder = root / "ipfs"
        self.folder.mkdir()
        self.shelf = Shelf(self.twin, self.folder, self.held.get, self.renew)

    async def renew(self) -> None:
        self.renewals += 1
        for path in self.folder.iterdir():
            path.unlink()
        for kept in (self.twin.references, self.twin.copies, self.twin.nodes):
            kept.clear()

    def stores(self, body: bytes) -> Lot:
        lot = self.anna.keeps(body)
        self.held[lot.cid] = lot
        return lot

    async def gives(self, lot: Lot) -> bool:
        """Whether the twin has every block of it."""
        return all([await self.twin.reads(block) for block in lot.blocks])


def member(twin: MemoryKubo, folder: Path) -> Member:
    folder.mkdir()
    return Member(twin.id, twin.addresses, folder, twin, twin)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path)
    yield kit
    kit.shelf.close()


async def test_what_is_given_is_held_and_what_is_forgotten_is_not(kit: Kit) -> None:
    lot = kit.stores(b"a body")
    assert await kit.shelf.give(lot.cid)
    assert kit.shelf.holds(lot.cid)
    assert await kit.gives(lot)
    await kit.shelf.forget([lot.cid])
    assert not kit.shelf.holds(lot.cid)
    assert not kit.twin.references


async def test_what_the_store_has_not_is_not_given(kit: Kit) -> None:
    assert not await kit.shelf.give(kit.anna.keeps(b"not stored").cid)
    assert not kit.twin.references


async def test_a_file_with_other_bytes_is_not_given_nor_left(kit: Kit) -> None:
    lot = kit.stores(BLOCK * 2 + b"right")
    lot.path.write_bytes(BLOCK * 2 + b"wrong")
    assert not await kit.shelf.give(lot.cid)
    assert not kit.shelf.holds(lot.cid)
    assert not [block async for block in kit.twin.blocks()]


async def test_a_block_that_two_files_share_stays_as_long_as_one_does(kit: Kit) -> None:
    first, second, third = (kit.stores(BLOCK + tail) for tail in (b"first", b"second", b"third"))
    for lot in (first, second, third):
        assert await kit.shelf.give(lot.cid)
    await kit.shelf.forget([first.cid, third.cid])
    first.path.unlink()
    third.path.unlink()
    assert kit.shelf.holds(second.cid)
    assert await kit.gives(second)


async def test_wrong_bytes_take_no_block_of_another_file_with_them(kit: Kit) -> None:
    right, wrong = kit.stores(BLOCK + b"right"), kit.stores(BLOCK + b"is to be wrong")
    await kit.shelf.give(right.cid)
    wrong.path.write_bytes(BLOCK + b"is wrong now..")
    assert not await kit.shelf.give(wrong.cid)
    assert await kit.gives(right)


async def test_what_was_fetched_and_stored_is_there_once(kit: Kit) -> None:
    lot = await kit.ben.gives(BLOCK * 2 + b"a tail")
    await kit.anna.meets(kit.ben)
    body = await kit.anna.gets(lot)
    assert kit.twin.copied() > 0
    kit.stores(body)
    assert await kit.shelf.adopt(lot.cid)
    assert kit.shelf.holds(lot.cid)
    assert kit.twin.copied() == 0
    assert await kit.gives(lot)


async def test_what_was_fetched_and_is_not_stored_leaves_nothing(kit: Kit) -> None:
    lot = await kit.ben.gives(BLOCK + b"a tail")
    await kit.anna.meets(kit.ben)
    await kit.anna.gets(lot)
    assert not await kit.shelf.adopt(lot.cid)
    assert not [block async for block in kit.twin.blocks()]


async def test_what_was_fetched_in_vain_leaves_only_what_is_ours(kit: Kit) -> None:
    ours = kit.stores(BLOCK + b"ours")
    await kit.shelf.give(ours.cid)
    lot = await kit.ben.gives(BLOCK + b"theirs")
    await kit.anna.meets(kit.ben)
    await kit.anna.gets(lot)
    await kit.shelf.abandon(lot.cid)
    assert {block async for block in kit.twin.blocks()} == {block.hash for block in ours.blocks}
    await kit.shelf.abandon(ours.cid)
    assert await kit.gives(ours)


async def test_reconciling_makes_what_is_given_what_is_desired(kit: Kit) -> None:
    old, kept, new = (kit.stores(BLOCK + tail) for tail in (b"old", b"kept", b"new"))
    await kit.shelf.reconcile([old.cid, kept.cid])
    gone = kit.anna.keeps(b"not in the store")
    done = await kit.shelf.reconcile([kept.cid, new.cid, gone.cid])
    assert done == Reconciled(given=1, forgotten=1, refused=1)
    assert [kit.shelf.holds(lot.cid) for lot in (old, kept, new, gone)] == [False, True, True, False]
    assert await kit.gives(kept)
    assert await kit.gives(new)
    assert await kit.shelf.reconcile([kept.cid, new.cid]) == Reconciled()


async def test_blocks_of_nobody_are_swept(kit: Kit) -> None:
    ours = kit.stores(b"ours")
    await kit.shelf.give(ours.cid)
    await kit.anna.gives(BLOCK + b"of a fetch that a crash cut off")
    assert (await kit.shelf.reconcile([ours.cid])).strays == 3
    assert {block async for block in kit.twin.blocks()} == {ours.cid.hash}


async def test_a_repository_that_has_lost_blocks_is_made_anew(kit: Kit) -> None:
    lots = [kit.stores(f"body {number}".encode()) for number in range(5)]
    await kit.shelf.reconcile([lot.cid for lot in lots])
    kit.twin.references.clear()
    done = await kit.shelf.reconcile([lot.cid for lot in lots])
    assert done == Reconciled(given=5, renewed=True)
    assert kit.renewals == 1
    assert all([await kit.gives(lot) for lot in lots])


@pytest.mark.parametrize("wrong", [b"rotten", None])
async def test_a_file_that_is_wrong_or_gone_is_no_fault_of_the_repository(kit: Kit, wrong: bytes | None) -> None:
    lot = kit.stores(b"a body")
    await kit.shelf.give(lot.cid)
    lot.path.unlink()
    if wrong is not None:
        lot.path.write_bytes(wrong)
    done = await kit.shelf.reconcile([])
    assert not done.renewed
    assert not kit.shelf.holds(lot.cid)
    assert not kit.twin.references


async def test_notes_that_cannot_be_read_are_begun_anew(kit: Kit) -> None:
    lot = kit.stores(b"a body")
    await kit.shelf.give(lot.cid)
    kit.shelf.close()
    (kit.folder / "dpm.sqlite").write_bytes(b"no database" * 1000)
    assert not kit.shelf.holds(lot.cid)
    assert (await kit.shelf.reconcile([lot.cid])).given == 1


async def test_notes_go_with_the_repository(kit: Kit) -> None:
    lot = kit.stores(b"a body")
    await kit.shelf.give(lot.cid)
    await kit.renew()
    assert not kit.shelf.holds(lot.cid)


async def test_what_kubo_was_not_told_is_made_up_for(kit: Kit) -> None:
    lot = kit.stores(b"a body")
    kit.twin.down = True
    with pytest.raises(Unavailable):
        await kit.shelf.give(lot.cid)
    assert not kit.shelf.holds(lot.cid)
    kit.twin.down = False
    await kit.shelf.give(lot.cid)
    kit.twin.down = True
    with pytest.raises(Unavailable):
        await kit.shelf.forget([lot.cid])
    assert not kit.shelf.holds(lot.cid)
    kit.twin.down = False
    assert (await kit.shelf.reconcile([])).strays == 1
    assert not kit.twin.references


async def test_what_moved_is_given_where_it_is(kit: Kit) -> None:
    lot = kit.stores(b"a body")
    await kit.shelf.give(lot.cid)
    moved = replace(lot, path=lot.path.rename(lot.path.with_name("moved")))
    kit.held[lot.cid] = moved
    assert (await kit.shelf.reconcile([lot.cid])).renewed
    assert await kit.gives(moved)


async def test_many_may_be_given_at_once(kit: Kit) -> None:
    lots = [kit.stores(b"%d" % number) for number in range(40)]
    assert all(await asyncio.gather(*(kit.shelf.give(lot.cid) for lot in lots)))
    assert (await kit.shelf.reconcile([lot.cid for lot in lots])) == Reconciled()
