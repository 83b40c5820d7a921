"""What looks for files, over a whole network in one process: three nodes, of which one looks."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dpm_core.cids import CHUNK
from dpm_core.digests import Digest
from dpm_peer.blame import Blame
from dpm_peer.finding import Finder
from dpm_peer.register import Register
from dpm_testkit.little_network import LittleNetwork, LittleNode
from dpm_testkit.members import drained
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_sharers import shared
from dpm_testkit.patience import eventually

BODY = os.urandom(3 * CHUNK)


@dataclass
class Three:
    """Ann and Ben have files, Cat looks for them."""

    ann: LittleNode
    ben: LittleNode
    cat: LittleNode
    finder: Finder

    async def gets(self, sha256: Digest) -> tuple[str, bytes]:
        """Who gave it, and what came."""
        found = await eventually(lambda: self.finder.open(sha256))
        body = await drained(found.body)
        return found.source, body

    async def gone(self, sha256: Digest) -> bool:
        found = await self.finder.open(sha256)
        if found is not None:
            await found.body.close()
        return found is None


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Three]:
    circle = LittleNetwork(tmp_path)
    async with AsyncExitStack() as running:
        starting = (running.enter_async_context(circle.node(each).running()) for each in ("ann", "ben", "cat"))
        ann, ben, cat = [await each for each in starting]
        blame = Blame(Register(MemoryEventLog(), cat.clock), cat.clock)
        finder = Finder(lambda: [cat.membership], blame, cat.clock)
        running.push_async_callback(finder.close)
        yield Three(ann, ben, cat, finder)


async def test_what_one_node_stores_another_finds(three: Three) -> None:
    sha256 = await three.ann.stores(BODY)
    assert await three.gets(sha256) == (three.ann.kubo.id, BODY)


async def test_what_two_have_comes_though_one_of_them_dies(three: Three) -> None:
    sha256 = await three.ann.stores(BODY)
    await three.ben.stores(BODY)

    async def both() -> bool:
        return len(three.cat.who_has(sha256)) == 2

    await eventually(both)
    assert await three.gets(sha256) == ("team", BODY)
    three.ann.kubo.down = True
    await three.cat.kubo.drop(await three.cat.kubo.tree(shared(BODY).cid))
    assert (await three.gets(sha256))[1] == BODY


async def test_what_was_evicted_nobody_finds(three: Three) -> None:
    sha256 = await three.ann.stores(BODY)
    await three.gets(sha256)
    await three.ann.evicts(BODY)
    await eventually(lambda: three.gone(sha256))
