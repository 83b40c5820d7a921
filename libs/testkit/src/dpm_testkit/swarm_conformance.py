"""What every repository and every swarm promise. Subclass the suite, give the fixtures ``anna`` and ``ben``.

They are members of one private swarm, connected; they may be the same for all tests of a suite.
"""

import asyncio
import random

import pytest

from dpm_core.cids import CHUNK
from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_peer.swarm import Lot
from dpm_testkit.members import Member
from dpm_testkit.patience import eventually, soon

SMALL = 4096
LARGE = 3 * CHUNK + 5


def unheard(size: int) -> bytes:
    """A body that nobody has had before."""
    return random.randbytes(size)


async def has_not(member: Member, lot: Lot) -> None:
    """Assert that the member cannot get it, and is told so."""
    with pytest.raises(Unavailable):
        await member.gets(lot)


class SwarmSuite:
    """The promises of the ports Repository and Swarm."""

    @pytest.mark.parametrize("size", [1, SMALL, CHUNK, LARGE])
    async def test_what_one_gives_another_gets(self, anna: Member, ben: Member, size: int) -> None:
        body = unheard(size)
        lot = await anna.gives(body)
        assert await ben.gets(lot) == body

    @pytest.mark.parametrize("offset", [1, CHUNK, CHUNK + 7, LARGE - 1])
    async def test_it_begins_at_an_offset(self, anna: Member, ben: Member, offset: int) -> None:
        body = unheard(LARGE)
        lot = await anna.gives(body)
        assert await ben.gets(lot, offset) == body[offset:]

    async def test_what_cannot_be_had_ends_in_time_and_no_wrong_byte_comes(
        self, anna: Member, ben: Member
    ) -> None:
        never_given = anna.keeps(unheard(SMALL))
        dropped = await anna.gives(unheard(LARGE))
        await anna.repository.drop(dropped.blocks)
        vanished = await anna.gives(unheard(SMALL))
        vanished.path.unlink()
        changed = await anna.gives(unheard(SMALL))
        changed.path.write_bytes(unheard(SMALL))
        gone = (never_given, dropped, vanished, changed)
        await soon(asyncio.gather(*(has_not(ben, lot) for lot in gone)))

    async def test_a_file_that_is_wrong_further_on_breaks_off_there(self, anna: Member, ben: Member) -> None:
        body = unheard(LARGE)
        lot = await anna.gives(body)
        lot.path.write_bytes(body[: 2 * CHUNK] + unheard(LARGE - 2 * CHUNK))
        stream, got = await ben.swarm.open(lot.cid, lot.size), b""
        with pytest.raises(Unavailable):
            async for part in stream:
                got += part
        await stream.close()
        assert body.startswith(got)
        assert len(got) <= 2 * CHUNK

    async def test_a_file_that_is_another_is_given_under_its_own_name(self, anna: Member) -> None:
        lot, other = anna.keeps(unheard(SMALL)), anna.keeps(unheard(SMALL))
        other.path.replace(lot.path)
        assert await anna.repository.give(lot) == other.cid

    async def test_a_block_is_read_where_it_lies(self, anna: Member) -> None:
        lot = await anna.gives(unheard(LARGE))
        assert all([await anna.repository.reads(block) for block in lot.blocks])
        lot.path.write_bytes(unheard(LARGE))
        leaf, root = lot.blocks[0], lot.blocks[-1]
        assert not await anna.repository.reads(leaf)
        assert await anna.repository.reads(root)

    async def test_giving_leaves_no_block_beside_those_of_the_file(self, anna: Member) -> None:
        before = await anna.blocks()
        lots = [await anna.gives(unheard(SMALL)), await anna.gives(unheard(LARGE))]
        ours = {block.hash for lot in lots for block in lot.blocks}
        assert await anna.blocks() - before == ours
        await anna.repository.drop([block for lot in lots for block in lot.blocks])
        assert not await anna.blocks() & ours

    async def test_the_tree_of_what_was_fetched_is_all_that_came_of_it(self, anna: Member, ben: Member) -> None:
        lot = await anna.gives(unheard(LARGE))
        before = await ben.blocks()
        stream = await ben.swarm.open(lot.cid, lot.size)
        async for _ in stream:
            break
        await stream.close()
        tree = await ben.repository.tree(lot.cid)
        assert tree[0] == lot.cid
        assert set(tree) == set(lot.blocks)
        await ben.repository.drop(tree)
        assert await ben.blocks() <= before

    async def test_whoever_hung_up_gets_on_after_connecting_again(self, anna: Member, ben: Member) -> None:
        lot = await anna.gives(unheard(SMALL))
        await ben.swarm.disconnect(anna.id)

        async def apart() -> bool:
            return anna.id not in await ben.swarm.peers() and ben.id not in await anna.swarm.peers()

        await eventually(apart)
        await ben.swarm.disconnect(anna.id)
        await ben.meets(anna)
        assert anna.id in await ben.swarm.peers()
        assert await ben.gets(lot)

    async def test_who_is_not_there_is_not_reached(self, anna: Member, ben: Member) -> None:
        another = PeerId.of_ed25519(unheard(32))
        with pytest.raises(Unavailable):
            await ben.swarm.connect(another, [Address("/ip4/127.0.0.1/tcp/1")])
        with pytest.raises(Unavailable):
            await ben.swarm.connect(another, anna.addresses)
        assert another not in await ben.swarm.peers()
