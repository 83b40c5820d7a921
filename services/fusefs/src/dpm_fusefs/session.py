"""The mount while it lasts: the kernel's session, and its end in the only order that leaves nobody hanging."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pyfuse3
import pyfuse3.asyncio

from dpm_core.errors import Unavailable
from dpm_fusefs.filesystem import FileSystem
from dpm_fusefs.mountpoint import clear, read_ahead

OPTIONS = frozenset({"fsname=dpm", "subtype=dpm", "ro", "nosuid", "nodev", "noatime", "default_permissions"})
"""Read-only, so that the kernel itself answers every write with EROFS. Not ``max_read``: it breaks mounting."""

MOST_AT_ONCE = 100_000
"""Requests under way; each that waits for bytes takes one, and nobody else may have to wait for it."""

END_SECONDS = 3.0
"""For what is under way when the session ends; after that the kernel fails it."""

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def mounted(files: FileSystem, where: Path) -> AsyncIterator["asyncio.Task[None]"]:
    """Mount at ``where`` and answer the kernel; yields the task that does, which ends if somebody unmounts.

    Only for the holder of the home's lock: what is still mounted there is from a dead process and goes first.
    Raises Unavailable if the machine cannot mount.
    """
    for _ in range(clear(where)):
        log.warning("a dead mount was taken away", extra={"mount": str(where)})
    where.mkdir(mode=0o700, exist_ok=True)
    pyfuse3.asyncio.enable()
    try:
        pyfuse3.init(files, str(where), set(OPTIONS))
    except RuntimeError as error:
        raise Unavailable(
            f"cannot mount at {where}: {error}",
            advice="FUSE needs /dev/fuse, and fusermount3 where not root; AppArmor may forbid it in a container",
        ) from error
    serving = asyncio.create_task(_serve(), name="fuse")
    try:
        greeting = asyncio.create_task(files.greeted.wait())
        await asyncio.wait({serving, greeting}, return_when=asyncio.FIRST_COMPLETED)
        greeting.cancel()
        read_ahead(where)
        yield serving
    finally:
        files.stop()
        try:
            if not serving.done():
                # it wakes the reader of /dev/fuse, and fails if that is awake already
                with contextlib.suppress(asyncio.InvalidStateError):
                    pyfuse3.terminate()
                await asyncio.wait({serving}, timeout=END_SECONDS)
        finally:
            pyfuse3.close(unmount=True)
            serving.cancel()


async def _serve() -> None:
    await pyfuse3.main(max_tasks=MOST_AT_ONCE)
