"""System calls below the mount, in threads that can be spared, given up as soon as nobody answers behind it."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dpm_core.errors import Unavailable
from dpm_runtime.daemon_pool import DaemonPool
from dpm_runtime.disk import Descriptor
from dpm_runtime.meters import Kind, counter, observed
from dpm_runtime.mount_health import PATIENCE, MountHealth

READERS = 32
"""Threads for reads that never wait for bytes still to come."""

WAITERS = 256
"""Threads for reads at the frontier of growing files: one an attempt."""

_bypasses = counter(
    "dpm.fuse.bypass", "{read}", "opens and reads answered from the store because the mount was away"
)
_suspect = observed(
    "dpm.fuse.suspect", Kind.GAUGE, "{mount}", "mounts that do not answer, so that reads go past them: 0 or 1"
)

T = TypeVar("T")


class MountAway(Exception):
    """Nobody answers behind the mount: read from the store."""


@dataclass(frozen=True)
class MountFile:
    """An open file below the mount, its size in bytes, and the era it was opened in: it is good for no other."""

    descriptor: Descriptor
    size: int
    era: int


class MountReads:
    """Opens and reads below the mount, off the event loop.

    ``bypasses`` counts what was read from the store in the mount's stead; it is 0 while all is well.
    """

    def __init__(self, mount: Path) -> None:
        self.path = mount
        self.health = MountHealth(mount)
        self.bypasses = 0
        _bypasses.add(0)  # shown as 0, and not missing
        self._observing = contextlib.ExitStack()
        self._observing.enter_context(_suspect.by(lambda: [(int(self.health.suspect), {})]))
        self._closed = False
        self._new_pools()

    def _new_pools(self) -> None:
        self._era = self.health.era
        self._readers, self._waiters = DaemonPool("mount-read", READERS), DaemonPool("mount-wait", WAITERS)

    async def open(self, path: Path, flags: int = 0) -> MountFile:
        """Open to read, with ``flags`` besides. Raises MountAway, OSError."""
        era = self.health.era
        return await self.run(lambda: _opened(path, flags, era), unwanted=lambda file: file.descriptor.close())

    async def load(self, path: Path, most: int) -> MountFile | bytes:
        """The bytes of a finished file if they are not more than ``most``, else the open file.

        One change of threads for a small file, where opening, reading and closing would be three. Raises
        MountAway, OSError.
        """
        era = self.health.era

        def work() -> MountFile | bytes:
            file = _opened(path, 0, era)
            if file.size > most:
                return file
            try:
                data = os.pread(file.descriptor.take(), file.size, 0)
            finally:
                file.descriptor.give_back()
                file.descriptor.close()
            if len(data) != file.size:
                raise OSError(errno.EIO, "a file below the mount ends early")
            return data

        def unwanted(loaded: MountFile | bytes) -> None:
            if isinstance(loaded, MountFile):
                loaded.descriptor.close()

        return await self.run(work, unwanted=unwanted)

    async def read(
        self,
        file: MountFile,
        offset: int,
        size: int,
        *,
        waits: bool = False,
        gone: asyncio.Future[None] | None = None,
    ) -> bytes:
        """What one read gives; ``waits`` says that it may take as long as it likes. As :meth:`run` besides."""

        def work() -> bytes:
            try:
                fd = file.descriptor.take()
            except Unavailable:  # closed by its reader, or its era is over
                raise MountAway from None
            try:
                return os.pread(fd, size, offset)
            finally:
                file.descriptor.give_back()

        return await self.run(work, waits=waits, gone=gone)

    async def run(
        self,
        work: Callable[[], T],
        *,
        waits: bool = False,
        unwanted: Callable[[T], None] | None = None,
        gone: asyncio.Future[None] | None = None,
    ) -> T:
        """Run ``work`` in a thread, for as long as somebody answers behind the mount.

        If it is given up, its result goes to ``unwanted`` when it comes. Raises MountAway, also once ``gone``
        is done, and what ``work`` raises.
        """
        if self.health.suspect or self._closed:
            raise MountAway
        if self._era != self.health.era:
            # threads of the era before may be stuck for good
            before = self._readers, self._waiters
            self._new_pools()
            for pool in before:
                pool.close()
        job = (self._waiters if waits else self._readers).submit(work)
        result: asyncio.Future[T] = asyncio.wrap_future(job)
        wanted: set[asyncio.Future[Any]] = {result} if gone is None else {result, gone}
        given_up = True
        try:
            while True:
                await asyncio.wait(wanted, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                if result.done() and not result.cancelled():
                    given_up = False
                    return result.result()
                if result.cancelled() or (gone is not None and gone.done()) or not await self.health.answers():
                    raise MountAway
        finally:
            result.cancel()
            if given_up and unwanted is not None:  # it may have come this very moment
                job.add_done_callback(lambda done: _discard(done, unwanted))

    def crowded(self) -> bool:
        """Whether others wait for a thread of those that never wait themselves."""
        return self._readers.crowded

    def bypassed(self) -> None:
        """Something was read from the store instead."""
        self.bypasses += 1
        _bypasses.add(1)

    def let_go(self, file: MountFile | None) -> None:
        """Close a file, in a thread: even that can hang."""
        if file is None:
            return
        close = file.descriptor.close
        try:
            job = self._readers.submit(close)
        except RuntimeError:  # the pools are closed
            threading.Thread(target=close, name="mount-close", daemon=True).start()
        else:  # of a pool whose threads are stuck it goes on to the next one
            job.add_done_callback(lambda done: self.let_go(file) if done.cancelled() else None)

    def close(self) -> None:
        """Take no more work. Waits for nothing: a read that is stuck stays so."""
        self._closed = True
        self._observing.close()
        self.health.close()
        self._readers.close()
        self._waiters.close()


def _opened(path: Path, flags: int, era: int) -> MountFile:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        return MountFile(Descriptor(fd), os.fstat(fd).st_size, era)
    except BaseException:
        os.close(fd)
        raise


def _discard(done: "Future[T]", unwanted: Callable[[T], None]) -> None:
    with contextlib.suppress(Exception):
        if not done.cancelled():
            unwanted(done.result())
