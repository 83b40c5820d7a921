"""What every blob store promises on a disk that is full. Subclass the suite and give its fixture ``kit``."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dpm_core.attempts import Failure
from dpm_core.cids import cid_of
from dpm_core.errors import AttemptFailed, DiskFails
from dpm_core.events import FailReason
from dpm_testkit.patience import soon
from dpm_testkit.store_samples import (
    BODY,
    GOT,
    SMALL,
    UPSTREAM,
    Store,
    all_of,
    begun,
    content,
    following,
    open_state,
    stored,
    want,
)


@dataclass
class FullDiskKit:
    """A store whose disk somebody fills to the last byte, and frees again."""

    store: Store
    fill: Callable[[], None]
    free: Callable[[], None]


class FullDiskSuite:
    """The promises of BlobStore and Intake while there is no room."""

    async def test_what_is_held_is_read_from_a_full_disk(self, kit: FullDiskKit) -> None:
        small, large = await stored(kit.store, 3, SMALL, "small"), await stored(kit.store, 4)
        kit.fill()
        assert await content(kit.store, small.cid) == SMALL
        assert await content(kit.store, large.cid) == BODY

    async def test_a_full_disk_is_told_with_what_to_do(self, kit: FullDiskKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), b"")
        kit.fill()
        with pytest.raises(DiskFails) as refused:
            await attempt.write(BODY)
        assert "No space left" in refused.value.what and "dpm gc" in refused.value.advice
        assert not refused.value.lasting
        await attempt.close()

    async def test_the_bytes_so_far_still_count_once_there_is_room(self, kit: FullDiskKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        kit.fill()
        with pytest.raises(DiskFails):
            await attempt.write(BODY[GOT:])
        view = kit.store.view(want().ref.id, 7)
        assert view is not None and view.written == GOT
        kit.free()
        await attempt.write(BODY[GOT:])
        blob, _ = await attempt.store(open_state(), UPSTREAM)
        assert await content(kit.store, blob.cid) == BODY
        await attempt.close()

    async def test_what_is_whole_is_stored_once_there_is_room(self, kit: FullDiskKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY)
        kit.fill()
        with pytest.raises(DiskFails):
            await attempt.store(open_state(), UPSTREAM)
        assert await kit.store.open(cid_of([BODY])) is None
        kit.free()
        blob, _ = await attempt.store(open_state(), UPSTREAM)
        assert await content(kit.store, blob.cid) == BODY
        await attempt.close()

    async def test_readers_are_told_why_though_the_disk_is_full(self, kit: FullDiskKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(kit.store, 7)
        reading = asyncio.ensure_future(all_of(growing))
        kit.fill()
        with pytest.raises(DiskFails) as refused:
            await attempt.write(BODY[GOT:])
        await attempt.publish(open_state().failed(Failure.of(refused.value)))
        with pytest.raises(AttemptFailed) as failed:
            await soon(reading)
        assert failed.value.failure.reason is FailReason.DISK
        growing.close()
        await attempt.close()
