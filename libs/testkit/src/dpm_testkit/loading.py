"""Clients that go on and on while something happens to what they ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from dpm_testkit.patience import until


@asynccontextmanager
async def loading(fetch: Callable[[int], Awaitable[None]], at_once: int = 4) -> AsyncIterator[Callable[[], int]]:
    """Clients that fetch one thing after the other while the context lasts; yields how many they got so far.

    What one of them raises comes out at the end.
    """
    ended = asyncio.Event()
    done = 0

    async def go_on(number: int) -> None:
        nonlocal done
        while not ended.is_set():
            await fetch(number)
            done += 1

    async with asyncio.TaskGroup() as clients:
        for number in range(at_once):
            clients.create_task(go_on(number))
        try:
            yield lambda: done
        finally:
            ended.set()


async def more(done: Callable[[], int], count: int = 20) -> None:
    """Wait until so many more have been got."""
    wanted = done() + count
    await until(lambda: done() >= wanted)
