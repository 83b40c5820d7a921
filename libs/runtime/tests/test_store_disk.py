import asyncio
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from dpm_core.artifacts import Want
from dpm_core.cids import CHUNK, Cid, cid_of, cid_of_leaves
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, Unavailable, Untrusted
from dpm_runtime import verified_file
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.patience import soon
from dpm_testkit.store_samples import (
    BODY,
    GOT,
    SMALL,
    UPSTREAM,
    all_of,
    begun,
    content,
    following,
    open_state,
    stored,
    want,
)


async def test_a_blob_is_found_by_its_cid_and_by_its_sha256(store: DiskBlobStore, home: Home) -> None:
    for body in (SMALL, BODY):
        blob = await stored(store, 3, body, f"{len(body)} bytes")
        sha256 = hashlib.sha256(body).hexdigest()
        assert store.path(blob.cid).read_bytes() == body
        assert store.find_sha256(sha256) == store.find_sha256(sha256.upper()) == blob.cid
        await store.remove(blob.cid)
        assert store.find_sha256(sha256) is None
    assert not [path for path in home.blobs.rglob("*") if not path.is_dir()]
    with pytest.raises(Invalid):
        store.find_sha256("../../etc/passwd")


async def test_links_hold_when_the_home_is_moved(store: DiskBlobStore, home: Home, tmp_path: Path) -> None:
    blob = await stored(store, 3)
    home.blobs.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(home.blobs)
    link = next(path for path in home.blobs.rglob("*") if path.is_symlink())
    assert not link.readlink().is_absolute()
    assert link.resolve() == store.path(blob.cid)


async def test_a_sidecar_gathers_what_is_known_of_its_bytes(store: DiskBlobStore) -> None:
    await stored(store, 3)
    md5 = Digest(f"md5:{hashlib.md5(BODY).hexdigest()}")
    other = want(name="another name")
    it = Want(other.ref, other.name, other.url, other.lane, (*other.digests, md5), len(BODY))
    attempt = await begun(store, 9, it, open_state(), BODY)
    blob, _ = await attempt.store(open_state(), UPSTREAM)
    await attempt.close()
    await stored(store, 5)
    sidecar = store.sidecar(blob.cid)
    assert sidecar is not None
    assert {each: kept.token for each, kept in sidecar.artifacts.items()} == {want().ref.id: 5, it.ref.id: 9}
    assert sidecar.blob.digests == (md5, *want().digests)
    kept = sidecar.artifacts[it.ref.id]
    assert (kept.ref, kept.name, kept.media_type) == (it.ref, it.name, "application/zip")
    assert [hashlib.sha256(BODY[at : at + CHUNK]).hexdigest() for at in range(0, len(BODY), CHUNK)] == list(
        sidecar.leaves
    )
    assert list(store.cids()) == [blob.cid]


async def test_many_who_store_the_same_bytes_at_once_leave_one_blob(store: DiskBlobStore) -> None:
    names = [f"mirror {number}" for number in range(12)]
    blobs = await asyncio.gather(*(stored(store, 3, name=name) for name in names))
    assert len(set(blobs)) == 1
    sidecar = store.sidecar(blobs[0].cid)
    assert sidecar is not None and len(sidecar.artifacts) == len(names)
    assert await content(store, blobs[0].cid) == BODY


async def test_a_sidecar_that_is_lost_or_wrong_costs_a_hash_and_nothing_else(
    store: DiskBlobStore, home: Home
) -> None:
    blob = await stored(store, 3)
    file = store.path(blob.cid).with_name(f"{blob.cid}.json")
    plain = json.loads(file.read_text())
    plain["leaves"][1] = "00" * 32
    for spoilt in (json.dumps(plain), "{"):
        file.write_text(spoilt)
        async with DiskBlobStore(home) as other:
            assert await content(other, blob.cid) == BODY
    file.unlink()
    assert store.sidecar(blob.cid) is None
    async with DiskBlobStore(home) as other:
        assert await content(other, blob.cid) == BODY
    os.truncate(store.path(blob.cid), GOT)
    async with DiskBlobStore(home) as other:
        with pytest.raises(Untrusted):
            await other.open(blob.cid)


async def test_a_blob_that_was_open_before_needs_no_sidecar_and_is_verified_all_the_same(
    store: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified_file, "KNOWN_LEAVES", 5)
    monkeypatch.setattr(verified_file, "CACHED", 0)
    blob, other = await stored(store, 3), await stored(store, 4, BODY + b"more")
    assert await content(store, blob.cid) == BODY
    file = store.path(blob.cid).with_name(f"{blob.cid}.json")
    kept = file.read_text()
    file.write_text("{")
    hashed = Mock(side_effect=cid_of_leaves)
    monkeypatch.setattr(verified_file, "cid_of_leaves", hashed)
    assert await content(store, blob.cid) == BODY
    hashed.assert_not_called()
    file.write_text(kept)
    await content(store, other.cid)  # of so many leaves only the last ones are remembered
    await content(store, blob.cid)
    assert hashed.call_count == 2
    with store.path(blob.cid).open("r+b") as disk:
        disk.truncate(GOT)
    opened = await store.open(blob.cid)
    assert opened is not None
    with pytest.raises(Untrusted):
        await opened.read(len(BODY) - 1, 1)
    opened.close()


@pytest.mark.parametrize("body", [SMALL, BODY], ids=["small", "large"])
@pytest.mark.parametrize("left", [0, 500])
async def test_a_blob_that_was_cut_never_ends_early(store: DiskBlobStore, body: bytes, left: int) -> None:
    blob = await stored(store, 3, body)
    os.truncate(store.path(blob.cid), left)
    file = await store.open(blob.cid)
    assert file is not None
    for offset in (0, left, len(body) - 1):
        with pytest.raises(Untrusted):
            await file.read(offset, 10)
    file.close()


