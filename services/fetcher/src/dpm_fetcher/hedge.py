"""A body that comes too slowly is helped: another origin joins in from where its bytes stand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dpm_core.errors import Unavailable
from dpm_core.origins import Opened, Stream
from dpm_core.ports import Clock

LOOK_SECONDS = 1.0
"""Between two looks at how much has come."""

AGAIN_LOOKS = 10
"""After another origin could not join in, so many looks pass before it is asked again."""


@dataclass(frozen=True)
class Pace:
    """What is expected of peers: a first byte within ``first_byte`` seconds, and ``rate`` bytes a second then.

    Files of a known size below ``least`` bytes are asked of peers only where upstream is away.
    """

    first_byte: float = 0.5
    rate: float = 5 * 1024 * 1024
    least: int = 64 * 1024


class Hedge:
    """Port Stream: the bytes of ``body`` until the answer of ``join`` has opened; that is ``joined`` then.

    ``join`` is called, beside, as soon as fewer than ``rate`` bytes have come in a second, or the body breaks off.
    It raises Unavailable if nobody can join in: ``body`` goes on alone.
    """

    def __init__(
        self, body: Stream, rate: float, join: Callable[[], Coroutine[Any, Any, Opened]], clock: Clock
    ) -> None:
        self.joined: Opened | None = None
        self._body = body
        self._rate = rate
        self._join = join
        self._clock = clock
        self._looks = 0
        self._joining: asyncio.Task[Opened] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._body)
        arriving: asyncio.Task[bytes | None] | None = None
        look: asyncio.Task[None] | None = None
        came = 0
        try:
            while True:
                arriving = arriving or asyncio.create_task(_next(parts))
                look = look or asyncio.create_task(self._clock.sleep(LOOK_SECONDS))
                waited = {each for each in (arriving, look, self._joining) if each is not None}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if arriving.done():
                    data = await self._arrived(arriving)
                    arriving = None
                    if data is None:
                        return
                    came += len(data)
                    yield data
                if await self._has_joined():
                    return
                if look.done():
                    self._slow(came < self._rate * LOOK_SECONDS)
                    came, look = 0, None
        finally:
            await ended(*(task for task in (arriving, look) if task is not None))

    async def close(self) -> None:
        """Hang up; whoever is about to join in is hung up on, too."""
        await self._body.close()
        if self._joining is not None:
            await ended(self._joining)
            if not self._joining.cancelled() and self._joining.exception() is None:
                await self._joining.result().body.close()

    async def _arrived(self, arriving: "asyncio.Task[bytes | None]") -> bytes | None:
        """What has come, None at the end. A body that broke off ends where another origin goes on from there."""
        try:
            return await arriving
        except Unavailable:
            self._joining = self._joining or self._begun()
            with suppress(Unavailable):
                self.joined, self._joining = await self._joining, None
                return None
            raise

    async def _has_joined(self) -> bool:
        if self._joining is None or not self._joining.done():
            return False
        joining, self._joining = self._joining, None
        with suppress(Unavailable):
            self.joined = await joining
        return self.joined is not None

    def _slow(self, slow: bool) -> None:
        self._looks += 1
        if slow and self._joining is None and (self._looks - 1) % AGAIN_LOOKS == 0:
            self._joining = self._begun()
        elif not slow and self._joining is None:
            self._looks = 0

    def _begun(self) -> "asyncio.Task[Opened]":
        return asyncio.create_task(self._join())


async def _next(parts: AsyncIterator[bytes]) -> bytes | None:
    return await anext(parts, None)


async def ended(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel and wait, without taking one's own cancellation for theirs."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: nobody needs to hear of it any more
