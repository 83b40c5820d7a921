import pytest

from dpm_core.errors import DiskFails
from dpm_testkit.disk_conformance import FullDiskKit, FullDiskSuite
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_conformance import BlobStoreSuite
from dpm_testkit.store_samples import want
from dpm_testkit.store_sweeping import StoreKit


class TestMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def kit(self) -> StoreKit:
        store = MemoryBlobStore()
        return StoreKit(store, store.kill, store.spoil)


class TestFullMemoryBlobStore(FullDiskSuite):
    @pytest.fixture
    def kit(self) -> FullDiskKit:
        store = MemoryBlobStore()

        def fill(full: bool) -> None:
            store.full = full

        return FullDiskKit(store, lambda: fill(True), lambda: fill(False))


async def test_a_full_store_begins_nothing() -> None:
    store = MemoryBlobStore()
    store.full = True
    with pytest.raises(DiskFails):
        await store.begin(want())
