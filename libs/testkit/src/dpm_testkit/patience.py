"""Waiting in tests: for what has no event of its own, and never for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for what must happen at last; wide, so that a busy machine fails no test."""


async def until(condition: Callable[[], T | None], *, pause: float = 0.01) -> T:
    """Look every ``pause`` seconds until ``condition`` gives something true, and return it.

    Raises TimeoutError after PATIENCE.
    """
    async with asyncio.timeout(PATIENCE):
        while not (found := condition()):  # noqa: ASYNC110 - this is the one place for it
            await asyncio.sleep(pause)
        return found


async def eventually(
    condition: Callable[[], Awaitable[T | None]], *, pause: float = 0.01, seconds: float = PATIENCE
) -> T:
    """As :func:`until`, where looking itself takes waiting; raises TimeoutError after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(pause)
        return found


def until_now(condition: Callable[[], T | None], *, pause: float = 0.01) -> T:
    """As :func:`until`, where nothing else runs in this process."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(pause)
    return found


async def soon(waiting: "asyncio.Future[T]") -> T:
    """What must happen at last. Raises TimeoutError after PATIENCE."""
    return await asyncio.wait_for(waiting, PATIENCE)


async def wait_on(*waiting: "asyncio.Future[Any]") -> None:
    """Assert that these do not end. What must not happen has no event: a moment must do."""
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
