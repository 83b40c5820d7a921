import pytest

from dpm_core.errors import Unavailable
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_conformance import BlobStoreSuite, StoreKit
from dpm_testkit.store_samples import want


class TestMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def kit(self) -> StoreKit:
        store = MemoryBlobStore()
        return StoreKit(store, store.kill, store.spoil)


async def test_a_full_store_takes_nothing() -> None:
    store = MemoryBlobStore()
    attempt = await store.begin(want())
    store.full = True
    with pytest.raises(Unavailable):
        await attempt.write(b"no room")
    with pytest.raises(Unavailable):
        await store.begin(want())
