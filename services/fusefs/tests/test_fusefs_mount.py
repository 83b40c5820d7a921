"""What a reader of the mount sees, with a real fusefs in a process of its own."""

import asyncio
import contextlib
import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dpm_core.attempts import WITHHELD_TAIL, Failure
from dpm_core.cids import CHUNK, cid_of
from dpm_core.events import FailReason
from dpm_core.taps import MISMATCH
from dpm_runtime.bus_address import announce_bus
from dpm_runtime.daemon_pool import DaemonPool
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.fusefs import FuseFs, growing, is_mounted, open_state, stored, wanted
from dpm_testkit.nats_server import NatsServer

pytestmark = pytest.mark.real

BIG = random.Random(1).randbytes(3 * CHUNK + 17)
SMALL = b"a small file\n"
SHOWN = len(BIG) - WITHHELD_TAIL
"""Bytes of BIG that may be seen before it is verified."""


@pytest.fixture
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("h"))


@pytest.fixture
def fuse(home):
    fuse = FuseFs(home)
    try:
        fuse.start()
        yield fuse
    finally:
        fuse.close()


@pytest.fixture
async def store(home):
    home.prepare()
    async with DiskBlobStore(home) as store:
        yield store


@pytest.fixture
def threads():
    """Threads for reads that may never end."""
    pool = DaemonPool("test", 64)
    yield lambda function, *args: asyncio.wrap_future(pool.submit(lambda: function(*args)))
    pool.close()


def data(fuse: FuseFs, token: int, name: str = "big.bin") -> Path:
    return fuse.mount / "incoming" / wanted(BIG, name).ref.id / str(token) / "data"


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


