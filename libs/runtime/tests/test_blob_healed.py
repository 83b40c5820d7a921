"""Bytes on disk that have rotted are mended by the same bytes fetched again."""

import os

import pytest

from dpm_core.cids import CHUNK
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


@pytest.mark.parametrize("body", [SMALL, BODY])
async def test_a_blob_whose_file_is_cut_short_once_it_was_read_is_never_a_shorter_one(
    store: DiskBlobStore, body: bytes
) -> None:
    blob = await stored(store, 1, body)
    assert await content(store, blob.cid) == body
    os.truncate(store.path(blob.cid), 100)
    try:
        assert await content(store, blob.cid) == body  # what was read before is still right
    except Untrusted:
        assert len(body) < CHUNK  # its size is only known from the file