async def test_only_the_rotten_mebibyte_is_lost(store: DiskBlobStore) -> None:
    blob = await stored(store, 3)
    with store.path(blob.cid).open("r+b") as disk:
        disk.seek(CHUNK + 17)
        disk.write(bytes((BODY[CHUNK + 17] ^ 1,)))
    file = await store.open(blob.cid)
    assert file is not None
    assert await file.read(0, CHUNK) == BODY[:CHUNK]
    assert await file.read(2 * CHUNK, 2 * CHUNK) == BODY[2 * CHUNK :]
    for offset, size in ((CHUNK, 1), (2 * CHUNK - 1, 1), (CHUNK - 1, 2)):
        with pytest.raises(Untrusted):
            await file.read(offset, size)
    file.close()


async def test_small_reads_one_after_another_or_at_once_hash_each_mebibyte_once(
    store: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    chunk = verified_file._chunk

    def counted(fd: int, cid: Cid, index: int, leaf: bytes) -> bytes:
        hashed.append(index)
        return chunk(fd, cid, index, leaf)

    monkeypatch.setattr(verified_file, "_chunk", counted)
    blob = await stored(store, 3)
    file = await store.open(blob.cid)
    assert file is not None
    parts = await asyncio.gather(*(file.read(offset, 100_000) for offset in range(0, len(BODY), 100_000)))
    assert b"".join(parts) == BODY
    assert b"".join([await file.read(offset, 50_000) for offset in range(0, len(BODY), 50_000)]) == BODY
    assert sorted(hashed) == [0, 1, 2, 3]
    file.close()


async def test_right_bytes_that_cannot_be_made_safe_reach_readers_and_may_be_stored_again(
    store: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = await begun(store, 7, want(), open_state(), BODY)

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(Unavailable):
            await attempt.store(open_state(), UPSTREAM)
    growing = await following(store, 7)
    assert await all_of(growing) == BODY
    growing.close()
    assert list(store.cids()) == []
    blob, _ = await attempt.store(open_state(), UPSTREAM)
    assert await content(store, blob.cid) == BODY
    await attempt.close()


async def test_a_writer_that_is_cancelled_midway_closes_in_order(
    store: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = await begun(store, 7, want(), open_state(), b"")
    begins, goes_on = threading.Event(), threading.Event()
    write = os.pwrite

    def slow(fd: int, data: bytes, offset: int) -> int:
        begins.set()
        goes_on.wait()
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    writing = asyncio.ensure_future(attempt.write(BODY[:GOT]))
    await asyncio.to_thread(begins.wait)
    writing.cancel()
    closing = asyncio.ensure_future(attempt.close())
    await asyncio.wait([writing])
    assert writing.cancelled()
    view = store.view(want().ref.id, 7)
    assert view is not None and view.locked
    goes_on.set()
    await soon(closing)
    view = store.view(want().ref.id, 7)
    assert view is not None and not view.locked and view.written == GOT


async def test_adopted_bytes_make_the_successor_look_alive(store: DiskBlobStore, home: Home) -> None:
    dead = await begun(store, 7, want(), open_state(), BODY[:GOT])
    await dead.close()
    data = home.incoming / want().ref.id / "7" / "data"
    os.utime(data, (1, 1))
    attempt = await store.begin(want())
    assert await attempt.start(12, adopt=7) == GOT
    view = store.view(want().ref.id, 12)
    assert view is not None and view.grown_at > time.time() - 20
    await attempt.close()


async def test_a_sweep_leaves_no_folder_and_disturbs_no_beginning(store: DiskBlobStore, home: Home) -> None:
    it = want(SMALL)
    for token in range(30):
        sweeping = asyncio.ensure_future(store.sweep(time.time() + 3600))
        attempt = await store.begin(it)
        await attempt.start(token)
        await attempt.close()
        await sweeping
    await store.sweep(time.time() + 3600)
    assert store.artifact_ids() == []
    assert list(home.incoming.iterdir()) == []


async def test_a_writer_that_died_before_its_start_is_swept(store: DiskBlobStore, home: Home) -> None:
    attempt = await store.begin(want())
    assert await store.sweep(time.time() + 3600) == 0
    attempt._lock.close()
    assert await store.sweep(time.time() + 3600) == 1
    assert list(home.incoming.iterdir()) == []
    await attempt.close()


async def test_what_is_no_artifact_id_leads_nowhere(store: DiskBlobStore) -> None:
    for name in ("..", "", "A" * 32, "../" * 11):
        with pytest.raises(Invalid):
            store.attempts(name)


async def test_attempts_and_artifacts_are_listed_as_they_come(store: DiskBlobStore) -> None:
    assert store.artifact_ids() == []
    assert store.attempts(want().ref.id) == []
    for token in (7, 12):
        await stored(store, token)
    assert store.artifact_ids() == [want().ref.id]
    assert store.attempts(want().ref.id) == [7, 12]


async def test_a_store_that_is_closed_says_so(home: Home) -> None:
    store = DiskBlobStore(home)
    blob = await stored(store, 3)
    file, attempt = await store.open(blob.cid), await begun(store, 7, want(), open_state(), BODY[:GOT])
    assert file is not None
    await attempt.close()
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.open(blob.cid)
    with pytest.raises(Unavailable):
        await store.follow(want().ref.id, 7)
    with pytest.raises(Unavailable):
        await file.read(CHUNK, 1)
    file.close()
    with pytest.raises(Unavailable):
        await file.read(CHUNK, 1)


async def test_an_empty_blob_has_the_cid_of_nothing(store: DiskBlobStore) -> None:
    blob = await stored(store, 3, b"")
    assert blob.cid == cid_of([])
    assert await content(store, blob.cid) == b""
