"""The file system: what the kernel asks, answered from the store. Read-only.

Finished blobs stay in the kernel's page cache; growing files go past it. What is not there is never
remembered by the kernel, since it may be there the next moment.
"""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FUSEError, InodeT, RequestContext

from dpm_core.cids import Cid, cid_of
from dpm_core.digests import Digest
from dpm_core.errors import DpmError, Untrusted
from dpm_core.ports import Tap
from dpm_core.taps import MISMATCH, Mismatch
from dpm_fusefs.handles import BlobFile, Fixed, GrowingData, Handle, Kind
from dpm_fusefs.inodes import InodeTable
from dpm_fusefs.meters import Meters
from dpm_fusefs.shown import Looks, Shown
from dpm_fusefs.tree import Alive, ByCid, BySha256, Data, Folder, Node, State, child, is_folder
from dpm_runtime.store import DiskBlobStore

EMPTY = cid_of(())
"""The CID of no bytes at all."""

LASTING_SECONDS = 86_400.0
"""How long the kernel may remember names and sizes that cannot change."""

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def _answered(
    handler: Callable[Concatenate["FileSystem", P], Awaitable[R]],
) -> Callable[Concatenate["FileSystem", P], Coroutine[Any, Any, R]]:
    """Give every error an errno: a request that is never answered hangs its reader for ever."""

    async def wrapped(self: "FileSystem", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(self, *args, **kwargs)
        except FUSEError:
            raise
        except Exception as error:
            raise FUSEError(self._errno(error)) from error

    return cast("Callable[Concatenate[FileSystem, P], Coroutine[Any, Any, R]]", wraps(handler)(wrapped))


class FileSystem(pyfuse3.Operations):
    """The operations that pyfuse3 calls, on one event loop.

    ``disk`` is a folder on the store's disk; ``greeted`` is set when the kernel has said hello.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, store: DiskBlobStore, disk: Path, tap: Tap, meters: Meters) -> None:
        super().__init__()
        self._store, self._disk, self._tap, self._meters = store, disk, tap, meters
        self._shown = Shown(store)
        self._inodes = InodeTable()
        self._handles: dict[int, Handle] = {}
        self._listings: dict[int, list[tuple[str, Node]]] = {}
        self._last_handle = 0
        self._stopping = False
        self._telling: set[asyncio.Task[None]] = set()
        self.greeted = asyncio.Event()

    def init(self) -> None:
        """The kernel says hello; the answer goes out when this returns."""
        self.greeted.set()

    def stop(self) -> None:
        """Fail the reads that wait, and those to come: before the mount goes, or they would outlive it."""
        self._stopping = True
        self._store.fail_all()

    def removed(self, cids: Iterable[Cid]) -> None:
        """Blobs have left the store: the kernel is to forget their names and sizes, which it took for lasting."""
        for cid in cids:
            nodes: list[tuple[Folder, str, Node]] = [(Folder.CID, cid, ByCid(cid))]
            if cid.is_raw:
                digest = Digest(f"sha256:{cid.hash.hex()}")
                nodes.append((Folder.SHA256, digest.hex, BySha256(digest)))
            for folder, name, node in nodes:
                parent, number = self._inodes.known(folder), self._inodes.known(node)
                if parent is not None and number is not None:
                    pyfuse3.invalidate_entry_async(
                        InodeT(parent), cast(Any, name.encode()), deleted=InodeT(number), ignore_enoent=True
                    )

    # names

    @_answered
    async def lookup(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """What stands under a name; what does not is ENOENT, and asked for again the next time."""
        node = child(self._node(parent_inode), name.decode(errors="replace"))
        looks = None if node is None else self._shown.looks(node)
        if node is None or looks is None:
            raise FUSEError(errno.ENOENT)
        number = self._inodes.number(node)
        self._inodes.looked_up(number)
        return _attributes(number, node, looks)

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """The kernel gives look-ups back."""
        for number, lookups in inode_list:
            self._inodes.forget(number, lookups)

    @_answered
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """How a file looks now."""
        node = self._node(inode)
        looks = self._shown.looks(node)
        if looks is None:
            raise FUSEError(errno.ESTALE)
        return _attributes(inode, node, looks)

    # folders

    @_answered
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """A listing as of now."""
        node = self._node(inode)
        if not is_folder(node):
            raise FUSEError(errno.ENOTDIR)
        listing = await self._shown.list(node)
        self._last_handle += 1
        self._listings[self._last_handle] = listing
        return FileHandleT(self._last_handle)

    @_answered
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """The listing from ``start_id`` on, as much as fits."""
        listing = self._listings[fh]
        for position in range(start_id, len(listing)):
            name, node = listing[position]
            looks = self._shown.looks(node)
            if looks is None:  # gone since
                continue
            number = self._inodes.number(node)
            entry = _attributes(number, node, looks)
            if not pyfuse3.readdir_reply(token, cast(Any, name.encode()), entry, position + 1):
                self._inodes.drop_unused(number)
                return
            self._inodes.looked_up(number)

    async def releasedir(self, fh: FileHandleT) -> None:
        """Forget the listing."""
        self._listings.pop(fh, None)

    # files

    @_answered
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """An open file: finished ones by way of the page cache, all others past it."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise FUSEError(errno.EROFS)
        handle = await self._open(self._node(inode), flags)
        self._last_handle += 1
        self._handles[self._last_handle] = handle
        return FileInfo(fh=FileHandleT(self._last_handle), direct_io=handle.direct, keep_cache=not handle.direct)

    async def _open(self, node: Node, flags: int) -> Handle:
        match node:
            case Alive():
                return Fixed(self._shown.alive())
            case ByCid() | BySha256():
                return await self._open_blob(node)
            case State(attempt):
                state = self._shown.state(attempt)
                if state is None:
                    raise FUSEError(errno.ENOENT)
                return Fixed(state)
            case Data(attempt):
                growing = None if self._stopping else await self._store.follow(attempt.artifact_id, attempt.token)
                if growing is None:
                    raise FUSEError(errno.ENOTCONN if self._stopping else errno.ENOENT)
                return GrowingData(growing, flags, self._meters)
            case _:
                raise FUSEError(errno.EISDIR)

    async def _open_blob(self, node: ByCid | BySha256) -> Handle:
        cid = self._shown.cid(node)
        if cid is None:
            raise FUSEError(errno.ENOENT)
        try:
            body = await self._store.open(cid)
        except Untrusted as error:
            self._mismatch(cid, 0, str(error))
            raise FUSEError(errno.EIO) from error
        if body is None:
            raise FUSEError(errno.ENOENT)
        if body.size == 0 and cid != EMPTY:  # the kernel would never ask for a byte, and so nobody verify one
            body.close()
            self._mismatch(cid, 0, "on disk, it is empty")
            raise FUSEError(errno.EIO)
        kind = Kind.CID if isinstance(node, ByCid) else Kind.SHA256
        return BlobFile(kind, body, self._meters, partial(self._mismatch, cid))

    @_answered
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes, waiting for them where they are still to come."""
        return await self._handles[fh].read(off, size)

    async def release(self, fh: FileHandleT) -> None:
        """The last reader of this open file has gone."""
        handle = self._handles.pop(fh, None)
        if handle is not None:
            handle.close()

    @_answered
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        """How full the disk below the store is."""
        disk = os.statvfs(self._disk)
        answer = pyfuse3.StatvfsData()
        for field in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail"):
            setattr(answer, field, getattr(disk, field))
        answer.f_namemax = 255
        return answer

    # the shell's own

    def _node(self, inode: int) -> Node:
        try:
            return self._inodes.node(inode)
        except KeyError:
            raise FUSEError(errno.ESTALE) from None

    def _errno(self, error: Exception) -> int:
        if isinstance(error, OSError) and error.errno is not None:
            # a reader goes on from the store when the mount has gone: that the attempt is lost would be wrong
            return errno.ENOTCONN if self._stopping and error.errno == errno.ESTALE else error.errno
        if not isinstance(error, DpmError):
            log.exception("a request failed in a way that nobody foresaw", exc_info=error)
        return errno.EIO

    def _mismatch(self, cid: Cid, offset: int, detail: str) -> None:
        self._meters.mismatch()
        log.error("the disk lies about a blob", extra={"cid": cid, "offset": offset, "detail": detail})
        task = asyncio.get_running_loop().create_task(self._tap.tell(MISMATCH, Mismatch(cid, offset)))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def _attributes(number: int, node: Node, looks: Looks) -> EntryAttributes:
    entry = EntryAttributes()
    folder = is_folder(node)
    entry.st_ino = InodeT(number)
    entry.st_mode = cast(Any, (stat.S_IFDIR | 0o555) if folder else (stat.S_IFREG | 0o444))
    entry.st_nlink = 2 if folder else 1
    entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
    entry.st_size = looks.size
    entry.st_blocks = -(-looks.size // 512)
    entry.st_blksize = 1024 * 1024
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = looks.changed_ns
    entry.entry_timeout = entry.attr_timeout = LASTING_SECONDS if looks.lasting else 0.0
    return entry
