"""Waiting in tests: for what has no event of its own, and never for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for what must happen at last; wide, so that a busy machine fails no test."""


async def until(condition: Callable[[], T | None], *, pause: float = 0.0) -> T:
    """Look until ``condition`` gives something true, and return it. Raises TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while not (found := condition()):  # noqa: ASYNC110 - this is the one place for it
            await asyncio.sleep(pause)
        return found


async def eventually(condition: Callable[[], Awaitable[T | None]], *, pause: float = 0.0) -> T:
    """As :func:`until`, where looking itself takes waiting."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(pause)
        return found
