from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_core.cids import Cid
from dpm_core.ports import Attempt
from dpm_runtime.attempt_files import DiskAttempt
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.store_conformance import BlobStoreSuite
from dpm_testkit.store_sweeping import StoreKit


def let_die(attempt: Attempt) -> None:
    """Drop the lock, as the kernel does for a writer that was killed."""
    assert isinstance(attempt, DiskAttempt)
    attempt._lock.close()


class TestDiskBlobStore(BlobStoreSuite):
    @pytest.fixture
    async def kit(self, tmp_path: Path) -> AsyncIterator[StoreKit]:
        home = Home(tmp_path)
        home.prepare()
        # so slow a poll that news can only have come by inotify
        async with DiskBlobStore(home, poll_seconds=3600.0) as store:

            def spoil(cid: Cid) -> None:
                with store.path(cid).open("r+b") as file:
                    file.write(b"?")

            yield StoreKit(store, let_die, spoil)
