"""Bytes that are still coming, shared by all of a process's clients: one waiter an attempt."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dpm_core.attempts import AttemptState
from dpm_core.cids import Cid
from dpm_core.errors import AttemptLost, DpmError, Unavailable
from dpm_core.ports import Body, Growing

CHUNK = 1024 * 1024
"""Bytes asked for at a time."""

log = logging.getLogger(__name__)

Successor = Callable[[int], Awaitable[tuple[int, Growing] | None]]
"""Given a token that was lost, the attempt that goes on from its bytes, or None."""

Stored = Callable[[Cid], Awaitable[Body | None]]
"""The blob in the store, if it is there."""


class Frontier:
    """One task reads where bytes still come and wakes the clients; their own reads stay below and never block.

    Of a verified attempt that cannot be read any more, slow clients get the rest from the store.
    """

    def __init__(self, token: int, growing: Growing, *, successor: Successor, stored: Stored) -> None:
        self.token = token
        self.state = AttemptState()
        self._growing = growing
        self._successor = successor
        self._stored = stored
        self._body: Body | None = None
        self._opening = asyncio.Lock()
        self._position = 0
        self._recent: tuple[int, bytes] = (0, b"")
        self._error: DpmError | None = None
        self._done = False
        self._moved = asyncio.Condition()

    async def opened(self) -> AttemptState:
        """Wait for the attempt to open or be over. Raises AttemptLost, AttemptFailed."""
        self.state = await self._growing.opened()
        return self.state

    async def advance(self) -> None:
        """Read at the frontier until the verified end; ends when there is nothing left to wait for."""
        try:
            while data := await self._next():
                self._recent = (self._position, data)
                await self._move(len(data))
            self._done = True
            with suppress(Unavailable):
                self.state = await self._growing.opened()
        except DpmError as error:
            self._error = error
        finally:
            if not self._done and self._error is None:
                self._error = AttemptLost("this gateway reads it no more")
            await self._move(0)

    async def _next(self) -> bytes:
        while True:
            try:
                return await self._growing.read(self._position, CHUNK)
            except AttemptLost:
                following = await self._successor(self.token)
                if following is None:
                    raise
                log.info("attempt lost, going on with its successor", extra={"tokens": [self.token, following[0]]})
                self._growing.close()
                self.token, self._growing = following
                await self._move(0)

    async def _move(self, by: int) -> None:
        async with self._moved:
            self._position += by
            self._moved.notify_all()

    async def complete(self) -> int:
        """Wait for the verified end; returns the length in bytes. Raises what ended it before."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._done or self._error)
        if self._error is not None:
            raise self._error
        return self._position

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from ``offset``, waiting for them; nothing only at the verified end.

        Raises AttemptFailed or AttemptLost where no more will come, Untrusted if the disk lies.
        """
        async with self._moved:
            await self._moved.wait_for(lambda: self._position > offset or self._done or self._error)
        if self._position <= offset:
            if self._error is not None:
                raise self._error
            return b""
        start, recent = self._recent
        if start <= offset < start + len(recent):
            return recent[offset - start : offset - start + size]
        size = min(size, self._position - offset)
        while True:
            growing = self._growing
            try:
                return await growing.read(offset, size)
            except AttemptLost:
                await self._replaced(growing)
            if self._done and self._growing is growing:
                return await self._from_store(offset, size)

    async def _replaced(self, growing: Growing) -> None:
        """Wait for the successor of a lost attempt, or its end. Raises what ended the wait if there is none."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._growing is not growing or self._done or self._error)
        if self._growing is growing and self._error is not None:
            raise self._error

    async def _from_store(self, offset: int, size: int) -> bytes:
        async with self._opening:
            if self._body is None:
                self._body = None if self.state.cid is None else await self._stored(self.state.cid)
            if self._body is None:
                raise AttemptLost("the verified bytes have left the store")
        return await self._body.read(offset, size)

    def close(self) -> None:
        """Let go of the attempt; its clients must have left."""
        self._growing.close()
        if self._body is not None:
            self._body.close()
