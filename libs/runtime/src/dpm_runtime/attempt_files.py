"""An attempt on disk, as its writer has it and as anyone may see it: its lock, its data, its state."""

import asyncio
import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from dpm_core.artifacts import Blob, Want
from dpm_core.attempts import FORMAT, AttemptState, AttemptView, Phase
from dpm_core.cids import CHUNK, CidHasher
from dpm_core.digests import Digest, Hasher
from dpm_core.errors import Conflict, Invalid, Untrusted
from dpm_core.events import Source
from dpm_core.registry import from_file, to_json
from dpm_core.sidecars import Kept, Sidecar
from dpm_runtime.blob_files import BlobFiles
from dpm_runtime.disk import DiskThreads, Floor, disk_errors, replace_file, write_all
from dpm_runtime.home import Home
from dpm_runtime.layout import DATA, LOCK, STATE, Layout
from dpm_runtime.ofd_lock import OfdLock

P = ParamSpec("P")
T = TypeVar("T")


def read_state(folder: Path) -> AttemptState | None:
    """What an attempt's ``state.json`` says, None if there is none. Raises Invalid, TooNew, OSError."""
    try:
        return state_of((folder / STATE).read_bytes(), folder)
    except FileNotFoundError:
        return None


def state_of(body: bytes, folder: Path) -> AttemptState:
    """The state that the file in an attempt's folder holds. Raises Invalid, TooNew."""
    return from_file(body, AttemptState, f"the attempt {folder.parent.name}/{folder.name}", known=FORMAT)


def view_attempt(folder: Path, token: int) -> AttemptView | None:
    """An attempt as anyone may see it, None if it has no folder. Raises TooNew, OSError.

    Publishing a state counts as growth: a writer that syncs a large file is at work although no bytes come.
    """
    locked = OfdLock.held(folder / LOCK)
    try:
        state = read_state(folder)
        grown_at = (folder / STATE).stat().st_mtime
    except (FileNotFoundError, Invalid):
        return None
    if state is None:
        return None
    written = 0
    with contextlib.suppress(FileNotFoundError):  # stored, or adopted by a successor
        data = (folder / DATA).stat()
        written, grown_at = data.st_size, max(grown_at, data.st_mtime)
    if state.phase is Phase.VERIFIED:  # its bytes may be those of a blob that upstream confirmed
        written = state.length or 0
    return AttemptView(token, state, locked, written, grown_at)


def kept(want: Want, state: AttemptState, source: Source, token: int | None, now: float) -> Kept:
    """What a sidecar keeps of an artifact that is stored ``now`` (seconds since the epoch)."""
    return Kept(
        token or 0,
        now,
        want.ref,
        want.name,
        state.media_type,
        state.validators,
        source,
        want.vouched,
        want.fresh_for,
        want.private,
        state.fields,
    )


def attempts_under_way(home: Home) -> list[tuple[str, AttemptView]]:
    """Every attempt that has a living writer and no verdict yet, with its artifact's id.

    Raises TooNew, OSError.
    """
    layout = Layout(home)
    views = [
        (artifact_id, view_attempt(layout.attempt(artifact_id, token), token))
        for artifact_id in layout.artifact_ids()
        for token in layout.tokens(artifact_id)
    ]
    return [(artifact_id, view) for artifact_id, view in views if view and view.locked and not view.state.over]


