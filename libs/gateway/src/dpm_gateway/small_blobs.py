"""Small blobs in memory, by CID: a CID's bytes never change, and they were verified when they were read.

Whether an artifact is held is not decided here: who asks has that from the catalog or the log. So what was evicted
or set aside is not served from here either, nor is what has no file any more. That a file has rotted is noticed by
who next needs it from the disk.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing

from dpm_core.cids import Cid
from dpm_core.ports import BlobStore, Body, Growing
from dpm_runtime.mounted_files import LoadedBody

SMALL = 256 * 1024
"""Blobs up to so many bytes are read as they are opened: what is wrong with them shows before a byte is sent."""

KEPT_BYTES = 32 * 1024 * 1024
"""Bytes of small blobs that stay in memory."""


class SmallBlobs:
    """Port BlobStore over another one, which is asked for a small blob only if it was not read lately.

    ``there`` says whether the store has a file for a blob, in microseconds.
    """

    def __init__(self, store: BlobStore, there: Callable[[Cid], bool], *, capacity: int = KEPT_BYTES) -> None:
        self._store = store
        self._there = there
        self._capacity = capacity
        self._kept: OrderedDict[Cid, bytes] = OrderedDict()
        self._bytes = 0

    def at_hand(self, cid: Cid) -> bool:
        """Whether the blob is in memory, and still in the store; then it counts as used now."""
        if cid not in self._kept or not self._there(cid):
            return False
        self._kept.move_to_end(cid)
        return True

    async def open(self, cid: Cid) -> Body | None:
        """See BlobStore. Of what is small a LoadedBody; that the disk lies about it shows here."""
        if self.at_hand(cid):
            return LoadedBody(self._kept[cid])
        body = await self._store.open(cid)
        if body is None or body.size > SMALL:
            return body
        with closing(body):
            data = await body.read(0, body.size)
        self._keep(cid, data)
        return LoadedBody(data)

    async def follow(self, artifact_id: str, token: int) -> Growing | None:
        """See BlobStore."""
        return await self._store.follow(artifact_id, token)

    async def newest(self, artifact_id: str) -> int | None:
        """See BlobStore."""
        return await self._store.newest(artifact_id)

    def _keep(self, cid: Cid, data: bytes) -> None:
        if cid not in self._kept:
            self._kept[cid] = data
            self._bytes += len(data)
        while self._bytes > self._capacity:
            self._bytes -= len(self._kept.popitem(last=False)[1])
