"""What a reader of the mount sees, with a real fusefs in a process of its own."""

import asyncio
import contextlib
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from dpm_core.attempts import WITHHELD_TAIL, Failure
from dpm_core.cids import CHUNK, cid_of
from dpm_core.events import FailReason
from dpm_core.taps import MISMATCH
from dpm_runtime.bus_address import announce_bus
from dpm_runtime.daemon_pool import DaemonPool
from dpm_runtime.home import Home
from dpm_runtime.mounts import mounted_at
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.fusefs import FuseFs
from dpm_testkit.nats_server import NatsServer
from dpm_testkit.patience import PATIENCE, until
from dpm_testkit.store_samples import BODY, SMALL, UPSTREAM, attempting, open_state, stored, want

P = ParamSpec("P")
T = TypeVar("T")

pytestmark = pytest.mark.real

SHOWN = len(BODY) - WITHHELD_TAIL
"""Bytes of BODY that may be seen before it is verified."""


class Threads:
    """Threads for reads that may never end."""

    def __init__(self, pool: DaemonPool) -> None:
        self._pool = pool

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        return asyncio.wrap_future(self._pool.submit(lambda: function(*args, **kwargs)))


@pytest.fixture
def threads() -> Iterator[Threads]:
    pool = DaemonPool("test", 64)
    yield Threads(pool)
    pool.close()


def data(fuse: FuseFs, token: int) -> Path:
    return fuse.mount / "incoming" / want().ref.id / str(token) / "data"


