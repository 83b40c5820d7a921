"""Disk work beside an event loop: threads of its own, descriptors that are in use there, errors it can have."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from dpm_core.errors import DiskFails, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16
"""Threads of a store: more than cores, since most of their time is the disk's."""

RETRY_SECONDS = 30.0
"""After so many, whoever was refused may try again: room is made in half the time."""

MAKE_ROOM = "free space on the node's disk, or have its store take less: dpm gc --down-to SIZE"
LOOK_AFTER = "look at the health of the node's disk, and at what the kernel says of it: dmesg"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FAILING = frozenset({errno.EIO, errno.EROFS})


@dataclass(frozen=True)
class Space:
    """A disk: its size and what may still be written by who has no privileges, in bytes."""

    total: int
    free: int

    @classmethod
    def of(cls, path: Path) -> "Space":
        """The disk that ``path`` is on. Raises OSError."""
        found = os.statvfs(path)
        return cls(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


@dataclass(frozen=True)
class Floor:
    """So many ``bytes`` of the disk that ``folder`` is on are left free."""

    folder: Path
    bytes: int

    def require(self, size: int = 0) -> None:
        """See that there is room for ``size`` bytes above it. Raises OSError, ENOSPC if there is not."""
        if Space.of(self.folder).free < self.bytes + size:
            kept = f" but for {self.bytes // 2**20} MiB that are left to the log" if self.bytes else ""
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC) + kept)


class Descriptor:
    """A file descriptor that threads share: it is closed once the last of them is done with it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._users = 1
        self._closed = False
        self._guard = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> "Descriptor":
        """Open a file to read. Raises OSError."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def take(self) -> int:
        """The number, which stays open until ``give_back``. Raises Unavailable once closed."""
        with self._guard:
            if self._closed:
                raise Unavailable("read of a closed file")
            self._users += 1
            return self._fd

    def give_back(self) -> None:
        """Done with what ``take`` gave."""
        with self._guard:
            self._users -= 1
            last = self._users == 0
        if last:
            os.close(self._fd)

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Nobody may take it any more; may be called twice."""
        with self._guard:
            again, self._closed = self._closed, True
        if not again:
            self.give_back()


class DiskThreads:
    """The threads in which a store's disk work runs."""

    def __init__(self) -> None:
        self._closed = False
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="dpm-store")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread. It is always finished, even if the caller is cancelled meanwhile."""
        return await asyncio.shield(self.begin(work, *args, **kwargs))

    def begin(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Start ``work`` in a thread; the future must not be cancelled. Raises Unavailable once closed."""
        if self._closed:
            raise Unavailable("this store is closed")
        return asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))

    async def with_file(self, file: Descriptor, work: Callable[[int], T]) -> T:
        """Run ``work`` on a descriptor that stays open meanwhile. Raises Unavailable if it is closed already."""
        return await asyncio.shield(self.begin_with_file(file, work))

    def begin_with_file(self, file: Descriptor, work: Callable[[int], T]) -> asyncio.Future[T]:
        """Start ``work`` on a descriptor, as ``with_file``; the future must not be cancelled."""
        fd = file.take()

        def held() -> T:
            try:
                return work(fd)
            finally:
                file.give_back()

        try:
            return self.begin(held)
        except Unavailable:
            file.give_back()
            raise

    async def close(self) -> None:
        """Let the threads finish what they have, and end them."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what the disk refuses into Unavailable, DiskFails where it is full or fails; ``what`` was tried."""
    try:
        yield
    except OSError as error:
        said = f"cannot {what}: {error.strerror or error}"
        if error.errno in _FULL:
            raise full_disk(said) from error
        if error.errno in _FAILING:
            raise DiskFails(said, retry_after=RETRY_SECONDS, advice=LOOK_AFTER, lasting=True) from error
        raise Unavailable(said, retry_after=RETRY_SECONDS, advice="see whether the home can be used") from error


def full_disk(what: str) -> DiskFails:
    """The error of a disk that has no room."""
    return DiskFails(what, retry_after=RETRY_SECONDS, advice=MAKE_ROOM)


def sync_folder(path: Path) -> None:
    """Make names that were added to a folder safe against power loss. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, body: bytes, *, temporary: Path, safe: bool) -> None:
    """Replace a file as a whole by way of ``temporary``, on the same disk; ``safe`` against power loss too.

    Raises OSError; the old file stays then.
    """
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, body, 0)
        if safe:
            os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``. Raises OSError; a part may be written then."""
    view = memoryview(data)
    while len(view) > 0:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
