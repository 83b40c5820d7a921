"""Files that grow: waiting, withholding and the verdict on an attempt live here and only here."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from dpm_core.attempts import AttemptState, Failure, Phase, readable
from dpm_core.cids import Cid
from dpm_core.errors import AttemptFailed, AttemptLost, Invalid, TooNew
from dpm_core.events import FailReason
from dpm_core.ports import Body
from dpm_runtime.attempt_files import state_of
from dpm_runtime.disk import Descriptor, DiskThreads, disk_errors
from dpm_runtime.growth_watch import GrowthWatch, Watching
from dpm_runtime.layout import DATA, LOCK, STATE, tokens
from dpm_runtime.ofd_lock import OfdLock

LOOK_AGAIN = (0.0005, 0.005, 0.05, 0.25)
"""Seconds after a close of the lock file at which to look again.

The kernel tells of a close just before it drops the lock, so the first look may come too early.
"""

OpenBlob = Callable[[Cid], Awaitable[Body | None]]


class Growth:
    """What this process knows of one attempt, shared by all who read it here: one descriptor, one watch."""

    def __init__(self, folder: Path, state: AttemptState, threads: DiskThreads, open_blob: OpenBlob) -> None:
        self.state = state
        self.lost: str | None = None
        self._folder = folder
        self._token = int(folder.name)
        self._threads = threads
        self._open_blob = open_blob
        self._written = 0
        self._complete = False
        self._stamp: tuple[int, int] | None = None
        self._changed = asyncio.Event()
        self._watching: Watching | None = None
        self._data: Descriptor | None = None
        self._body: Body | None = None
        self._opening_blob = asyncio.Lock()

    @classmethod
    def open(cls, folder: Path, watch: GrowthWatch, threads: DiskThreads, open_blob: OpenBlob) -> "Growth | None":
        """Begin to watch the attempt in ``folder``; None if it is gone. Raises OSError."""
        if not folder.is_dir():
            return None
        growth = cls(folder, AttemptState(), threads, open_blob)
        # watched before the first look, or what happens in between would wait for the poll
        growth._watching = watch.watch((folder, folder.parent), growth.told)
        try:
            growth._data = Descriptor.open(folder / DATA)
        except FileNotFoundError:
            pass  # stored, or adopted by a successor: the state says which
        except OSError:
            growth.close()
            raise
        growth.refresh()
        return growth

    @property
    def frontier(self) -> int:
        """How many bytes may be read now."""
        return 0 if self.lost else readable(self.state, self._written)

    @property
    def settled(self) -> bool:
        """Whether nothing will change any more."""
        return self.state.over or self.lost is not None

    def told(self, name: str | None) -> None:
        """Hear that ``name`` changed in the attempt's folder or beside it; None: anything may have."""
        if self.settled:
            return
        if name == DATA:
            self._if_changed(self._measure)
        elif name in (STATE, None) or (name is not None and name.isdecimal()):
            self.refresh()
        elif name == LOCK:
            self.refresh()
            for delay in LOOK_AGAIN:
                asyncio.get_running_loop().call_later(delay, self.refresh)

    def refresh(self) -> None:
        """Look at all there is to see. Cheap, but a few system calls. Raises OSError."""
        if not self.settled:
            self._if_changed(self._look)

    def _if_changed(self, look: Callable[[], None]) -> None:
        before = (self.frontier, self.state.phase, self.lost)
        look()
        if before != (self.frontier, self.state.phase, self.lost):
            self.wake()
        if self.settled and self._watching is not None:
            self._watching.close()

    def _look(self) -> None:
        # the lock first: a writer publishes its last state before it lets go, so a state read afterwards is final
        alive = OfdLock.held(self._folder / LOCK)
        successor = max(tokens(self._folder.parent), default=0) > self._token
        self._read_state()
        self._measure()
        if self.state.over:
            return
        if successor:
            self.lost = "a newer attempt has replaced this one"
        elif not alive:
            self.lost = "the writer of this attempt has died"

    def _read_state(self) -> None:
        try:
            with (self._folder / STATE).open("rb") as file:
                status = os.fstat(file.fileno())
                stamp = (status.st_ino, status.st_mtime_ns)
                if stamp == self._stamp:
                    return
                self.state = state_of(file.read(), self._folder)
                self._stamp = stamp
        except FileNotFoundError:
            pass  # swept away: what was known last stays
        except (Invalid, TooNew) as error:
            self.lost = f"the state of this attempt cannot be read: {error}"

    def _measure(self) -> None:
        if self._data is not None:
            self._written = self._data.size()
        if self.state.phase is Phase.VERIFIED:
            self._complete = self._data is not None and self._written == self.state.length
            self._written = self.state.length or 0

    def wake(self) -> None:
        """Let all who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next change. Nothing is missed by who looks and then waits without awaiting between."""
        await self._changed.wait()

    def fail(self, why: str) -> None:
        """Give the attempt up as lost here, unless it is over already."""
        if not self.settled:
            self.lost = why
            self.wake()

    async def fetch(self, offset: int, size: int) -> bytes:
        """Bytes below the frontier. Raises AttemptLost if they have left the disk, Unavailable, Untrusted."""
        if self.state.phase is Phase.VERIFIED and not self._complete:
            return await (await self._blob()).read(offset, size)
        if self._data is None:
            raise AttemptLost("the bytes of this attempt are gone")
        with disk_errors("read what was fetched"):
            return await self._threads.with_file(self._data, lambda fd: os.pread(fd, size, offset))

    async def _blob(self) -> Body:
        # upstream confirmed what is held, or the bytes were stored before this process came to see them
        async with self._opening_blob:
            if self._body is None:
                self._body = None if self.state.cid is None else await self._open_blob(self.state.cid)
            if self._body is None:
                raise AttemptLost("the blob of this attempt has left the store")
            return self._body

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self.fail("its reader has closed it")
        if self._watching is not None:
            self._watching.close()
        if self._data is not None:
            self._data.close()
        if self._body is not None:
            self._body.close()