async def until(condition) -> None:
    """Wait for what nobody tells."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_blob_is_there_under_its_cid_and_under_its_sha256(fuse, store) -> None:
    for number, content in enumerate((b"", SMALL, BIG), start=1):
        blob = await stored(store, content, number, f"{number}.bin")
        for path in (fuse.mount / "cid" / blob.cid, fuse.mount / "sha256" / blob.sha256.hex):
            assert await asyncio.to_thread(path.read_bytes) == content
            assert path.stat().st_size == len(content)
            assert path.stat().st_mode & 0o777 == 0o444


async def test_folders_list_what_is_in_them(fuse, store) -> None:
    small, big = await stored(store, SMALL, 1, "small.bin"), await stored(store, BIG, 2)
    async with growing(store, BIG, 3):
        attempt = data(fuse, 3).parent
        assert names(fuse.mount) == [".alive", "cid", "incoming", "sha256"]
        assert names(fuse.mount / "cid") == sorted([small.cid, big.cid])
        assert names(fuse.mount / "sha256") == sorted([small.sha256.hex, big.sha256.hex])
        assert attempt.parent.name in names(fuse.mount / "incoming")
        assert names(attempt.parent) == ["2", "3"]
        assert names(attempt) == ["data", "state.json"]


async def test_a_folder_of_many_blobs_is_listed_whole(fuse, store) -> None:
    cids = {(await stored(store, b"%d" % each, each, f"{each}.bin")).cid for each in range(1, 200)}
    assert {path.name for path in (fuse.mount / "cid").iterdir() if path.is_file()} == cids


async def test_alive_says_who_answers_and_is_asked_for_anew_each_time(fuse) -> None:
    first, second = ((fuse.mount / ".alive").read_text().split() for _ in range(2))
    assert int(first[0]) == fuse.process.pid
    assert float(second[1]) >= float(first[1])


async def test_what_is_not_there_is_seen_as_soon_as_it_is(fuse, store) -> None:
    path = fuse.mount / "cid" / cid_of([SMALL])
    assert not path.exists()
    await stored(store, SMALL)
    assert path.read_bytes() == SMALL


async def test_a_name_that_means_nothing_is_not_there(fuse) -> None:
    for name in ("cid/nonsense", "sha256/zz", "incoming/../cid/x", "incoming/0/1/data", "secret"):
        with pytest.raises(FileNotFoundError):
            (fuse.mount / name).read_bytes()


async def test_nothing_can_be_written(fuse, store) -> None:
    blob = await stored(store, SMALL)
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


async def test_a_file_is_read_while_it_grows_and_a_second_reader_joins_midway(fuse, store, threads) -> None:
    async with growing(store, BIG, 1) as attempt:
        first = threads(read_exactly, data(fuse, 1), len(BIG))
        await attempt.write(BIG[:CHUNK])
        assert await threads(read_exactly, data(fuse, 1), CHUNK) == BIG[:CHUNK]
        second = threads(read_exactly, data(fuse, 1), len(BIG))
        await attempt.write(BIG[CHUNK:])
        assert await threads(read_exactly, data(fuse, 1), SHOWN) == BIG[:SHOWN]
        assert not first.done()
        assert not second.done()
        await attempt.store(open_state(BIG), wanted(BIG).ref)
        assert await first == BIG
        assert await second == BIG


async def test_the_tail_is_withheld_until_the_whole_is_verified(fuse, store, threads) -> None:
    async with growing(store, BIG, 1) as attempt:
        await attempt.write(BIG)
        await threads(read_exactly, data(fuse, 1), SHOWN)
        assert data(fuse, 1).stat().st_size == SHOWN
        fd = await threads(os.open, data(fuse, 1), os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            await threads(os.pread, fd, 1, SHOWN)
        await attempt.store(open_state(BIG), wanted(BIG).ref)
        assert await threads(os.pread, fd, len(BIG), SHOWN) == BIG[SHOWN:]
        os.close(fd)


async def test_the_state_of_an_attempt_can_be_read_as_it_changes(fuse, store) -> None:
    state = data(fuse, 1).with_name("state.json")
    async with growing(store, BIG, 1) as attempt:
        assert json.loads(state.read_bytes())["phase"] == "open"
        await attempt.write(BIG)
        blob, _ = await attempt.store(open_state(BIG), wanted(BIG).ref)
    assert json.loads(state.read_bytes())["cid"] == blob.cid


async def test_the_data_of_a_verified_attempt_is_the_blob(fuse, store, threads) -> None:
    await stored(store, BIG, 5)
    assert await threads(read_exactly, data(fuse, 5), len(BIG) + 1) == BIG
    assert data(fuse, 5).stat().st_size == len(BIG)


async def test_stalled_files_hold_up_nobody(fuse, store, threads) -> None:
    blob = await stored(store, SMALL, 1, "small.bin")
    async with growing(store, BIG, 2) as attempt:
        await attempt.write(BIG[: CHUNK + 1])
        stalled = [threads(read_exactly, data(fuse, 2), len(BIG)) for _ in range(30)]
        await until(lambda: fuse.metric("dpm_fuse_waiting") == len(stalled))
        assert await threads((fuse.mount / "cid" / blob.cid).read_bytes) == SMALL
        assert await threads(read_exactly, data(fuse, 2), CHUNK) == BIG[:CHUNK]
        assert not any(reader.done() for reader in stalled)
        await attempt.write(BIG[CHUNK + 1 :])
        await attempt.store(open_state(BIG), wanted(BIG).ref)
        assert set(await asyncio.gather(*stalled)) == {BIG}


async def test_a_reader_of_an_attempt_that_fails_gets_eio(fuse, store, threads) -> None:
    async with growing(store, BIG, 1) as attempt:
        await attempt.write(BIG[:CHUNK])
        waiting = threads(read_exactly, data(fuse, 1), len(BIG))
        await until(lambda: fuse.metric("dpm_fuse_waiting") == 1)
        await attempt.publish(open_state(BIG).failed(Failure(FailReason.UNAVAILABLE, "upstream hung up")))
        with pytest.raises(OSError) as caught:
            await waiting
        assert caught.value.errno == errno.EIO


WRITER = """
import asyncio, sys
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.fusefs import growing
from pathlib import Path

async def main():
    async with DiskBlobStore(Home(Path(sys.argv[1]))) as store:
        async with growing(store, bytes(3 << 20), 1) as attempt:
            await attempt.write(bytes(1 << 20))
            print("written", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


def launch_writer(home: Home) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WRITER, str(home.root)], stdout=subprocess.PIPE)


async def test_a_reader_of_an_attempt_whose_writer_is_killed_gets_estale(fuse, home, threads) -> None:
    writer = launch_writer(home)
    try:
        assert await threads(writer.stdout.readline) == b"written\n"
        waiting = threads(read_exactly, data(fuse, 1), 3 << 20)
        await until(lambda: fuse.metric("dpm_fuse_waiting") == 1)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    with pytest.raises(OSError) as caught:
        await waiting
    assert caught.value.errno == errno.ESTALE


