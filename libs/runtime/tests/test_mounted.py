"""A gateway's reads: through a real mount, and past it when nobody answers there."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from dpm_core.attempts import WITHHELD_TAIL, Failure, Phase
from dpm_core.cids import CHUNK, cid_of
from dpm_core.errors import AttemptFailed, AttemptLost, Untrusted
from dpm_core.events import FailReason
from dpm_core.ports import Body, Growing
from dpm_runtime.home import Home
from dpm_runtime.mounted import MountedBlobStore
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.fusefs import FuseFs
from dpm_testkit.patience import PATIENCE, until
from dpm_testkit.store_samples import BODY, SMALL, UPSTREAM, attempting, following, held, open_state, stored, want

pytestmark = pytest.mark.real

ID = want().ref.id


@pytest.fixture
async def mounted(home: Home, store: DiskBlobStore) -> AsyncIterator[MountedBlobStore]:
    mounted = MountedBlobStore(home, store)
    yield mounted
    mounted.close()


async def whole(file: Body | Growing, size: int = len(BODY), offset: int = 0) -> bytes:
    """Read in pieces until ``size`` bytes are here or the file ends."""
    parts = b""
    while len(parts) < size and (part := await file.read(offset + len(parts), min(size - len(parts), 300_000))):
        parts += part
    return parts


async def test_a_blob_is_read_through_the_mount(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    for number, content in enumerate((b"", SMALL, BODY), start=1):
        blob = await stored(store, number, content, f"{number}.bin")
        body = await held(mounted, blob.cid)
        assert body.size == len(content)
        assert await body.read(0, len(content) + 1) == content
        assert await body.read(len(content), 5) == b""
        body.close()
        body.close()
    assert fuse.metric('dpm_fuse_read_bytes_total{kind="cid"}') == len(SMALL) + len(BODY)
    assert mounted.bypasses == 0


async def test_what_nobody_has_is_none_and_casts_no_doubt(fuse: FuseFs, mounted: MountedBlobStore) -> None:
    assert await mounted.open(cid_of([b"never stored"])) is None
    assert await mounted.follow(ID, 3) is None
    assert await mounted.newest(ID) is None
    assert not mounted.suspect
    assert mounted.bypasses == 0


async def test_an_attempt_is_followed_through_the_mount_from_its_opening_to_its_end(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    attempt = await store.begin(want())
    await attempt.start(7)
    assert await mounted.newest(ID) == 7
    file = await following(mounted, 7)
    opened, reader = asyncio.ensure_future(file.opened()), asyncio.ensure_future(whole(file))
    await attempt.publish(open_state())
    await attempt.write(BODY[: 2 * CHUNK])
    assert (await opened).length == len(BODY)
    second = await following(mounted, 7)
    assert await whole(second, 2 * CHUNK) == BODY[: 2 * CHUNK]
    await attempt.write(BODY[2 * CHUNK :])
    assert not reader.done()
    await attempt.store(open_state(), UPSTREAM)
    assert await reader == BODY
    assert (await second.opened()).phase is Phase.VERIFIED
    assert await second.read(len(BODY), 1) == b""
    await attempt.close()
    file.close()
    second.close()
    assert fuse.metric('dpm_fuse_read_bytes_total{kind="incoming"}') > len(BODY)
    assert mounted.bypasses == 0


async def test_a_read_that_waits_longer_than_a_slice_goes_on_waiting(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    async with attempting(store, 1) as attempt:
        file = await following(mounted, 1)
        reader = asyncio.ensure_future(file.read(0, 10))
        await asyncio.wait({reader}, timeout=3)
        assert not reader.done()
        await attempt.write(BODY[:CHUNK])
        assert await reader == BODY[:10]
        file.close()
    assert mounted.bypasses == 0


async def test_a_failed_attempt_says_why(fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore) -> None:
    async with attempting(store, 1) as attempt:
        file = await following(mounted, 1)
        reading, opened = asyncio.ensure_future(file.read(0, 10)), asyncio.ensure_future(file.opened())
        await attempt.publish(open_state().failed(Failure(FailReason.UNTRUSTED, "the digest differs")))
        with pytest.raises(AttemptFailed) as caught:
            await reading
        assert caught.value.failure.reason is FailReason.UNTRUSTED
        assert (await opened).phase is Phase.FAILED
        file.close()
    assert mounted.bypasses == 0


async def test_an_attempt_whose_writer_lets_go_is_lost(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    async with attempting(store, 1) as attempt:
        await attempt.write(BODY[:CHUNK])
        file = await following(mounted, 1)
        assert await file.read(0, 10) == BODY[:10]
        reader = asyncio.ensure_future(file.read(CHUNK, 10))
    with pytest.raises(AttemptLost):
        await reader
    file.close()
    assert mounted.bypasses == 0


async def test_a_closed_file_lets_its_waiting_reader_go(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    async with attempting(store, 1):
        file = await following(mounted, 1)
        reader = asyncio.ensure_future(file.read(0, 10))
        await asyncio.wait({reader}, timeout=0.1)
        file.close()
        file.close()
        with pytest.raises(AttemptLost):
            await reader


async def test_more_waiting_readers_than_threads_hold_up_no_blob(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    blob = await stored(store, 1, SMALL, "small.bin")
    async with attempting(store, 2) as attempt:
        await attempt.write(BODY[:CHUNK])
        files = [await following(mounted, 2) for _ in range(40)]
        readers = [asyncio.ensure_future(file.read(CHUNK, 1)) for file in files]
        body = await held(mounted, blob.cid)
        assert await body.read(0, len(SMALL) + 1) == SMALL
        assert await files[0].read(0, 10) == BODY[:10]
        assert not any(reader.done() for reader in readers)
        await attempt.write(BODY[CHUNK:])
        await asyncio.gather(*readers)
        for file in files:
            file.close()
    assert mounted.bypasses == 0


async def test_a_blob_goes_on_from_the_store_when_fusefs_is_killed_and_returns_to_a_new_one(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    blob = await stored(store, 1)
    body = await held(mounted, blob.cid)
    assert await body.read(0, CHUNK) == BODY[:CHUNK]
    fuse.kill()
    assert await whole(body, len(BODY), CHUNK) == BODY[CHUNK:]
    assert mounted.suspect
    assert mounted.bypasses > 0
    fuse.start()
    await until(lambda: not mounted.suspect)
    bypasses = mounted.bypasses
    assert await whole(body) == BODY
    assert fuse.metric('dpm_fuse_read_bytes_total{kind="cid"}') >= len(BODY)
    assert mounted.bypasses == bypasses
    body.close()


async def test_a_growing_file_goes_on_from_the_store_when_fusefs_is_killed(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    async with attempting(store, 1) as attempt:
        await attempt.write(BODY[:CHUNK])
        file = await following(mounted, 1)
        reader = asyncio.ensure_future(whole(file))
        assert await file.read(0, 10) == BODY[:10]
        fuse.kill()
        await attempt.write(BODY[CHUNK:])
        assert await whole(file, len(BODY) - WITHHELD_TAIL) == BODY[:-WITHHELD_TAIL]
        await attempt.store(open_state(), UPSTREAM)
        assert await reader == BODY
        file.close()
    assert mounted.bypasses > 0


async def test_reads_go_on_from_the_store_while_fusefs_is_stopped_and_return_when_it_goes_on(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    blob = await stored(store, 1, name="other.bin")
    async with attempting(store, 2) as attempt:
        await attempt.write(BODY[:CHUNK])
        file = await following(mounted, 2)
        reader = asyncio.ensure_future(whole(file))
        assert await file.read(0, 10) == BODY[:10]
        fuse.signal(signal.SIGSTOP)
        body = await held(mounted, blob.cid)
        assert await whole(body) == BODY
        await attempt.write(BODY[CHUNK:])
        await attempt.store(open_state(), UPSTREAM)
        assert await reader == BODY
        assert mounted.bypasses > 0
        fuse.signal(signal.SIGCONT)
        await until(lambda: not mounted.suspect)
        bypasses = mounted.bypasses
        assert await whole(body) == BODY
        assert mounted.bypasses == bypasses
        body.close()
        file.close()


async def test_a_fusefs_that_stops_in_order_hands_its_readers_to_the_store(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    async with attempting(store, 1) as attempt:
        file = await following(mounted, 1)
        reader = asyncio.ensure_future(whole(file))
        await asyncio.wait({reader}, timeout=0.1)
        assert await asyncio.to_thread(fuse.stop) == 0
        await attempt.write(BODY)
        await attempt.store(open_state(), UPSTREAM)
        assert await reader == BODY
        file.close()


async def test_a_node_without_a_mount_serves_from_the_store_and_says_so(
    home: Home, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    blob = await stored(store, 1, name="other.bin")
    body = await held(mounted, blob.cid)
    assert await whole(body) == BODY
    async with attempting(store, 2) as attempt:
        file = await following(mounted, 2)
        await attempt.write(BODY[:CHUNK])
        assert await whole(file, CHUNK) == BODY[:CHUNK]
        file.close()
    body.close()
    assert mounted.suspect
    assert mounted.bypasses > 0


async def test_when_the_disk_lies_the_mount_is_believed_and_nothing_is_bypassed(
    fuse: FuseFs, store: DiskBlobStore, mounted: MountedBlobStore
) -> None:
    blob = await stored(store, 1)
    body = await held(mounted, blob.cid)
    with store.path(blob.cid).open("r+b") as file:
        file.write(bytes([BODY[0] ^ 1]))
    # the store of this process may not have the chunk in its memory
    with pytest.raises(Untrusted):
        await body.read(0, 10)
    assert not mounted.suspect
    assert mounted.bypasses == 0
    body.close()


STUCK = """
import asyncio, os, signal, sys
from pathlib import Path
from dpm_runtime.home import Home
from dpm_runtime.mounted import MountedBlobStore
from dpm_runtime.store import DiskBlobStore

async def main():
    home = Home(Path(sys.argv[1]))
    async with DiskBlobStore(home) as store:
        mounted = MountedBlobStore(home, store)
        if len(sys.argv) > 3:
            os.kill(int(sys.argv[3]), signal.SIGSTOP)
        file = await mounted.follow(sys.argv[2], 1)
        reading = asyncio.ensure_future(file.read(0, 1))
        await asyncio.wait({reading}, timeout=0.2)
        assert mounted.suspect is (len(sys.argv) > 3)
        mounted.close()
        file.close()
        await asyncio.wait({reading})
        print(type(reading.exception()).__name__)

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["bytes still to come", "fusefs stopped"])
async def test_a_read_that_is_stuck_does_not_hold_up_the_end_of_its_process(
    fuse: FuseFs, home: Home, store: DiskBlobStore, stopped: bool
) -> None:
    async with attempting(store, 1):
        reader = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", STUCK, str(home.root), ID, *([str(fuse.process.pid)] if stopped else [])),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                output, errors = await reader.communicate()
        finally:
            fuse.kill()
        assert (output, errors, reader.returncode) == (b"AttemptLost\n", b"", 0)