class GrowingFile:
    """Port Growing over an attempt's folder. Made by ``DiskBlobStore.follow``."""

    def __init__(self, growth: Growth, leave: Callable[[], None]) -> None:
        self._growth = growth
        self._leave = leave
        self._closed = False

    @property
    def state(self) -> AttemptState:
        """The attempt's state as last seen, without waiting."""
        return self._growth.state

    def readable(self) -> int:
        """How many bytes may be read now without waiting; 0 for a failed or lost attempt."""
        return self._growth.frontier

    async def opened(self) -> AttemptState:
        """Wait until a byte may be read or the attempt is over, and return its state then.

        Raises AttemptLost if its writer has died or was replaced.
        """
        while True:
            self._check_lost()
            if self._growth.state.over or self._growth.frontier > 0:
                return self._growth.state
            await self._growth.changed()

    async def read(self, offset: int, size: int) -> bytes:
        """At least one byte from ``offset``, waiting for it if need be; nothing only at the verified end.

        A read across the frontier returns the short part at once. Raises AttemptFailed (its ``failure`` says
        why), AttemptLost; Unavailable or Untrusted if the disk cannot give what it has.
        """
        while True:
            self._check_lost()
            state, frontier = self._growth.state, self._growth.frontier
            if state.phase is Phase.FAILED:
                raise AttemptFailed(_failure(state))
            if offset < frontier:
                data = await self._growth.fetch(offset, min(size, frontier - offset))
                if data or size <= 0:
                    return data
                self._recheck(offset)
            elif state.phase is Phase.VERIFIED:
                return b""
            else:
                await self._growth.changed()

    def _check_lost(self) -> None:
        if self._closed:
            raise AttemptLost("read of a closed file")
        if self._growth.lost is not None:
            raise AttemptLost(self._growth.lost)

    def _recheck(self, offset: int) -> None:
        # fewer bytes than were seen: emptied by its writer, who says why, or the disk has lost them
        self._growth.refresh()
        if self._growth.state.phase is Phase.VERIFIED or self._growth.frontier > offset:
            raise AttemptLost("bytes of this attempt have gone")

    def close(self) -> None:
        """Let go of it; may be called twice. A read that waits ends with AttemptLost."""
        if not self._closed:
            self._closed = True
            self._growth.wake()
            self._leave()


def _failure(state: AttemptState) -> Failure:
    return state.failure or Failure(FailReason.UNAVAILABLE, "the fetch failed")