async def test_a_flipped_byte_on_disk_is_eio_and_nobody_sees_the_wrong_bytes(fuse, store) -> None:
    blob = await stored(store, BIG)
    flip(store.path(blob.cid), 2 * CHUNK + 5)
    path = fuse.mount / "cid" / blob.cid
    with pytest.raises(OSError) as caught:
        read_exactly(path, CHUNK, 2 * CHUNK)
    assert caught.value.errno == errno.EIO
    assert fuse.metric("dpm_fuse_mismatches_total") >= 1
    assert read_exactly(path, CHUNK) == BIG[:CHUNK]


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "big"])
async def test_a_file_that_was_cut_short_on_disk_never_ends_early(fuse, store, content) -> None:
    for number, left in enumerate((2 * CHUNK, CHUNK, 1, 0), start=1):
        if left < len(content):
            blob = await stored(store, content + bytes([number]), number, f"{number}.bin")
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


async def test_a_mismatch_is_told_on_the_tap(home, store) -> None:
    server = NatsServer(home)
    announce_bus(home, server.url)
    fuse = FuseFs(home)
    try:
        await server.start()
        blob = await stored(store, BIG)
        flip(store.path(blob.cid), 5)
        fuse.start()
        async with server.bus("anything") as bus:
            heard = asyncio.ensure_future(anext(bus.tap.listen(MISMATCH)))
            async with asyncio.timeout(30):
                while not heard.done():  # what is told before somebody listens is lost
                    with pytest.raises(OSError):
                        await asyncio.to_thread(read_exactly, fuse.mount / "cid" / blob.cid, 1)
                    await asyncio.wait({heard}, timeout=0.05)
        assert json.loads(heard.result())["cid"] == blob.cid
    finally:
        fuse.close()
        await server.stop()


async def test_reads_are_counted_by_the_name_that_was_used(fuse, store, threads) -> None:
    blob = await stored(store, BIG)
    (fuse.mount / "cid" / blob.cid).read_bytes()
    (fuse.mount / "sha256" / blob.sha256.hex).read_bytes()
    await threads(read_exactly, data(fuse, 1), len(BIG))
    for kind in ("cid", "sha256", "incoming"):
        assert fuse.metric(f'dpm_fuse_read_bytes_total{{kind="{kind}"}}') == len(BIG)
        assert fuse.metric(f'dpm_fuse_reads_total{{kind="{kind}"}}') >= 1
    assert fuse.metric("dpm_fuse_waiting") == 0


async def test_warm_reads_of_a_blob_come_from_the_page_cache(fuse, store) -> None:
    blob = await stored(store, BIG)
    path = fuse.mount / "cid" / blob.cid
    for _ in range(3):
        assert path.read_bytes() == BIG
    assert fuse.metric('dpm_fuse_read_bytes_total{kind="cid"}') == len(BIG)


async def test_sigterm_fails_waiting_reads_and_leaves_no_mount(fuse, store, threads) -> None:
    async with growing(store, BIG, 1) as attempt:
        await attempt.write(BIG[:CHUNK])
        waiting = [threads(read_exactly, data(fuse, 1), len(BIG)) for _ in range(3)]
        await until(lambda: fuse.metric("dpm_fuse_waiting") == 3)
        assert await threads(fuse.stop) == 0
        for each in waiting:
            with pytest.raises(OSError) as caught:
                await each
            assert caught.value.errno == errno.ENOTCONN
    assert not is_mounted(fuse.mount)
    assert names(fuse.mount) == []


async def test_a_mount_that_a_killed_fusefs_left_is_taken_over(fuse, store) -> None:
    blob = await stored(store, SMALL)
    fuse.kill()
    with pytest.raises(OSError) as caught:
        names(fuse.mount)
    assert caught.value.errno == errno.ENOTCONN
    fuse.start()
    assert (fuse.mount / "cid" / blob.cid).read_bytes() == SMALL
    assert fuse.stop() == 0
    assert not is_mounted(fuse.mount)


def test_one_home_has_one_fusefs(fuse, home) -> None:
    second = FuseFs(home)
    second.launch().wait(20)
    assert second.process.wait(20) == 1
    assert any("another fusefs" in line for line in second.log)
    assert (fuse.mount / ".alive").read_text().split()[0] == str(fuse.process.pid)


def test_fusefs_ends_with_an_error_when_somebody_unmounts_it(fuse) -> None:
    subprocess.run(["umount", str(fuse.mount)], check=True)
    assert fuse.process.wait(20) == 1


def test_a_folder_where_something_else_is_mounted_is_left_alone(home) -> None:
    fuse = FuseFs(home)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(home.mount)], check=True)
    try:
        fuse.launch().wait(20)
        assert fuse.process.wait(20) == 1
        assert any("tmpfs is mounted" in line for line in fuse.log)
        assert is_mounted(home.mount)
    finally:
        fuse.close()
