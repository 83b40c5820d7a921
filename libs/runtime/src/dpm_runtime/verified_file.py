"""Blobs read from disk, each MiB checked against its hash before anybody sees it."""

import asyncio
import errno
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias

from dpm_core.cids import CHUNK, Cid, cid_of_leaves
from dpm_core.errors import Invalid, Untrusted
from dpm_runtime.blob_files import BlobFiles
from dpm_runtime.disk import Descriptor, DiskThreads, disk_errors
from dpm_runtime.layout import Layout

CACHED = 32 * 1024 * 1024
"""Bytes of verified chunks that a store keeps, so that many small reads cost one hash a MiB."""

KNOWN_LEAVES = 32 * 1024
"""Hashes of leaves that a store keeps: of 32 GiB, in some 3 MiB."""

Shape: TypeAlias = tuple[int, Sequence[bytes]]
"""A blob's size in bytes, and the hashes of its leaves. They lead to its CID, so they are true for ever."""


class VerifiedChunks:
    """The chunks that were verified last, shared by all open files; each is read and hashed once at a time."""

    def __init__(self, threads: DiskThreads, mismatch: Callable[[Cid], None]) -> None:
        self._threads = threads
        self._mismatch = mismatch
        self._kept: OrderedDict[tuple[Cid, int], bytes] = OrderedDict()
        self._bytes = 0
        self._coming: dict[tuple[Cid, int], asyncio.Future[bytes]] = {}
        self._shapes: OrderedDict[Cid, Shape] = OrderedDict()
        self._leaves = 0

    def shape(self, cid: Cid) -> Shape | None:
        """What is known of a blob that was open before."""
        if cid in self._shapes:
            self._shapes.move_to_end(cid)
        return self._shapes.get(cid)

    def learn(self, cid: Cid, shape: Shape) -> None:
        """Keep what leads to a CID, so that opening the blob again reads and hashes nothing."""
        if cid not in self._shapes:
            self._leaves += len(shape[1])
        self._shapes[cid] = shape
        while self._leaves > KNOWN_LEAVES:
            self._leaves -= len(self._shapes.popitem(last=False)[1][1])

    async def get(self, file: Descriptor, cid: Cid, index: int, leaf: bytes, length: int) -> bytes:
        """The chunk ``index`` of a blob, which should have ``length`` bytes.

        Raises Untrusted if it has not, or does not hash to ``leaf``, OSError.
        """
        data = await self._verified(file, cid, index, leaf)
        if len(data) != length:  # the file has changed its size since the chunk was read
            self._mismatch(cid)
            raise Untrusted(f"on disk, MiB {index} of {cid} has {length} bytes instead of {len(data)}")
        return data

    async def _verified(self, file: Descriptor, cid: Cid, index: int, leaf: bytes) -> bytes:
        key = (cid, index)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        coming = self._coming.get(key)
        if coming is None:
            coming = self._threads.begin_with_file(file, lambda fd: _chunk(fd, cid, index, leaf))
            self._coming[key] = coming
            coming.add_done_callback(lambda done: self._arrived(key, done))
        return await asyncio.shield(coming)

    def _arrived(self, key: tuple[Cid, int], done: asyncio.Future[bytes]) -> None:
        del self._coming[key]
        if done.cancelled() or done.exception() is not None:
            if not done.cancelled() and isinstance(done.exception(), Untrusted):
                self._mismatch(key[0])
            return
        self._kept[key] = done.result()
        self._bytes += len(done.result())
        while self._bytes > CACHED:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)


def _chunk(fd: int, cid: Cid, index: int, leaf: bytes) -> bytes:
    try:
        data = os.pread(fd, CHUNK, index * CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:
            raise Untrusted(f"on disk, MiB {index} of {cid} cannot be read") from error
        raise
    if hashlib.sha256(data).digest() != leaf:
        raise Untrusted(f"on disk, MiB {index} of {cid} is not what was stored")
    return data


class VerifiedFile:
    """Port Body over a blob's file. Made by ``DiskBlobStore.open``."""

    def __init__(
        self, file: Descriptor, cid: Cid, size: int, leaves: Sequence[bytes], chunks: VerifiedChunks
    ) -> None:
        self.size = size
        self._file = file
        self._cid = cid
        self._leaves = leaves
        self._chunks = chunks

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``, fewer only at the end.

        Raises Untrusted if the disk lies, Unavailable if it cannot be read or the file is closed.
        """
        end = min(offset + size, self.size)
        if offset >= end and self._cid.is_raw:
            await self._chunk(0)  # the size of a raw blob is only as good as its one chunk
        parts: list[bytes | memoryview] = []
        while offset < end:
            index, start = divmod(offset, CHUNK)
            chunk = await self._chunk(index)
            part = (
                chunk if start == 0 and len(chunk) <= end - offset else memoryview(chunk)[start:][: end - offset]
            )
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)

    async def _chunk(self, index: int) -> bytes:
        length = min(CHUNK, self.size - index * CHUNK)
        with disk_errors("read a blob"):
            return await self._chunks.get(self._file, self._cid, index, self._leaves[index], length)

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self._file.close()


async def open_verified(
    layout: Layout, files: BlobFiles, cid: Cid, threads: DiskThreads, chunks: VerifiedChunks
) -> VerifiedFile | None:
    """Open a blob, None if there is none.

    Its leaves come from the sidecar, if they lead to the CID; else the file is hashed again. Raises Untrusted
    if that does not lead to the CID either, Unavailable if the disk cannot be read.
    """
    with disk_errors("open a blob"):
        try:
            file = Descriptor.open(layout.blob(cid))
        except FileNotFoundError:
            return None
        try:
            shape = _raw(file, cid) if cid.is_raw else chunks.shape(cid)
            if shape is None:
                shape = await threads.with_file(file, lambda fd: _leaves(fd, cid, files))
                chunks.learn(cid, shape)
        except BaseException:
            file.close()
            raise
    return VerifiedFile(file, cid, *shape, chunks)


def _raw(file: Descriptor, cid: Cid) -> Shape:
    """Its size is what is on disk, and only as good as its one chunk."""
    size = file.size()
    if size > CHUNK:
        raise Untrusted(f"on disk, {cid} has {size} bytes, more than its form allows")
    return size, (cid.hash,)


def _leaves(fd: int, cid: Cid, files: BlobFiles) -> Shape:
    sidecar = files.sidecar(cid)
    if sidecar is not None:
        try:
            leaves = [bytes.fromhex(leaf) for leaf in sidecar.leaves]
            if cid_of_leaves(leaves, sidecar.blob.size) == cid:
                return sidecar.blob.size, leaves
        except (Invalid, ValueError):
            pass
    size = os.fstat(fd).st_size
    found = [hashlib.sha256(os.pread(fd, CHUNK, start)).digest() for start in range(0, size, CHUNK)]
    if not found or cid_of_leaves(found, size) != cid:
        raise Untrusted(f"on disk, {cid} has neither its bytes nor a sidecar")
    return size, found
