"""What stands behind an open file: each answers reads in its own way."""

import asyncio
import errno
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from dpm_core.errors import AttemptFailed, AttemptLost, Untrusted
from dpm_core.ports import Body, Growing

SLICE_SECONDS = 2.0
"""How long a read of a growing file that was opened O_NONBLOCK waits before it ends with EAGAIN.

A read that waits inside the kernel holds its process even after SIGKILL. A reader that asks again and again
can go, and everybody else simply waits.
"""


class Kind(StrEnum):
    """By which name a file was opened."""

    CID = "cid"
    SHA256 = "sha256"
    INCOMING = "incoming"


class Counted(Protocol):
    """Where handles say what they did."""

    def read(self, kind: Kind, size: int, *, reads: int = 1) -> None:
        """A read of so many bytes was answered."""

    def waits(self, more: int) -> None:
        """So many more (or fewer) reads of growing files are under way."""


class Handle(Protocol):
    """An open file."""

    direct: bool
    """Whether each read reaches us, past the page cache."""

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from ``offset``; none at the end. Raises OSError with the errno for the reader."""

    def close(self) -> None:
        """The last reader has gone."""


class Fixed:
    """A few bytes as they were when the file was opened."""

    direct = True

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, offset: int, size: int) -> bytes:
        """The bytes."""
        return self._content[offset : offset + size]

    def close(self) -> None:
        """Nothing to let go of."""


class BlobFile:
    """A finished blob, each leaf checked when it comes from the disk; then the kernel's page cache has it."""

    direct = False

    def __init__(self, kind: Kind, body: Body, counted: Counted, mismatch: Callable[[int, str], None]) -> None:
        self._kind, self._body = kind, body
        self._counted, self._mismatch = counted, mismatch

    async def read(self, offset: int, size: int) -> bytes:
        """Verified bytes. Raises EIO, and tells, if the disk lies."""
        try:
            data = await self._body.read(offset, size)
        except Untrusted as error:
            self._mismatch(offset, str(error))
            raise OSError(errno.EIO, str(error)) from error
        self._counted.read(self._kind, len(data))
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._body.close()


class GrowingData:
    """The bytes of an attempt, while they come. Past the page cache, or one stalled file would stop all."""

    direct = True

    def __init__(self, growing: Growing, flags: int, counted: Counted) -> None:
        self._growing = growing
        self._slice = SLICE_SECONDS if flags & os.O_NONBLOCK else None
        self._counted = counted

    async def read(self, offset: int, size: int) -> bytes:
        """At least one byte, nothing only at the verified end.

        Raises EIO for a failed attempt, ESTALE for a lost one, EAGAIN as SLICE_SECONDS says.
        """
        self._counted.waits(+1)
        try:
            async with asyncio.timeout(self._slice):
                data = await self._growing.read(offset, size)
        except TimeoutError:
            raise OSError(errno.EAGAIN, "nothing came") from None
        except AttemptFailed as error:
            raise OSError(errno.EIO, str(error)) from error
        except AttemptLost as error:
            raise OSError(errno.ESTALE, str(error)) from error
        finally:
            self._counted.waits(-1)
        self._counted.read(Kind.INCOMING, len(data))
        return data

    def close(self) -> None:
        """Let go of the attempt."""
        self._growing.close()
