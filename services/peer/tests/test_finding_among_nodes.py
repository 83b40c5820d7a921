"""What looks for files, over a whole network in one process: three nodes, of which one looks."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dpm_core.artifacts import CHECKED_FIELD, ArtifactRef
from dpm_core.cids import CHUNK
from dpm_core.digests import Digest
from dpm_core.events import OriginKind
from dpm_core.sharing import Rule
from dpm_peer.blame import Blame
from dpm_peer.finding import Finder
from dpm_peer.page_finding import FoundPage, PageFinder
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
    pages: PageFinder

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
async def three(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Three]:
    circle = LittleNetwork(tmp_path, getattr(request, "param", None))
    async with AsyncExitStack() as running:
        starting = (running.enter_async_context(circle.node(each).running()) for each in ("ann", "ben", "cat"))
        ann, ben, cat = [await each for each in starting]
        blame = Blame(Register(MemoryEventLog(), cat.clock), cat.clock)
        finder = Finder(lambda: [cat.membership], blame, cat.clock)
        running.push_async_callback(finder.close)
        yield Three(ann, ben, cat, finder, PageFinder(lambda: [cat.membership], finder, blame, cat.clock))


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


SIX = ArtifactRef("pypi", "https://index.example/", "six/").id


async def found(three: Three) -> tuple[str, bytes] | None:
    """The page as it is found, and by whom."""
    page = await three.pages.open(SIX)
    if page is None:
        return None
    assert isinstance(page, FoundPage)
    body = await drained(page.body)
    await page.body.close()
    return page.source, body


@pytest.mark.parametrize("three", [Rule(pages=True)], indirect=True)
async def test_of_a_page_that_is_found_which_was_confirmed_last(three: Three) -> None:
    await three.ann.stores(b"old", "six/", page=True)
    assert await eventually(lambda: found(three)) == (three.ann.kubo.id, b"old")
    three.ben.log.now = lambda: three.ann.clock.now() + 60
    await three.ben.stores(b"new", "six/", page=True)

    async def is_new() -> bool:
        return await found(three) == (three.ben.kubo.id, b"new")

    await eventually(is_new)


@pytest.mark.parametrize("three", [Rule(pages=True)], indirect=True)
async def test_a_page_that_a_peer_gave_is_not_given_on(three: Three) -> None:
    await three.ben.stores(
        b"of a peer", "six/", OriginKind.PEER, page=True, fields=((CHECKED_FIELD, "1764000000"),)
    )
    await three.gets(await three.ben.stores(BODY))
    assert await found(three) is None


async def test_where_the_rule_shares_no_pages_there_are_none(three: Three) -> None:
    await three.ann.stores(b"old", "six/", page=True)
    await three.gets(await three.ann.stores(BODY))
    assert await found(three) is None


async def test_pages_are_found_once_the_keeper_has_them_shared(three: Three) -> None:
    await three.ann.stores(b"old", "six/", page=True)
    await three.ann.keeping.set_rule(Rule(pages=True))
    assert await eventually(lambda: found(three)) == (three.ann.kubo.id, b"old")
