"""What is written to a connection for one answer: head and body at once, in order, and nothing held back."""

import asyncio
from typing import cast

import pytest

from dpm_runtime.joining import Joining


class Wire:
    """A transport that notes what it is given."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed_after = len(self.written)

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.written))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def joining(wire: Wire) -> Joining:
    return Joining(cast(asyncio.Transport, wire))


async def test_a_head_goes_with_the_body_that_follows_it_at_once(wire: Wire, joining: Joining) -> None:
    joining.write(b"head ")
    joining.write(b"body ")
    joining.write(b"more")
    await asyncio.sleep(0)
    assert wire.written == [b"head body ", b"more"]


async def test_a_head_without_a_body_goes_by_itself(wire: Wire, joining: Joining) -> None:
    joining.write(b"head")
    joining.write(b"")
    assert wire.written == [b"head"]


async def test_a_head_waits_for_no_body_that_comes_later(wire: Wire, joining: Joining) -> None:
    joining.write(b"head")
    await asyncio.sleep(0)
    assert wire.written == [b"head"]
    joining.write(b"body")
    assert wire.written == [b"head", b"body"]


async def test_whoever_looks_at_the_connection_sees_it_with_all_that_was_written(
    wire: Wire, joining: Joining
) -> None:
    joining.write(b"head")
    assert joining.get_write_buffer_size() == 4
    joining.write(b"body")
    joining.close()
    assert (wire.written, wire.closed_after) == ([b"head", b"body"], 2)


async def test_a_connection_is_closed_behind_a_head_that_nothing_follows(wire: Wire, joining: Joining) -> None:
    joining.write(b"head")
    joining.close()
    await asyncio.sleep(0)
    assert (wire.written, wire.closed_after) == ([b"head"], 1)
