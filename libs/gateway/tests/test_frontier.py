"""What clients read while bytes come: through losses, lies and the end of the attempt's folder."""

import asyncio

import pytest

from dpm_core.attempts import AttemptState, Phase
from dpm_core.cids import cid_of
from dpm_core.errors import AttemptLost, Untrusted
from dpm_core.ports import Body, Growing
from dpm_gateway.frontier import Frontier
from dpm_testkit.memory_store import MemoryBody
from dpm_testkit.patience import soon

BODY = b"0123456789"
CID = cid_of([BODY])


class Scripted:
    """A growing file that gives up to ``shown`` bytes, and then raises ``error`` or is at its verified end."""

    def __init__(self, shown: int, error: Exception | None = None) -> None:
        self.shown = shown
        self.error = error
        self.closed = False

    async def opened(self) -> AttemptState:
        if self.error:
            raise self.error
        return AttemptState(Phase.VERIFIED, len(BODY), cid=CID)

    async def read(self, offset: int, size: int) -> bytes:
        if offset >= self.shown and self.error:
            raise self.error
        return BODY[offset : min(self.shown, offset + size)]

    def close(self) -> None:
        self.closed = True


async def none(token: int) -> tuple[int, Growing] | None:
    return None


async def stored(cid: object) -> Body | None:
    return MemoryBody(CID, BODY) if cid == CID else None


def frontier(growing: Growing) -> Frontier:
    return Frontier(1, growing, successor=none, stored=stored)


async def test_a_disk_that_lies_ends_the_wait_of_every_client() -> None:
    it = frontier(Scripted(4, Untrusted("a chunk differs")))
    waiting = asyncio.create_task(it.read(4, 10))
    await it.advance()
    with pytest.raises(Untrusted):
        await soon(waiting)
    with pytest.raises(Untrusted):
        await soon(asyncio.create_task(it.complete()))


async def test_clients_do_not_wait_for_a_reader_that_was_stopped() -> None:
    class Silent(Scripted):
        async def read(self, offset: int, size: int) -> bytes:
            await asyncio.Event().wait()
            return b""

    it = frontier(Silent(0))
    waiting = asyncio.create_task(it.read(0, 10))
    advancing = asyncio.create_task(it.advance())
    await asyncio.sleep(0)  # both begin, and wait
    advancing.cancel()
    with pytest.raises(AttemptLost):
        await soon(waiting)


async def test_a_slow_client_gets_the_rest_from_the_store_when_the_folder_has_gone() -> None:
    growing = Scripted(len(BODY))
    it = frontier(growing)
    await it.advance()
    it._recent = (0, b"")  # what a body longer than one chunk leaves behind
    growing.shown, growing.error = 0, AttemptLost("the folder of this attempt has gone")
    assert await soon(asyncio.create_task(it.read(3, 4))) == BODY[3:7]
    assert await soon(asyncio.create_task(it.read(len(BODY), 4))) == b""
    it.close()
    assert growing.closed
