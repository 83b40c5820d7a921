"""The facts of an index as a table that is looked up where it lies, in memory or in a file.

A client wants one fact of sixty thousand, and to read them all would hold up every other client. So a table has

* ``MAGIC``, the number of rows, and the CRC-32 of the next two,
* the hashes of the rows' paths, sorted, 8 bytes each,
* where each row begins, and where the last one ends, 4 bytes each,
* the rows: the CRC-32 of a fact, and the fact as JSON,

numbers as the machine writes them. Of a file the hashes and places are in memory, the rows are read one by one.
It is not mapped: a disk that fails under a mapping ends the process.
"""

import os
import struct
import weakref
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path

from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_core.registry import from_json, to_json

MAGIC = b"dpmfacts"

SMALL = 256 * 1024
"""A file up to so many bytes is read whole, and closed."""

_HEAD = struct.Struct("=8sII")
_CRC = struct.Struct("=I")

Read = Callable[[int, int], bytes]
"""Up to so many bytes (second) from an offset (first), fewer at the end. Raises OSError."""


class Damaged(Exception):
    """It is no such table, or not the one that was written."""


def encode(facts: Iterable[Fact]) -> bytes:
    """The table of ``facts``; of several with one path the last one counts."""
    rows = {fact.path: to_json(fact) for fact in facts}
    hashed = sorted((_hash(path), row) for path, row in rows.items())
    count = len(hashed)
    hashes = struct.pack(f"={count}Q", *(each for each, _ in hashed))
    first = _HEAD.size + 12 * count + 4
    places = accumulate((len(row) + _CRC.size for _, row in hashed), initial=first)
    arrays = hashes + struct.pack(f"={count + 1}I", *places)
    written = [part for _, row in hashed for part in (_CRC.pack(zlib.crc32(row)), row)]
    return b"".join((_HEAD.pack(MAGIC, count, zlib.crc32(arrays)), arrays, *written))


class Table:
    """Facts by path. ``weight`` is what it takes of memory, in bytes, and more where a file is open for it."""

    def __init__(self, read: Read, weight: int) -> None:
        """Raises Damaged, OSError."""
        self._read = read
        head = read(0, _HEAD.size)
        if len(head) != _HEAD.size:
            raise Damaged
        magic, count, crc = _HEAD.unpack(head)
        arrays = read(_HEAD.size, 12 * count + 4) if magic == MAGIC else b""
        if len(arrays) != 12 * count + 4 or zlib.crc32(arrays) != crc:
            raise Damaged
        self._hashes = memoryview(arrays)[: 8 * count].cast("Q")
        self._places = memoryview(arrays)[8 * count :].cast("I")
        self.weight = weight + len(arrays)

    @classmethod
    def of(cls, encoded: bytes) -> "Table":
        """A table in memory. Raises Damaged."""
        return cls(lambda offset, size: encoded[offset : offset + size], len(encoded))

    @classmethod
    def open(cls, path: Path) -> "Table":
        """A table in a file, which is kept open if it is large. Raises Damaged, OSError."""
        file = os.open(path, os.O_RDONLY)
        if os.fstat(file).st_size <= SMALL:
            with closing(os.fdopen(file, "rb", buffering=0)) as whole:
                return cls.of(whole.read(SMALL))
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
            table = cls(lambda offset, size: os.pread(file, size, offset), SMALL)
        except BaseException:
            os.close(file)
            raise
        weakref.finalize(table, os.close, file)
        return table

    def __len__(self) -> int:
        return len(self._hashes)

    def __iter__(self) -> Iterator[Fact]:
        """All facts, in no order. Raises Damaged, OSError."""
        return (self._fact(row) for row in range(len(self)))

    def get(self, path: str) -> Fact | None:
        """The fact of the file at ``path``. Raises Damaged, OSError."""
        wanted = _hash(path)
        row = bisect_left(self._hashes, wanted)
        while row < len(self) and self._hashes[row] == wanted:
            fact = self._fact(row)
            if fact.path == path:
                return fact
            row += 1
        return None

    def _fact(self, row: int) -> Fact:
        begin, end = self._places[row], self._places[row + 1]
        read = self._read(begin, end - begin)
        if len(read) < _CRC.size or _CRC.unpack_from(read)[0] != zlib.crc32(read[_CRC.size :]):
            raise Damaged
        try:
            return from_json(read[_CRC.size :], Fact)
        except Invalid as error:
            raise Damaged from error


def _hash(path: str) -> int:
    return int.from_bytes(blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
