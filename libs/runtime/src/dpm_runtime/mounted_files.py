"""Open files below the mount that go on from the store, at the same offset, while nobody answers there."""

import asyncio
import contextlib
import errno
import os

from dpm_core.attempts import AttemptState, Failure, Phase
from dpm_core.cids import Cid
from dpm_core.errors import AttemptFailed, AttemptLost, Unavailable
from dpm_core.events import FailReason
from dpm_core.ports import Body, Growing
from dpm_runtime.mount_reads import MountAway, MountFile, MountReads
from dpm_runtime.outlet import Outlet
from dpm_runtime.store import DiskBlobStore

MOST_GROWING = 512 * 1024
"""Bytes that one read of a growing file asks for at most.

The kernel makes several requests of a large one. The second would wait at the frontier, and hold back what
the first has brought.
"""


class _Reopened:
    """A file below the mount that is opened anew once the mount it came from may be dead."""

    def __init__(self, mount: MountReads, path: str, flags: int, file: MountFile | None) -> None:
        self._mount, self._path, self._flags, self._file = mount, path, flags, file
        self._closed = False

    async def get(self) -> MountFile:
        """The open file. Raises MountAway, OSError."""
        if self._file is None or self._file.era != self._mount.health.era:
            old, self._file = self._file, None
            self._mount.let_go(old)
            file = await self._mount.open(self._mount.path / self._path, self._flags)
            if self._closed or self._file is not None:  # closed, or opened by another read, meanwhile
                self._mount.let_go(file)
            else:
                self._file = file
        if self._file is None:
            raise MountAway
        return self._file

    def close(self) -> None:
        self._closed = True
        file, self._file = self._file, None
        self._mount.let_go(file)


class LoadedBody:
    """Port Body of a small blob that was read whole when it was opened."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data
        self._closed = False

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``, fewer only at the end. Raises ValueError once closed."""
        return self.part(offset, offset + size)

    def part(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``, at once. Raises ValueError once closed."""
        if self._closed:
            raise ValueError("read of a closed file")
        return self._data[start:end]

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self._closed = True


class MountedBody:
    """Port Body of a blob below the mount, or of the same blob in the store."""

    def __init__(
        self,
        mount: MountReads,
        store: DiskBlobStore,
        cid: Cid,
        size: int,
        *,
        file: MountFile | None = None,
        body: Body | None = None,
    ) -> None:
        self.size = size
        self._mount, self._store, self._cid = mount, store, cid
        self._file = _Reopened(mount, f"cid/{cid}", 0, file)
        self._body = body
        self._closed = False

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``, fewer only at the end.

        Raises Untrusted if the disk lies, Unavailable if the blob has left the store, ValueError once closed.
        """
        if self._closed:
            raise ValueError("read of a closed file")
        end = min(offset + size, self.size)
        parts: list[bytes] = []
        while offset < end:
            parts.append(await self._part(offset, end - offset))
            offset += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pour(self, outlet: Outlet, offset: int, size: int) -> int:
        """Send bytes from ``offset`` by the shortest way; returns how many went, the others are to be read.

        Raises ConnectionError if the client has gone, ValueError once closed.
        """
        if self._closed:
            raise ValueError("read of a closed file")
        try:
            file = await self._file.get()
        except (MountAway, OSError):
            return 0
        return await outlet.pour(file.descriptor, offset, size, self._mount.run, self._mount.crowded)

    async def _part(self, offset: int, size: int) -> bytes:
        try:
            data = await self._mount.read(await self._file.get(), offset, size)
        except MountAway:
            return await self._from_store(offset, size)
        except OSError:
            data = b""
        if data:
            return data
        # an error, or an end that comes too early: if the store has the bytes, the mount is wrong
        data = await self._from_store(offset, size)
        self._mount.health.doubt()
        return data

    async def _from_store(self, offset: int, size: int) -> bytes:
        if self._body is None:
            body = await self._store.open(self._cid)
            if body is None:
                raise Unavailable(f"blob {self._cid} has left the store")
            if self._closed or self._body is not None:
                body.close()
            else:
                self._body = body
        if self._closed or self._body is None:
            raise ValueError("read of a closed file")
        data = await self._body.read(offset, size)
        if not data:
            raise Unavailable(f"blob {self._cid} ends before its size")
        self._mount.bypassed()
        return data

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self._closed = True
        self._file.close()
        if self._body is not None:
            self._body.close()


class MountedGrowing:
    """Port Growing of an attempt below the mount, or of the same attempt in the store."""

    def __init__(
        self,
        mount: MountReads,
        store: DiskBlobStore,
        artifact_id: str,
        token: int,
        *,
        file: MountFile | None = None,
        growing: Growing | None = None,
    ) -> None:
        self._mount, self._store = mount, store
        self._artifact_id, self._token = artifact_id, token
        # a read that waits ends now and then with EAGAIN: one that never ends would outlive even this process
        self._file = _Reopened(mount, f"incoming/{artifact_id}/{token}/data", os.O_NONBLOCK, file)
        self._growing = growing
        self._seen = 0
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def opened(self) -> AttemptState:
        """Wait until a byte may be read or the attempt is over, and return its state then.

        Raises AttemptLost if its writer has died or was replaced.
        """
        with contextlib.suppress(AttemptFailed):
            await self.read(0, 1)
        state = self._state()
        if state is None:
            raise AttemptLost("the folder of this attempt has gone")
        return state

    async def read(self, offset: int, size: int) -> bytes:
        """At least one byte from ``offset``, waiting for it if need be; nothing only at the verified end.

        Raises AttemptFailed, AttemptLost; Unavailable or Untrusted if the disk cannot give what it has.
        """
        while not self._gone.done():
            try:
                waits = offset >= self._seen
                file = await self._file.get()
                data = await self._mount.read(file, offset, min(size, MOST_GROWING), waits=waits, gone=self._gone)
            except BlockingIOError:
                continue
            except MountAway:
                break
            except OSError as error:
                self._judge(error)
                break
            self._seen = max(self._seen, offset + len(data))
            return data
        return await self._from_store(offset, size)

    def _judge(self, error: OSError) -> None:
        if error.errno == errno.ESTALE:
            raise AttemptLost("the writer of this attempt has died, or was replaced") from error
        state = self._state() if error.errno == errno.EIO else None
        if state is not None and state.phase is Phase.FAILED:
            raise AttemptFailed(state.failure or Failure(FailReason.UNAVAILABLE, "the fetch failed")) from error
        self._mount.health.doubt()

    def _state(self) -> AttemptState | None:
        view = self._store.view(self._artifact_id, self._token)
        return None if view is None else view.state

    async def _from_store(self, offset: int, size: int) -> bytes:
        if self._growing is None and not self._gone.done():
            growing = await self._store.follow(self._artifact_id, self._token)
            if growing is None:
                raise AttemptLost("the folder of this attempt has gone")
            if self._gone.done() or self._growing is not None:
                growing.close()
            else:
                self._growing = growing
        if self._gone.done() or self._growing is None:
            raise AttemptLost("read of a closed file")
        data = await self._growing.read(offset, size)
        self._seen = max(self._seen, offset + len(data))
        self._mount.bypassed()
        return data

    def close(self) -> None:
        """Let go of it; may be called twice. A read that waits ends with AttemptLost."""
        if not self._gone.done():
            self._gone.set_result(None)
        self._file.close()
        if self._growing is not None:
            self._growing.close()
