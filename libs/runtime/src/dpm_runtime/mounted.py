"""The blob store as gateways read it: through the mount, and past it while nobody answers there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dpm_core.cids import Cid
from dpm_core.ports import Body, Growing
from dpm_runtime.home import Home
from dpm_runtime.mount_reads import MountAway, MountFile, MountReads
from dpm_runtime.mounted_files import LoadedBody, MountedBody, MountedGrowing
from dpm_runtime.store import DiskBlobStore

SMALL = 256 * 1024
"""Blobs up to so many bytes are read as they are opened."""


class MountedBlobStore:
    """Port BlobStore through ``<home>/mnt``; what the mount cannot give comes from ``fallback``, verified.

    ``fallback`` is a store of this process over the same home; whoever made it closes it. ``bypasses`` counts
    the opens and reads that went past the mount: 0 while all is well.
    """

    def __init__(self, home: Home, fallback: DiskBlobStore) -> None:
        self._store = fallback
        self._mount = MountReads(home.mount)

    @property
    def bypasses(self) -> int:
        """How often something was read past the mount."""
        return self._mount.bypasses

    @property
    def suspect(self) -> bool:
        """Whether reads go past the mount now."""
        return self._mount.health.suspect

    async def mounted(self) -> bool:
        """Whether somebody answers at the mount now."""
        return await self._mount.health.answers()

    async def open(self, cid: Cid) -> Body | None:
        """The blob, or None if the store has it not. Raises Unavailable, Untrusted if the disk lies about it."""
        path = self._mount.path / "cid" / cid
        loaded = await self._load(path)
        if loaded is None:
            held = await self._store.open(cid)
            if held is None:
                return None
            with _let_go_of(held):
                if held.size <= SMALL:
                    await held.read(0, held.size)  # if the disk lies, the mount was right not to give it
                loaded = await self._load_again(path)
            if loaded is None:
                self._mount.bypassed()
                return MountedBody(self._mount, self._store, cid, held.size, body=held)
            held.close()
        if isinstance(loaded, bytes):
            return LoadedBody(loaded)
        return MountedBody(self._mount, self._store, cid, loaded.size, file=loaded)

    async def follow(self, artifact_id: str, token: int) -> Growing | None:
        """The attempt, or None if it has no folder (any more). Raises Unavailable."""
        path = self._mount.path / "incoming" / artifact_id / str(token) / "data"
        file = await self._open(path, os.O_NONBLOCK)
        if file is None:
            held = await self._store.follow(artifact_id, token)
            if held is None:
                return None
            with _let_go_of(held):
                file = await self._open_again(path, os.O_NONBLOCK)
            if file is None:
                self._mount.bypassed()
                return MountedGrowing(self._mount, self._store, artifact_id, token, growing=held)
            held.close()
        return MountedGrowing(self._mount, self._store, artifact_id, token, file=file)

    async def newest(self, artifact_id: str) -> int | None:
        """The highest token of the artifact's attempts that have a folder.

        From the store: a name is no byte, and needs nobody who answers.
        """
        return await self._store.newest(artifact_id)

    def close(self) -> None:
        """Read no more through the mount. Waits for nothing; the fallback stays open."""
        self._mount.close()

    async def _load(self, path: Path) -> MountFile | bytes | None:
        try:
            return await self._mount.load(path, SMALL)
        except (MountAway, OSError):
            return None

    async def _load_again(self, path: Path) -> MountFile | bytes | None:
        # the store has it: either it came this very moment, or nothing is mounted, or the mount is wrong
        if await self._mount.health.answers():
            loaded = await self._load(path)
            if loaded is not None:
                return loaded
            self._mount.health.doubt()
        return None

    async def _open(self, path: Path, flags: int = 0) -> MountFile | None:
        try:
            return await self._mount.open(path, flags)
        except (MountAway, OSError):
            return None

    async def _open_again(self, path: Path, flags: int = 0) -> MountFile | None:
        if await self._mount.health.answers():
            file = await self._open(path, flags)
            if file is not None:
                return file
            self._mount.health.doubt()
        return None


@contextlib.contextmanager
def _let_go_of(held: Body | Growing) -> Iterator[None]:
    """Close it if its opener gives up meanwhile: a client that has gone must leave no open file."""
    try:
        yield
    except BaseException:
        held.close()
        raise
