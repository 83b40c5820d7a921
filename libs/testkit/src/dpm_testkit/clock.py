"""A clock that a test moves by hand."""

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field


@dataclass
class ManualClock:
    """Clock that stands still at ``time`` (epoch seconds) until :meth:`advance`."""

    time: float = 1_700_000_000.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)
    _asleep: asyncio.Condition = field(default_factory=asyncio.Condition)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._count), woken))
        async with self._asleep:
            self._asleep.notify_all()
        await woken

    async def sleepers(self, count: int = 1) -> None:
        """Wait until so many are asleep: what a test awaits before it moves the clock."""
        async with self._asleep:
            await self._asleep.wait_for(lambda: sum(not each[2].done() for each in self._sleepers) >= count)

    async def advance(self, seconds: float) -> None:
        """Move on by ``seconds``, waking each sleeper at its time and letting it run before the next is woken."""
        end = self.time + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
                await self._settle()
        self.time = end
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
