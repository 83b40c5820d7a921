"""Clocks that nobody waits by: one that a test moves by hand, and two that go on by themselves."""

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from dpm_runtime.service import SystemClock


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
        """Let those go on who were woken, and those whom they wake."""
        for _ in range(10):
            await asyncio.sleep(0)


class QuickClock(SystemClock):
    """The machine's clock, but nobody waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class LeapingClock(SystemClock):
    """The machine's clock, ahead by what was slept and leapt: nobody waits longer than ``pause`` (seconds).

    A ``pause`` gives time to threads that are waited for by this clock.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self.ahead = 0.0
        self._pause = pause

    def now(self) -> float:
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        await asyncio.sleep(self._pause)
