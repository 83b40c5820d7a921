"""Reading past a mount that is not there leaves no open file, and fails for nobody."""

import asyncio
from pathlib import Path

import pytest

from dpm_runtime.disk import Descriptor
from dpm_runtime.home import Home
from dpm_runtime.mount_health import MountHealth
from dpm_runtime.mount_reads import MountAway, MountFile, MountReads
from dpm_runtime.mounted import MountedBlobStore
from dpm_runtime.store import DiskBlobStore
from dpm_runtime.verified_file import VerifiedFile
from dpm_testkit.patience import soon
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
