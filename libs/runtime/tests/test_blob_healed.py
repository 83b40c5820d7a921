"""Bytes on disk that have rotted are mended by the same bytes fetched again."""

import pytest

from dpm_core.errors import Untrusted
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.store_samples import BODY, SMALL, content, stored


@pytest.mark.parametrize("body", [SMALL, BODY])
async def test_a_rotten_blob_is_whole_again_once_it_was_stored_again(store: DiskBlobStore, body: bytes) -> None:
    blob = await stored(store, 1, body)
    path = store.path(blob.cid)
    path.write_bytes(bytes(len(body)))
    with pytest.raises(Untrusted):
        await content(store, blob.cid)
    assert await stored(store, 2, body) == blob
    assert await content(store, blob.cid) == body
