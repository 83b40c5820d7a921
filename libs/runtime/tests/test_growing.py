import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_core.attempts import AttemptState
from dpm_core.errors import AttemptLost
from dpm_runtime import growth_watch
from dpm_runtime.attempt_files import DiskAttempt
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.patience import soon, wait_on
from dpm_testkit.store_samples import (
    BODY,
    GOT,
    UPSTREAM,
    all_of,
    begun,
    following,
    open_state,
    stored,
    up_to,
    want,
)

NEVER = 3600.0


@pytest.fixture
async def store(home: Home) -> AsyncIterator[DiskBlobStore]:
    async with DiskBlobStore(home, poll_seconds=NEVER) as store:
        yield store


async def test_a_writer_that_is_killed_ends_waiting_reads_by_the_event(
    store: DiskBlobStore, writer: asyncio.subprocess.Process
) -> None:
    growing = await following(store, 7)
    assert await up_to(growing, GOT) == BODY[:GOT]
    reading = asyncio.ensure_future(growing.read(GOT, 1))
    await wait_on(reading)
    os.kill(writer.pid, signal.SIGKILL)
    with pytest.raises(AttemptLost):
        await soon(reading)
    growing.close()


async def test_a_writer_that_is_paused_is_waited_for(
    store: DiskBlobStore, writer: asyncio.subprocess.Process
) -> None:
    os.kill(writer.pid, signal.SIGSTOP)
    growing = await following(store, 7)
    reading = asyncio.ensure_future(growing.read(GOT, 1))
    await wait_on(reading)
    view = store.view(want().ref.id, 7)
    assert view is not None and view.locked
    os.kill(writer.pid, signal.SIGKILL)
    with pytest.raises(AttemptLost):
        await soon(reading)
    growing.close()


async def test_what_a_killed_process_had_written_is_gone_on_from(
    store: DiskBlobStore, writer: asyncio.subprocess.Process
) -> None:
    growing = await following(store, 7)
    reading = asyncio.ensure_future(growing.read(GOT, 1))
    os.kill(writer.pid, signal.SIGKILL)
    with pytest.raises(AttemptLost):
        await soon(reading)
    attempt = await store.begin(want())
    assert await attempt.start(12, adopt=7) == GOT
    await attempt.publish(open_state())
    await attempt.write(BODY[GOT:])
    await attempt.store(open_state(), UPSTREAM)
    await attempt.close()
    successor = await following(store, 12)
    assert await all_of(successor) == BODY
    successor.close()
    growing.close()


async def test_stopping_ends_reads_that_wait_and_those_to_come(store: DiskBlobStore) -> None:
    blob = await stored(store, 3, name="done")
    attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
    growing = await following(store, 7)
    reading = asyncio.ensure_future(growing.read(GOT, 1))
    opening = await store.begin(want(name="other"))
    await opening.start(9)
    unopened = await following(store, 9, want(name="other"))
    opened = asyncio.ensure_future(unopened.opened())
    await wait_on(reading, opened)
    store.fail_all()
    with pytest.raises(AttemptLost):
        await soon(reading)
    with pytest.raises(AttemptLost):
        await soon(opened)
    late = await following(store, 7)
    with pytest.raises(AttemptLost):
        await late.read(GOT, 1)
    body = await store.open(blob.cid)
    assert body is not None
    body.close()
    for file in (growing, unopened, late):
        file.close()
    await attempt.close()
    await opening.close()


async def test_a_reader_that_goes_away_disturbs_no_other(store: DiskBlobStore) -> None:
    attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
    growing = await following(store, 7)
    gone, stays = (asyncio.ensure_future(growing.read(GOT, 10)) for _ in range(2))
    await wait_on(gone, stays)
    gone.cancel()
    await attempt.write(BODY[GOT:])
    assert await soon(stays) == BODY[GOT : GOT + 10]
    growing.close()
    await attempt.close()


async def test_without_inotify_growth_is_polled(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(**_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(growth_watch, "Inotify", none_left)
    async with DiskBlobStore(home, poll_seconds=0.01) as store:
        attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(store, 7)
        reading = asyncio.ensure_future(all_of(growing))
        await attempt.write(BODY[GOT:])
        await attempt.store(open_state(), UPSTREAM)
        assert await soon(reading) == BODY
        growing.close()
        await attempt.close()


async def test_an_overflow_of_events_loses_nothing(store: DiskBlobStore, home: Home) -> None:
    """The loop stands still while more happens than the kernel queues: it says so, and all is looked at."""
    attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
    growing = await following(store, 7)
    reading = asyncio.ensure_future(growing.read(GOT, 10))
    await wait_on(reading)
    folder = home.incoming / want().ref.id / "7"
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    others = [os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in ("one", "two")]
    for number in range(limit + 10):  # equal neighbours would be merged
        os.pwrite(others[number % 2], b"?", 0)
    assert isinstance(attempt, DiskAttempt)
    os.pwrite(attempt._fd, BODY[GOT : GOT + 10], GOT)
    for fd in others:
        os.close(fd)
    assert await soon(reading) == BODY[GOT : GOT + 10]
    growing.close()
    await attempt.close()


async def test_a_state_that_cannot_be_read_is_a_lost_attempt(store: DiskBlobStore, home: Home) -> None:
    attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
    growing = await following(store, 7)
    reading = asyncio.ensure_future(growing.read(GOT, 10))
    await wait_on(reading)
    folder = home.incoming / want().ref.id / "7"
    (folder / "rubbish").write_text("{")
    (folder / "rubbish").rename(folder / "state.json")
    with pytest.raises(AttemptLost):
        await soon(reading)
    growing.close()
    await attempt.close()


async def test_bytes_that_were_seen_and_have_gone_are_a_lost_attempt(store: DiskBlobStore) -> None:
    attempt = await begun(store, 7, want(), open_state(), BODY)
    growing = await following(store, 7)
    blob, _ = await attempt.store(open_state(), UPSTREAM)
    assert await all_of(growing) == BODY
    os.truncate(store.path(blob.cid), GOT)
    with pytest.raises(AttemptLost):
        await all_of(growing)
    growing.close()
    await attempt.close()


async def test_a_confirmed_blob_that_has_left_is_a_lost_attempt(store: DiskBlobStore) -> None:
    blob = await stored(store, 3)
    attempt = await store.begin(want())
    await attempt.start(7)
    await attempt.publish(AttemptState().verified(blob.cid, blob.size))
    growing = await following(store, 7)
    await store.remove(blob.cid)
    with pytest.raises(AttemptLost):
        await growing.read(0, 10)
    growing.close()
    await attempt.close()


async def test_nothing_stays_open_behind_readers_and_writers(store: DiskBlobStore) -> None:
    await stored(store, 3)  # opens what a store has once
    first = await following(store, 3)
    first.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
    files = [await following(store, 7) for _ in range(5)]
    await up_to(files[0], GOT)
    await attempt.write(BODY[GOT:])
    await attempt.store(open_state(), UPSTREAM)
    await attempt.close()
    for file in files:
        file.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