def read_exactly(path: Path, size: int, offset: int = 0) -> bytes:
    """Read until ``size`` bytes are here or the file ends."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while size > 0 and (part := os.pread(fd, min(size, 128 * 1024), offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)
    finally:
        with contextlib.suppress(OSError):  # on a dead mount even close fails
            os.close(fd)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_blob_is_there_under_its_cid_and_under_its_sha256(fuse: FuseFs, store: DiskBlobStore) -> None:
    for number, content in enumerate((b"", SMALL, BODY), start=1):
        blob = await stored(store, number, content, f"{number}.bin")
        for path in (fuse.mount / "cid" / blob.cid, fuse.mount / "sha256" / blob.sha256.hex):
            assert await asyncio.to_thread(path.read_bytes) == content
            assert path.stat().st_size == len(content)
            assert path.stat().st_mode & 0o777 == 0o444


async def test_folders_list_what_is_in_them(fuse: FuseFs, store: DiskBlobStore) -> None:
    small, big = await stored(store, 1, SMALL, "small.bin"), await stored(store, 2)
    async with attempting(store, 3):
        attempt = data(fuse, 3).parent
        assert names(fuse.mount) == [".alive", "cid", "incoming", "sha256"]
        assert names(fuse.mount / "cid") == sorted([small.cid, big.cid])
        assert names(fuse.mount / "sha256") == sorted([small.sha256.hex, big.sha256.hex])
        assert attempt.parent.name in names(fuse.mount / "incoming")
        assert names(attempt.parent) == ["2", "3"]
        assert names(attempt) == ["data", "state.json"]


async def test_a_folder_of_many_blobs_is_listed_whole(fuse: FuseFs, store: DiskBlobStore) -> None:
    cids = {(await stored(store, each, b"%d" % each, f"{each}.bin")).cid for each in range(1, 200)}
    assert {path.name for path in (fuse.mount / "cid").iterdir() if path.is_file()} == cids


async def test_alive_says_who_answers_and_is_asked_for_anew_each_time(fuse: FuseFs) -> None:
    first, second = ((fuse.mount / ".alive").read_text().split() for _ in range(2))
    assert int(first[0]) == fuse.process.pid
    assert float(second[1]) >= float(first[1])


async def test_what_is_not_there_is_seen_as_soon_as_it_is(fuse: FuseFs, store: DiskBlobStore) -> None:
    path = fuse.mount / "cid" / cid_of([SMALL])
    assert not path.exists()
    await stored(store, 1, SMALL)
    assert path.read_bytes() == SMALL


async def test_a_name_that_means_nothing_is_not_there(fuse: FuseFs) -> None:
    for name in ("cid/nonsense", "sha256/zz", "incoming/../cid/x", "incoming/0/1/data", "secret"):
        with pytest.raises(FileNotFoundError):
            (fuse.mount / name).read_bytes()


async def test_nothing_can_be_written(fuse: FuseFs, store: DiskBlobStore) -> None:
    blob = await stored(store, 1, SMALL)
    path = fuse.mount / "cid" / blob.cid
    for write in (
        lambda: path.write_bytes(b""),
        lambda: path.unlink(),
        lambda: path.chmod(0o777),
        lambda: path.rename(path.with_name("x")),
        lambda: (fuse.mount / "new").touch(),
        lambda: (fuse.mount / "new").mkdir(),
    ):
        with pytest.raises(OSError, match="Read-only") as caught:
            write()
        assert caught.value.errno == errno.EROFS


async def test_a_file_is_read_while_it_grows_and_a_second_reader_joins_midway(
    fuse: FuseFs, store: DiskBlobStore, threads: Threads
) -> None:
    async with attempting(store, 1) as attempt:
        first = threads(read_exactly, data(fuse, 1), len(BODY))
        await attempt.write(BODY[:CHUNK])
        assert await threads(read_exactly, data(fuse, 1), CHUNK) == BODY[:CHUNK]
        second = threads(read_exactly, data(fuse, 1), len(BODY))
        await attempt.write(BODY[CHUNK:])
        assert await threads(read_exactly, data(fuse, 1), SHOWN) == BODY[:SHOWN]
        assert not first.done()
        assert not second.done()
        await attempt.store(open_state(), UPSTREAM)
        assert await first == BODY
        assert await second == BODY


async def test_the_tail_is_withheld_until_the_whole_is_verified(
    fuse: FuseFs, store: DiskBlobStore, threads: Threads
) -> None:
    async with attempting(store, 1) as attempt:
        await attempt.write(BODY)
        await threads(read_exactly, data(fuse, 1), SHOWN)
        assert data(fuse, 1).stat().st_size == SHOWN
        fd = await threads(os.open, data(fuse, 1), os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            await threads(os.pread, fd, 1, SHOWN)
        await attempt.store(open_state(), UPSTREAM)
        assert await threads(os.pread, fd, len(BODY), SHOWN) == BODY[SHOWN:]
        os.close(fd)


async def test_the_state_of_an_attempt_can_be_read_as_it_changes(fuse: FuseFs, store: DiskBlobStore) -> None:
    state = data(fuse, 1).with_name("state.json")
    async with attempting(store, 1) as attempt:
        assert json.loads(state.read_bytes())["phase"] == "open"
        await attempt.write(BODY)
        blob, _ = await attempt.store(open_state(), UPSTREAM)
    assert json.loads(state.read_bytes())["cid"] == blob.cid


async def test_the_data_of_a_verified_attempt_is_the_blob(
    fuse: FuseFs, store: DiskBlobStore, threads: Threads
) -> None:
    await stored(store, 5)
    assert await threads(read_exactly, data(fuse, 5), len(BODY) + 1) == BODY
    assert data(fuse, 5).stat().st_size == len(BODY)


async def test_stalled_files_hold_up_nobody(fuse: FuseFs, store: DiskBlobStore, threads: Threads) -> None:
    blob = await stored(store, 1, SMALL, "small.bin")
    async with attempting(store, 2) as attempt:
        await attempt.write(BODY[: CHUNK + 1])
        stalled = [threads(read_exactly, data(fuse, 2), len(BODY)) for _ in range(30)]
        await until(lambda: fuse.metric("dpm_fuse_waiting") == len(stalled))
        assert await threads((fuse.mount / "cid" / blob.cid).read_bytes) == SMALL
        assert await threads(read_exactly, data(fuse, 2), CHUNK) == BODY[:CHUNK]
        assert not any(reader.done() for reader in stalled)
        await attempt.write(BODY[CHUNK + 1 :])
        await attempt.store(open_state(), UPSTREAM)
        assert set(await asyncio.gather(*stalled)) == {BODY}


async def test_a_reader_of_an_attempt_that_fails_gets_eio(
    fuse: FuseFs, store: DiskBlobStore, threads: Threads
) -> None:
    async with attempting(store, 1) as attempt:
        await attempt.write(BODY[:CHUNK])
        waiting = threads(read_exactly, data(fuse, 1), len(BODY))
        await until(lambda: fuse.metric("dpm_fuse_waiting") == 1)
        await attempt.publish(open_state().failed(Failure(FailReason.UNAVAILABLE, "upstream hung up")))
        with pytest.raises(OSError) as caught:
            await waiting
        assert caught.value.errno == errno.EIO


async def test_a_reader_of_an_attempt_whose_writer_is_killed_gets_estale(
    fuse: FuseFs, writer: asyncio.subprocess.Process, threads: Threads
) -> None:
    waiting = threads(read_exactly, data(fuse, 7), len(BODY))
    await until(lambda: fuse.metric("dpm_fuse_waiting") == 1)
    writer.kill()
    with pytest.raises(OSError) as caught:
        await waiting
    assert caught.value.errno == errno.ESTALE


async def test_a_flipped_byte_on_disk_is_eio_and_nobody_sees_the_wrong_bytes(
    fuse: FuseFs, store: DiskBlobStore
) -> None:
    blob = await stored(store, 1)
    flip(store.path(blob.cid), 2 * CHUNK + 5)
    path = fuse.mount / "cid" / blob.cid
    with pytest.raises(OSError) as caught:
        read_exactly(path, CHUNK, 2 * CHUNK)
    assert caught.value.errno == errno.EIO
    assert fuse.metric("dpm_fuse_mismatches_total") >= 1
    assert read_exactly(path, CHUNK) == BODY[:CHUNK]


@pytest.mark.parametrize("content", [SMALL, BODY], ids=["small", "big"])
async def test_a_file_that_was_cut_short_on_disk_never_ends_early(
    fuse: FuseFs, store: DiskBlobStore, content: bytes
) -> None:
    for number, left in enumerate((2 * CHUNK, CHUNK, 1, 0), start=1):
        if left < len(content):
            blob = await stored(store, number, content + bytes([number]), f"{number}.bin")
            os.truncate(store.path(blob.cid), left)
            with pytest.raises(OSError) as caught:
                (fuse.mount / "cid" / blob.cid).read_bytes()
            assert caught.value.errno == errno.EIO


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


async def test_a_mismatch_is_told_on_the_tap(home: Home, store: DiskBlobStore) -> None:
    server = NatsServer(home)
    announce_bus(home, server.url)
    fuse = FuseFs(home)
    try:
        await server.start()
        blob = await stored(store, 1)
        flip(store.path(blob.cid), 5)
        fuse.start()
        async with server.bus("anything") as bus:
            heard = asyncio.ensure_future(anext(bus.tap.listen(MISMATCH)))
            async with asyncio.timeout(PATIENCE):
                while not heard.done():  # what is told before somebody listens is lost
                    with pytest.raises(OSError):
                        await asyncio.to_thread(read_exactly, fuse.mount / "cid" / blob.cid, 1)
                    await asyncio.wait({heard}, timeout=0.05)
        assert json.loads(heard.result())["cid"] == blob.cid
    finally:
        fuse.close()
        await server.stop()


async def test_reads_are_counted_by_the_name_that_was_used(
    fuse: FuseFs, store: DiskBlobStore, threads: Threads
) -> None:
    blob = await stored(store, 1)
    (fuse.mount / "cid" / blob.cid).read_bytes()
    (fuse.mount / "sha256" / blob.sha256.hex).read_bytes()
    await threads(read_exactly, data(fuse, 1), len(BODY))
    for kind in ("cid", "sha256", "incoming"):
        assert fuse.metric(f'dpm_fuse_read_bytes_total{{kind="{kind}"}}') == len(BODY)
        assert fuse.metric(f'dpm_fuse_reads_total{{kind="{kind}"}}') >= 1
    assert fuse.metric("dpm_fuse_waiting") == 0


async def test_warm_reads_of_a_blob_come_from_the_page_cache(fuse: FuseFs, store: DiskBlobStore) -> None:
    blob = await stored(store, 1)
    path = fuse.mount / "cid" / blob.cid
    for _ in range(3):
        assert path.read_bytes() == BODY
    assert fuse.metric('dpm_fuse_read_bytes_total{kind="cid"}') == len(BODY)


async def test_sigterm_fails_waiting_reads_and_leaves_no_mount(
    fuse: FuseFs, store: DiskBlobStore, threads: Threads
) -> None:
    async with attempting(store, 1) as attempt:
        await attempt.write(BODY[:CHUNK])
        waiting = [threads(read_exactly, data(fuse, 1), len(BODY)) for _ in range(3)]
        await until(lambda: fuse.metric("dpm_fuse_waiting") == 3)
        assert await threads(fuse.stop) == 0
        for each in waiting:
            with pytest.raises(OSError) as caught:
                await each
            assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    assert not mounted_at(fuse.mount)
    assert names(fuse.mount) == []


async def test_a_mount_that_a_killed_fusefs_left_is_taken_over(fuse: FuseFs, store: DiskBlobStore) -> None:
    blob = await stored(store, 1, SMALL)
    fuse.kill()
    with pytest.raises(OSError) as caught:
        names(fuse.mount)
    assert caught.value.errno == errno.ENOTCONN
    fuse.start()
    assert (fuse.mount / "cid" / blob.cid).read_bytes() == SMALL
    assert fuse.stop() == 0
    assert not mounted_at(fuse.mount)


def test_one_home_has_one_fusefs(fuse: FuseFs, home: Home) -> None:
    second = FuseFs(home)
    second.launch().wait(PATIENCE)
    assert second.process.wait(PATIENCE) == 1
    assert any("another fusefs" in line for line in second.log)
    assert (fuse.mount / ".alive").read_text().split()[0] == str(fuse.process.pid)


def test_fusefs_ends_with_an_error_when_somebody_unmounts_it(fuse: FuseFs) -> None:
    subprocess.run(["umount", str(fuse.mount)], check=True)
    assert fuse.process.wait(PATIENCE) == 1


def test_a_folder_where_something_else_is_mounted_is_left_alone(home: Home) -> None:
    fuse = FuseFs(home)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(home.mount)], check=True)
    try:
        fuse.launch().wait(PATIENCE)
        assert fuse.process.wait(PATIENCE) == 1
        assert any("tmpfs is mounted" in line for line in fuse.log)
        assert mounted_at(home.mount)
    finally:
        fuse.close()
