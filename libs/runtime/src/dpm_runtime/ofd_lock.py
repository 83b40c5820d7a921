"""Locks of open file descriptions: seen across processes and containers, freed by the kernel when the holder dies.

``F_OFD_SETLK`` and ``F_OFD_GETLK`` of fcntl(2), on Linux. A lock belongs to the open file description, so two
threads of one process exclude each other as two processes do. A locked file is never replaced: a lock on a
file that has lost its name locks nothing.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from pathlib import Path

from dpm_core.errors import Conflict

# struct flock with 64-bit offsets, as Linux lays it out on 64-bit machines: type, whence, start, length, pid
_FLOCK = struct.Struct("hhxxxxqqixxxx")

# fcntl.F_OFD_* are missing from Pythons built against old headers; the numbers are the kernel's
_SETLK = getattr(fcntl, "F_OFD_SETLK", 37)
_GETLK = getattr(fcntl, "F_OFD_GETLK", 36)

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


def _flock(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


class OfdLock:
    """A write lock that is held until it is closed, or its process has died."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd: int | None = fd
        self.path = path

    @classmethod
    def acquire(cls, path: Path, *, create: bool = True) -> "OfdLock":
        """Take the lock on ``path`` now; with ``create`` the file is made (0600) if there is none.

        Raises Conflict if somebody holds it, FileNotFoundError if there is no file and none is to be made.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        try:
            fcntl.fcntl(fd, _SETLK, _flock(fcntl.F_WRLCK))
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise Conflict(f"{path.name} is locked by another writer") from None
            raise
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, path)

    @classmethod
    def acquire_within(cls, path: Path, seconds: float) -> "OfdLock":
        """Take the lock, waiting up to ``seconds``; blocks its thread. For critical sections of milliseconds.

        Raises Conflict if it is still held then.
        """
        deadline = time.monotonic() + seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return cls.acquire(path)
            except Conflict:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    @staticmethod
    def held(path: Path) -> bool:
        """Whether somebody, this process included, holds the lock. No file is no lock.

        Opens read-only, so that a query never looks like a writer's close to those who watch the folder.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            answer = fcntl.fcntl(fd, _GETLK, _flock(fcntl.F_WRLCK))
        finally:
            os.close(fd)
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Release the lock; may be called twice.

        Unlocks before it closes: the kernel tells watchers of a close before it drops the lock.
        """
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, _SETLK, _flock(fcntl.F_UNLCK))
        os.close(fd)

    def __enter__(self) -> "OfdLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