def begin_attempt(
    layout: Layout, files: BlobFiles, threads: DiskThreads, want: Want, floor: Floor
) -> "DiskAttempt":
    """Make an attempt's folder, locked and not yet visible; it keeps above ``floor``. Raises OSError."""
    floor.require()
    parent = layout.artifact(want.ref.id)
    while True:
        folder = parent / f".{secrets.token_hex(8)}"
        parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # a sweep took the empty parent in between
            folder.mkdir(mode=0o700)
            break
    lock = OfdLock.acquire(folder / LOCK)
    try:
        fd = os.open(folder / DATA, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
        raise
    return DiskAttempt(layout, files, threads, want, folder, lock, fd, floor)


class DiskAttempt:
    """Port Attempt: ``incoming/<artifact-id>/<token>/``. Made by ``DiskBlobStore.begin``, used by one task."""

    def __init__(
        self,
        layout: Layout,
        files: BlobFiles,
        threads: DiskThreads,
        want: Want,
        folder: Path,
        lock: OfdLock,
        fd: int,
        floor: Floor,
    ) -> None:
        self._layout = layout
        self._files = files
        self._threads = threads
        self._want = want
        self._folder = folder
        self._lock = lock
        self._fd = fd
        self._floor = floor
        self._token: int | None = None
        self._over = False
        self._closed = False
        self._busy: asyncio.Future[object] | None = None
        self._forget()

    def _forget(self) -> None:
        self._size = 0
        self._hasher = Hasher(self._want.digests)
        self._cids = CidHasher()

    async def start(self, token: int, adopt: int | None = None) -> int:
        """Make the attempt visible under its token, going on from the data of the dead attempt ``adopt``.

        Returns how many bytes were adopted: 0 where that attempt lives, has failed or is gone. They are hashed
        again once the attempt can be seen, as opening. Raises Unavailable.
        """
        with disk_errors("start an attempt"):
            if adopt is None:
                return await self._in_thread(self._start, token)
            await self._in_thread(self._start, token, adopt)
            return await self._in_thread(self._hash_again)

    async def publish(self, state: AttemptState) -> None:
        """Let readers see this state. The first verdict stands: once over, what comes later is ignored.

        The bytes of a failed attempt go. Raises Unavailable.
        """
        with disk_errors("publish the state of an attempt"):
            await self._in_thread(self._publish, state)

    async def write(self, data: bytes) -> None:
        """Add the next bytes, hashing them in the same pass. Raises Unavailable if the disk cannot take them."""
        with disk_errors("write what was fetched"):
            await self._in_thread(self._write, data)

    async def restart(self) -> None:
        """Forget the bytes so far: what comes next is a body of its own. Only before anything was shown."""
        with disk_errors("empty an attempt"):
            await self._in_thread(self._empty)

    async def store(self, state: AttemptState, source: Source) -> tuple[Blob, AttemptState]:
        """Verify all digests, publish the verified state, and make the bytes a blob, safe against power loss.

        ``source`` gave the bytes. Raises Untrusted if a digest or the length differs: the data is emptied then.
        Raises Unavailable if the disk cannot take it; readers still have the bytes then, which were right, until
        the attempt is swept.
        """
        with disk_errors("store what was fetched"):
            return await self._in_thread(self._store, state, source)

    async def close(self) -> None:
        """Release the lock, after what a cancelled call left to do. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._token is None or (self._busy is not None and not self._busy.done()):
            await self._in_thread(self._close)
        else:  # a few system calls that wait for no disk
            self._close()

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        # a call that was cancelled goes on in its thread: nothing may overtake it
        while self._busy is not None and not self._busy.done():
            await asyncio.wait([self._busy])
        future = self._threads.begin(work, *args, **kwargs)
        self._busy = future  # type: ignore[assignment]
        return await asyncio.shield(future)

    def _start(self, token: int, adopt: int | None = None) -> int:
        self._write_state(AttemptState())
        visible = self._layout.attempt(self._want.ref.id, token)
        # the dead attempt's lock is held until its successor can be seen: its readers look for one when it goes
        with contextlib.ExitStack() as dead:
            if adopt is not None:
                self._adopt(self._layout.attempt(self._want.ref.id, adopt), dead)
            self._folder.rename(visible)
        self._folder, self._token = visible, token
        return 0

    def _adopt(self, folder: Path, dead: contextlib.ExitStack) -> None:
        try:
            dead.enter_context(OfdLock.acquire(folder / LOCK, create=False))
            state = read_state(folder)
            if state is None or state.phase is Phase.FAILED:
                return
            (folder / DATA).rename(self._folder / DATA)
        except (Conflict, FileNotFoundError, Invalid):
            return
        os.close(self._fd)
        self._fd = os.open(self._folder / DATA, os.O_RDWR | os.O_CLOEXEC)
        os.utime(self._fd)  # or the successor looks stalled from its first moment

    def _hash_again(self) -> int:
        while data := os.pread(self._fd, CHUNK, self._size):
            self._hash(data)
        return self._size

    def _hash(self, data: bytes) -> None:
        self._hasher.update(data)
        self._cids.update(data)
        self._size += len(data)

    def _publish(self, state: AttemptState) -> None:
        if self._over:
            return
        if state.phase is Phase.FAILED:  # first: on a full disk that makes room for the state
            os.ftruncate(self._fd, 0)
        self._write_state(state)
        self._over = state.over

    def _write_state(self, state: AttemptState) -> None:
        replace_file(self._folder / STATE, to_json(state), temporary=self._folder / f".{STATE}", safe=False)

    def _write(self, data: bytes) -> None:
        self._floor.require(len(data))
        try:
            write_all(self._fd, data, self._size)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._hash(data)

    def _empty(self) -> None:
        os.ftruncate(self._fd, 0)
        self._forget()

    def _store(self, state: AttemptState, source: Source) -> tuple[Blob, AttemptState]:
        try:
            digests = self._verify(state)
        except Untrusted:
            os.ftruncate(self._fd, 0)
            raise
        blob = Blob(self._cids.cid(), self._size, digests)
        final = state.verified(blob.cid, blob.size)
        self._publish(final)
        os.fsync(self._fd)
        leaves = tuple(leaf.hex() for leaf in self._cids.leaves()) if self._size > CHUNK else ()
        sidecar = Sidecar(
            blob, leaves, {self._want.ref.id: kept(self._want, state, source, self._token, time.time())}
        )
        scratch = self._folder / ".sidecar"
        self._files.keep(self._folder / DATA, sidecar, scratch=scratch, late=self._superseded)
        return blob, final

    def _superseded(self) -> bool:
        """Whether a newer attempt can be seen: the log takes its word, so its sidecar entry is to stay."""
        return max(self._layout.tokens(self._want.ref.id), default=0) > (self._token or 0)

    def _verify(self, state: AttemptState) -> tuple[Digest, ...]:
        for expected in (state.length, self._want.size):
            if expected is not None and expected != self._size:
                raise Untrusted(f"expected {expected} bytes, got {self._size}")
        return self._hasher.verify()

    def _close(self) -> None:
        if self._token is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # others are at work in it
                self._folder.parent.rmdir()
        else:
            with contextlib.suppress(OSError):  # a sweep counts from here
                os.utime(self._folder / LOCK)
        os.close(self._fd)
        self._lock.close()
