"""The store on real disks of a few MiB: one is filled to the last byte, the other loses its end."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dpm_core.errors import DiskFails, Untrusted
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.disk_conformance import FullDiskKit, FullDiskSuite
from dpm_testkit.disks import MIB, FailingDisk, SmallDisk, failing_disk, small_disk
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

pytestmark = pytest.mark.real


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", mib=16) as disk:
        yield disk


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[FailingDisk]:
    with failing_disk(tmp_path / "disk", mib=32) as disk:
        yield disk


def home_on(disk: SmallDisk | FailingDisk) -> Home:
    home = Home(disk.folder / "home")
    home.prepare()
    return home


class TestFullDiskBlobStore(FullDiskSuite):
    @pytest.fixture
    async def kit(self, small: SmallDisk) -> AsyncIterator[FullDiskKit]:
        async with DiskBlobStore(home_on(small), poll_seconds=3600.0) as store:
            yield FullDiskKit(store, small.fill, small.free)


async def test_attempts_leave_the_last_bytes_to_the_log(small: SmallDisk) -> None:
    async with DiskBlobStore(home_on(small), floor=8 * MIB) as store:
        attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
        small.fill(left=8 * MIB + 50_000)
        with pytest.raises(DiskFails, match="No space left on device but for 8 MiB that are left to the log"):
            await attempt.write(BODY[GOT:])
        await attempt.write(BODY[GOT : GOT + 10_000])
        await attempt.close()
        small.fill(left=8 * MIB - 10_000)
        with pytest.raises(DiskFails, match="begin"):
            await store.begin(want(SMALL))


async def test_right_bytes_that_a_failing_disk_does_not_keep_reach_their_readers(failing: FailingDisk) -> None:
    async with DiskBlobStore(home_on(failing)) as store:
        held = await stored(store, 3, BODY, "held")
        attempt = await begun(store, 7, want(BODY[:GOT]), open_state(GOT), b"")
        failing.lose_all_behind(store.path(held.cid))
        await attempt.write(BODY[:GOT])
        with pytest.raises(DiskFails, match="Input/output error") as refused:
            await attempt.store(open_state(GOT), UPSTREAM)
        assert refused.value.lasting and "dmesg" in refused.value.advice
        growing = await following(store, 7, want(BODY[:GOT]))
        assert await all_of(growing) == BODY[:GOT]
        growing.close()
        await attempt.close()
        assert await content(store, held.cid) == BODY
        assert list(store.cids()) == [held.cid]


async def test_bytes_that_cannot_be_read_are_as_wrong_as_others(failing: FailingDisk) -> None:
    async with DiskBlobStore(home_on(failing)) as store:
        held = await stored(store, 3)
        failing.lose_end_of(store.path(held.cid))
        with pytest.raises(Untrusted, match="cannot be read"):
            await content(store, held.cid)
        assert await store.check(held.cid) == "it cannot be read: Input/output error"
        assert await store.quarantine(held.cid) is not None
        assert await store.open(held.cid) is None
