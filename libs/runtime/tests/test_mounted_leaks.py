"""Reading past a mount that is not there leaves no open file, and fails for nobody."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from dpm_runtime.disk import Descriptor
from dpm_runtime.home import Home
from dpm_runtime.mount_health import MountHealth
from dpm_runtime.mount_reads import MountAway, MountFile, MountReads
from dpm_runtime.mounted import MountedBlobStore
from dpm_runtime.store import DiskBlobStore
from dpm_runtime.verified_file import VerifiedFile
from dpm_testkit.patience import soon, until
from dpm_testkit.store_samples import stored


async def test_a_file_whose_era_is_over_is_read_from_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    mount = MountReads(tmp_path)
    file = MountFile(Descriptor.open(tmp_path / "file"), 5, 0)
    file.descriptor.close()
    with pytest.raises(MountAway):
        await mount.read(file, 0, 5)
    mount.close()


async def test_a_client_that_goes_while_a_blob_is_opened_leaves_no_file_open(
    store: DiskBlobStore, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = await stored(store, 1)
    asked, closed = asyncio.Event(), asyncio.Event()

    async def never(health: MountHealth) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(MountHealth, "answers", never)
    monkeypatch.setattr(VerifiedFile, "close", lambda file: closed.set())
    mounted = MountedBlobStore(home, store)
    opening = asyncio.create_task(mounted.open(blob.cid))
    await soon(asyncio.ensure_future(asked.wait()))
    opening.cancel()
    await asyncio.wait({opening})
    assert closed.is_set()
    mounted.close()


async def test_a_close_that_waits_behind_stuck_threads_is_done_by_those_of_the_next_era(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpm_runtime.mount_reads.READERS", 1)
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / ".alive").write_bytes(b"alive")
    mount = MountReads(tmp_path)
    file = await mount.open(tmp_path / "file")
    stuck = threading.Event()
    waiting = asyncio.create_task(mount.run(stuck.wait))
    await asyncio.sleep(0)  # it takes the one reader
    mount.let_go(file)
    mount.health.doubt()
    await until(lambda: not mount.health.suspect)
    assert open_here(tmp_path / "file")
    assert await mount.run(lambda: "well") == "well"
    await until(lambda: not open_here(tmp_path / "file"))
    stuck.set()
    await asyncio.wait({waiting})
    mount.close()


def open_here(path: Path) -> bool:
    return any(link.readlink() == path for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


async def test_a_file_that_opens_as_it_is_given_up_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "file")
    opened: list[Descriptor] = []

    def remember(descriptor: Descriptor, fd: int) -> None:
        genuine(descriptor, fd)
        opened.append(descriptor)

    async def opens_meanwhile(health: MountHealth) -> bool:
        fd = os.open(tmp_path / "file", os.O_WRONLY)  # the opener of the other end goes on
        await until(lambda: opened)
        os.close(fd)
        return False

    genuine = Descriptor.__init__
    monkeypatch.setattr(Descriptor, "__init__", remember)
    monkeypatch.setattr(MountHealth, "answers", opens_meanwhile)
    monkeypatch.setattr("dpm_runtime.mount_reads.PATIENCE", 0.01)
    mount = MountReads(tmp_path)
    with pytest.raises(MountAway):
        await mount.open(tmp_path / "file")
    await until(lambda: not open_here(tmp_path / "file"))
    mount.close()
