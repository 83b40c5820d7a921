"""Small blobs in memory: read from the store once, as many as there is room for."""

import pytest

from dpm_core.cids import Cid, cid_of
from dpm_core.errors import Untrusted
from dpm_core.ports import Body
from dpm_gateway.small_blobs import SMALL, SmallBlobs
from dpm_testkit.memory_store import MemoryBlobStore


class Asked(MemoryBlobStore):
    """A store that counts how often a blob is opened."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__()
        self.blobs = {cid_of([body]): body for body in bodies}
        self.opened: list[Cid] = []

    async def open(self, cid: Cid):  # type: ignore[no-untyped-def]
        self.opened.append(cid)
        return await super().open(cid)


async def read(store: SmallBlobs, body: bytes) -> bytes | None:
    opened: Body | None = await store.open(cid_of([body]))
    if opened is None:
        return None
    try:
        return await opened.read(0, opened.size + 1)
    finally:
        opened.close()


async def test_a_small_blob_is_read_from_the_store_once() -> None:
    below = Asked(b"small")
    store = SmallBlobs(below, below.blobs.__contains__)
    assert [await read(store, b"small") for _ in range(3)] == [b"small"] * 3
    assert len(below.opened) == 1


async def test_a_larger_one_is_opened_for_everybody() -> None:
    large = bytes(SMALL + 1)
    below = Asked(large)
    store = SmallBlobs(below, below.blobs.__contains__)
    assert [await read(store, large) for _ in range(3)] == [large] * 3
    assert len(below.opened) == 3


async def test_what_is_not_there_is_asked_for_again() -> None:
    below = Asked()
    store = SmallBlobs(below, below.blobs.__contains__)
    assert await read(store, b"small") is None
    below.blobs[cid_of([b"small"])] = b"small"
    assert await read(store, b"small") == b"small"


async def test_what_was_used_longest_ago_makes_room() -> None:
    bodies = [bytes([number]) * 10 for number in range(4)]
    below = Asked(*bodies)
    store = SmallBlobs(below, below.blobs.__contains__, capacity=30)
    for body in (*bodies[:3], bodies[0], bodies[3]):
        assert await read(store, body) == body
    below.opened.clear()
    assert [await read(store, body) for body in (bodies[0], bodies[2], bodies[3])] == [
        bodies[0],
        bodies[2],
        bodies[3],
    ]
    assert below.opened == []
    assert await read(store, bodies[1]) == bodies[1]
    assert below.opened == [cid_of([bodies[1]])]


async def test_wrong_bytes_show_at_the_opening_and_are_not_kept() -> None:
    cid = cid_of([b"small"])
    below = Asked(b"small")
    below.blobs[cid] = b"wrong"
    store = SmallBlobs(below, below.blobs.__contains__)
    with pytest.raises(Untrusted):
        await store.open(cid)
    below.blobs[cid] = b"small"
    assert await read(store, b"small") == b"small"


async def test_what_has_no_file_any_more_is_not_served() -> None:
    below = Asked(b"small")
    store = SmallBlobs(below, below.blobs.__contains__)
    assert await read(store, b"small") == b"small"
    del below.blobs[cid_of([b"small"])]
    assert not store.at_hand(cid_of([b"small"]))
    assert await read(store, b"small") is None
