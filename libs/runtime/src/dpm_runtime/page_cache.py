"""Whether bytes of a file are in the system's memory, so that nobody behind it is asked for them."""

import ctypes
import mmap
import os
from functools import cache
from typing import Any

_CACHESTAT = 451
"""The number of the call (cachestat(2), Linux 6.5) on nearly all machines; others have no call of this number."""


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writing", "evicted", "lately"))


def in_memory(fd: int, offset: int, size: int) -> bool:
    """Whether ``size`` bytes from ``offset`` can be read at once; no if that cannot be told.

    What is just being read from the file counts as in memory too; but not if the last of the bytes is part of it,
    as where somebody reads the file from its beginning, and has not come further. Raises OSError.
    """
    libc, counts = _libc(), _Counts()
    if libc is None:
        return False
    start = offset - offset % mmap.PAGESIZE
    pages = -(-(offset + size - start) // mmap.PAGESIZE)
    asked = _Range(start, pages * mmap.PAGESIZE)
    if libc.syscall(_CACHESTAT, fd, ctypes.byref(asked), ctypes.byref(counts), 0) != 0:
        return False
    return bool(counts.cached >= pages) and _read(libc, fd, start + (pages - 1) * mmap.PAGESIZE)


def _read(libc: Any, fd: int, page: int) -> bool:
    """Whether a page is not only there, but has been read (mincore(2)).

    It is mapped for a moment, and not touched. Of another user's file the system says that all is there.
    """
    if os.fstat(fd).st_uid != os.geteuid():
        return False
    address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, fd, page)
    if address == ctypes.c_void_p(-1).value:
        return False
    there = ctypes.create_string_buffer(1)
    try:
        return bool(libc.mincore(address, mmap.PAGESIZE, there) == 0 and there.raw == b"\x01")
    finally:
        libc.munmap(address, mmap.PAGESIZE)


@cache
def _libc() -> Any:
    """The system's library, None if it has no such calls."""
    try:
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        libc.mmap.argtypes = (pointer, size, number, number, number, ctypes.c_long)
        libc.munmap.argtypes = (pointer, size)
        libc.mincore.argtypes = (pointer, size, ctypes.c_char_p)
        libc.syscall.argtypes = (ctypes.c_long, number, pointer, pointer, ctypes.c_uint)
    except (AttributeError, OSError, TypeError):
        return None
    return libc
