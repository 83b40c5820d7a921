"""A process beside the gateway for what would hold up its clients: to read an index, to render it."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from dpm_core.errors import Unavailable

IDLE_SECONDS = 60.0
"""A process that has had no work for so long ends: one that has read a large index has a hundred MB."""

V = TypeVar("V")
Args = TypeVarTuple("Args")


class Worker:
    """One process, begun when there is work, and ended when there has been none for a while.

    It does one thing after the other. ``nice``: by how much it stands back for others (nice(2)).
    """

    def __init__(self, *, nice: int = 0, idle_seconds: float = IDLE_SECONDS) -> None:
        self._nice = nice
        self._idle_seconds = idle_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._busy = 0
        self._end: asyncio.TimerHandle | None = None

    async def run(self, work: Callable[[Unpack[Args]], V], *args: *Args) -> V:
        """What ``work`` gives or raises there. Raises Unavailable if the process dies."""
        pool = self._pool
        if pool is None:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(self._nice,))
            self._pool = pool
        if self._end is not None:
            self._end.cancel()
            self._end = None
        self._busy += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(pool, work, *args)
        except BrokenProcessPool as error:
            if self._pool is pool:  # who notices first
                self._pool = None
            raise Unavailable("the worker for indexes died", retry_after=1.0) from error
        finally:
            self._busy -= 1
            if not self._busy:
                self._end = loop.call_later(self._idle_seconds, self.close)

    def close(self) -> None:
        """End the process; what it has not begun is given up."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


@asynccontextmanager
async def handed(parts: Sequence[bytes]) -> AsyncIterator[Path]:
    """Where another process of this user reads ``parts``, for as long as the context lasts.

    To pickle them would hold up all clients meanwhile: a tenth of a second for an index of 50 MB.
    """
    with os.fdopen(os.memfd_create("index"), "wb", buffering=0) as file:
        await asyncio.to_thread(_write, file, parts)
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


def _write(file: RawIOBase, parts: Sequence[bytes]) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[file.write(left) :]


def _begin(nice: int) -> None:
    """A worker whose gateway was killed would wait for work for ever; it also leaves Ctrl-C to its gateway."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):  # only Linux has prctl
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    with suppress(OSError):
        os.nice(nice)
