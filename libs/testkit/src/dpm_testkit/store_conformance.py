"""What every blob store promises its readers and its writer. Subclass the suite and give the fixture ``kit``."""

import asyncio
import time

import pytest

from dpm_core.artifacts import Blob
from dpm_core.attempts import WITHHELD_TAIL, AttemptState, Failure, Phase
from dpm_core.cids import cid_of
from dpm_core.errors import AttemptFailed, AttemptLost, Untrusted
from dpm_core.events import FailReason
from dpm_core.sidecars import Sidecar
from dpm_testkit.patience import PATIENCE, soon, wait_on
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
    tried,
    up_to,
    want,
)
from dpm_testkit.store_sweeping import StoreKit, SweepingSuite


class BlobStoreSuite(SweepingSuite):
    """The promises of the ports BlobStore and Intake."""

    async def test_bytes_are_readable_as_they_come_and_the_tail_once_verified(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(kit.store, 7)
        state = await soon(asyncio.ensure_future(growing.opened()))
        assert (state.phase, state.length, state.media_type) == (Phase.OPEN, len(BODY), "application/zip")
        assert await up_to(growing, GOT) == BODY[:GOT]
        tail = asyncio.ensure_future(growing.read(len(BODY) - WITHHELD_TAIL, 10))
        await attempt.write(BODY[GOT:])
        shown = await soon(asyncio.ensure_future(up_to(growing, len(BODY) - WITHHELD_TAIL)))
        assert shown == BODY[:-WITHHELD_TAIL]
        assert not tail.done()
        blob, final = await attempt.store(open_state(), UPSTREAM)
        assert final == open_state().verified(cid_of([BODY]), len(BODY))
        assert await soon(tail) == BODY[-WITHHELD_TAIL:][:10]
        assert await all_of(growing) == BODY
        assert await content(kit.store, blob.cid) == BODY
        assert blob == Blob(cid_of([BODY]), len(BODY), want().digests)
        growing.close()
        await attempt.close()

    async def test_a_read_across_the_frontier_returns_the_short_part_at_once(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(kit.store, 7)
        await up_to(growing, GOT)
        assert await growing.read(GOT - 5, 1000) == BODY[GOT - 5 : GOT]
        growing.close()
        await attempt.close()

    async def test_a_small_body_is_withheld_whole(self, kit: StoreKit) -> None:
        it = want(SMALL)
        attempt = await begun(kit.store, 7, it, open_state(len(SMALL)), SMALL)
        growing = await following(kit.store, 7, it)
        first = asyncio.ensure_future(growing.read(0, 10))
        opened = asyncio.ensure_future(growing.opened())
        await wait_on(first, opened)
        await attempt.store(open_state(len(SMALL)), UPSTREAM)
        assert await soon(first) == SMALL[:10]
        assert (await soon(opened)).phase is Phase.VERIFIED
        growing.close()
        await attempt.close()

    async def test_what_nothing_vouches_for_waits_for_its_end(self, kit: StoreKit) -> None:
        it, state = want(vouched=False), open_state(None, streams=False)
        attempt = await begun(kit.store, 7, it, state, BODY)
        growing = await following(kit.store, 7)
        first = asyncio.ensure_future(growing.read(0, 10))
        await wait_on(first)
        _, final = await attempt.store(state, UPSTREAM)
        assert final.length == len(BODY)
        assert await soon(first) == BODY[:10]
        assert await all_of(growing) == BODY
        growing.close()
        await attempt.close()

    async def test_an_empty_body_ends_at_once(self, kit: StoreKit) -> None:
        it = want(b"")
        attempt = await begun(kit.store, 7, it, open_state(0), b"")
        growing = await following(kit.store, 7, it)
        reading = asyncio.ensure_future(growing.read(0, 10))
        blob, _ = await attempt.store(open_state(0), UPSTREAM)
        assert await soon(reading) == b""
        assert await content(kit.store, blob.cid) == b""
        growing.close()
        await attempt.close()

    @pytest.mark.parametrize("wrong", [BODY[:-1] + b"?", BODY[:-1], BODY + b"?"], ids=["digest", "short", "long"])
    async def test_a_wrong_body_leaves_nothing_and_nobody_has_it_whole(self, kit: StoreKit, wrong: bytes) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), wrong)
        growing = await following(kit.store, 7)
        shown = await up_to(growing, len(BODY) - WITHHELD_TAIL)
        assert len(shown) == len(BODY) - WITHHELD_TAIL
        tail = asyncio.ensure_future(growing.read(len(shown), 1))
        with pytest.raises(Untrusted):
            await attempt.store(open_state(), UPSTREAM)
        failure = Failure(FailReason.UNTRUSTED, "not what was asked for")
        await attempt.publish(open_state().failed(failure))
        with pytest.raises(AttemptFailed) as failed:
            await soon(tail)
        assert failed.value.failure == failure
        assert (await growing.opened()).failure == failure
        assert await content(kit.store, cid_of([wrong])) is None
        growing.close()
        await attempt.close()
        late = await following(kit.store, 7)
        with pytest.raises(AttemptFailed):
            await late.read(0, 1)
        late.close()

    async def test_a_failed_fetch_tells_its_readers_why(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(kit.store, 7)
        reading = asyncio.ensure_future(growing.read(len(BODY), 1))
        await attempt.publish(tried(open_state()))
        with pytest.raises(AttemptFailed) as failed:
            await soon(reading)
        assert (failed.value.failure.status, failed.value.retry_after) == (502, 7.0)
        growing.close()
        await attempt.close()

    async def test_the_first_verdict_stands(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY)
        await attempt.store(open_state(), UPSTREAM)
        await attempt.publish(tried(open_state()))
        growing = await following(kit.store, 7)
        assert await all_of(growing) == BODY
        growing.close()
        await attempt.close()

    async def test_readers_who_come_at_different_times_get_the_same(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        files = [await following(kit.store, 7) for _ in range(20)]
        early = [asyncio.ensure_future(all_of(file, 200_000)) for file in files]
        await up_to(files[0], GOT)
        late = await following(kit.store, 7)
        joined = asyncio.ensure_future(all_of(late))
        await attempt.write(BODY[GOT:])
        await attempt.store(open_state(), UPSTREAM)
        await attempt.close()
        last = await following(kit.store, 7)
        for reading in [*early, joined, asyncio.ensure_future(all_of(last))]:
            assert await soon(reading) == BODY
        for file in (*files, late, last):
            file.close()

    async def test_a_dead_writer_ends_the_reads_that_wait_for_it(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(kit.store, 7)
        reading = asyncio.ensure_future(growing.read(GOT, 10))
        opened = asyncio.ensure_future(growing.opened())
        assert (await soon(opened)).phase is Phase.OPEN
        kit.kill(attempt)
        with pytest.raises(AttemptLost):
            await soon(reading)
        with pytest.raises(AttemptLost):
            await growing.opened()
        growing.close()
        await attempt.close()

    async def test_a_newer_attempt_ends_the_reads_of_an_older_one(self, kit: StoreKit) -> None:
        stalled = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        growing = await following(kit.store, 7)
        reading = asyncio.ensure_future(growing.read(GOT, 10))
        newer = await begun(kit.store, 12, want(), open_state(), b"")
        with pytest.raises(AttemptLost):
            await soon(reading)
        assert await kit.store.newest(want().ref.id) == 12
        growing.close()
        await stalled.close()
        await newer.close()

    async def test_a_successor_goes_on_from_the_bytes_of_a_dead_attempt(self, kit: StoreKit) -> None:
        dead = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        kit.kill(dead)
        await dead.close()
        attempt = await kit.store.begin(want())
        assert await attempt.start(12, adopt=7) == GOT
        growing = await following(kit.store, 12)
        await attempt.publish(open_state())
        assert await up_to(growing, GOT) == BODY[:GOT]
        await attempt.write(BODY[GOT:])
        blob, _ = await attempt.store(open_state(), UPSTREAM)
        assert await all_of(growing) == BODY
        assert await content(kit.store, blob.cid) == BODY
        growing.close()
        await attempt.close()

    async def test_nothing_is_adopted_from_a_living_writer_a_failure_or_nobody(self, kit: StoreKit) -> None:
        living = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        failed = await begun(kit.store, 8, want(), open_state(), BODY[:GOT])
        await failed.publish(tried(open_state()))
        await failed.close()
        for token, adopt in ((12, 7), (13, 8), (14, 3)):
            attempt = await kit.store.begin(want())
            assert await attempt.start(token, adopt) == 0
            await attempt.close()
        view = kit.store.view(want().ref.id, 7)
        assert view is not None and view.written == GOT
        await living.close()

    async def test_a_body_may_be_begun_again_before_anything_was_shown(self, kit: StoreKit) -> None:
        it = want(SMALL)
        attempt = await begun(kit.store, 7, it, open_state(len(SMALL)), b"not this at all")
        growing = await following(kit.store, 7, it)
        reading = asyncio.ensure_future(all_of(growing))
        with pytest.raises(Untrusted):
            await attempt.store(open_state(len(SMALL)), UPSTREAM)
        await attempt.restart()
        await attempt.write(SMALL)
        await attempt.store(open_state(len(SMALL)), UPSTREAM)
        assert await soon(reading) == SMALL
        growing.close()
        await attempt.close()

    async def test_what_upstream_confirms_is_read_from_the_blob(self, kit: StoreKit) -> None:
        blob = await stored(kit.store, 3)
        attempt = await kit.store.begin(want())
        await attempt.start(7)
        growing = await following(kit.store, 7)
        reading = asyncio.ensure_future(all_of(growing))
        await attempt.publish(AttemptState().verified(blob.cid, blob.size))
        assert await soon(reading) == BODY
        view = kit.store.view(want().ref.id, 7)
        assert view is not None and view.written == len(BODY)
        growing.close()
        await attempt.close()

    async def test_the_same_bytes_stored_twice_are_one_blob(self, kit: StoreKit) -> None:
        first = await stored(kit.store, 3)
        again = await stored(kit.store, 7)
        other = await stored(kit.store, 9, name="the same under another name")
        assert first == again == other
        late = await following(kit.store, 7)
        assert await all_of(late) == BODY
        late.close()
        assert await content(kit.store, first.cid) == BODY

    async def test_a_blob_that_rots_is_not_believed(self, kit: StoreKit) -> None:
        for body in (SMALL, BODY):
            blob = await stored(kit.store, 3, body, f"{len(body)} bytes")
            kit.spoil(blob.cid)
            with pytest.raises(Untrusted):
                await content(kit.store, blob.cid)

    async def test_what_is_not_there_is_none(self, kit: StoreKit) -> None:
        assert await kit.store.open(cid_of([b"nobody stored this"])) is None
        assert await kit.store.follow(want().ref.id, 7) is None
        assert await kit.store.newest(want().ref.id) is None
        assert kit.store.view(want().ref.id, 7) is None

    async def test_an_attempt_is_seen_from_its_start_and_one_never_started_vanishes(self, kit: StoreKit) -> None:
        attempt = await kit.store.begin(want())
        assert await kit.store.newest(want().ref.id) is None
        await attempt.close()
        assert await kit.store.newest(want().ref.id) is None
        attempt = await kit.store.begin(want())
        await attempt.start(7)
        await attempt.publish(open_state())
        await attempt.write(BODY[:GOT])
        view = kit.store.view(want().ref.id, 7)
        assert view is not None
        assert (view.token, view.state, view.locked, view.written) == (7, open_state(), True, GOT)
        assert abs(view.grown_at - time.time()) < PATIENCE
        kit.kill(attempt)
        view = kit.store.view(want().ref.id, 7)
        assert view is not None and not view.locked
        await attempt.close()

    async def test_closing_a_file_ends_its_own_reads_only(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        mine, other = await following(kit.store, 7), await following(kit.store, 7)
        readings = [asyncio.ensure_future(each.read(GOT, 10)) for each in (mine, other)]
        await wait_on(*readings)
        mine.close()
        mine.close()
        with pytest.raises(AttemptLost):
            await soon(readings[0])
        await attempt.write(BODY[GOT:])
        assert await soon(readings[1]) == BODY[GOT : GOT + 10]
        other.close()
        await attempt.close()

    async def test_a_removed_blob_is_gone_and_its_open_readers_finish(self, kit: StoreKit) -> None:
        blob = await stored(kit.store, 3)
        body = await kit.store.open(blob.cid)
        assert body is not None
        await kit.store.remove(blob.cid)
        await kit.store.remove(blob.cid)
        assert await body.read(0, len(BODY)) == BODY
        body.close()
        body.close()
        assert await kit.store.open(blob.cid) is None

    async def test_a_blob_stays_if_its_sidecar_says_so(self, kit: StoreKit) -> None:
        blob = await stored(kit.store, 3)

        def is_wanted(sidecar: Sidecar | None) -> bool:
            return sidecar is not None and want().ref.id in sidecar.artifacts

        assert not await kit.store.remove(blob.cid, unless=is_wanted)
        assert await content(kit.store, blob.cid) == BODY
        assert await kit.store.remove(blob.cid, unless=lambda sidecar: not is_wanted(sidecar))
        assert kit.store.sidecar(blob.cid) is None
        assert not await kit.store.remove(blob.cid, unless=lambda sidecar: sidecar is None)

    async def test_a_blob_with_other_bytes_is_set_aside_and_a_right_one_is_not(self, kit: StoreKit) -> None:
        right, wrong = await stored(kit.store, 3), await stored(kit.store, 4, SMALL)
        kit.spoil(wrong.cid)
        assert [await kit.store.check(blob.cid) is None for blob in (right, wrong)] == [True, False]
        assert [await kit.store.quarantine(blob.cid) is None for blob in (right, wrong)] == [True, False]
        assert await content(kit.store, right.cid) == BODY
        assert await kit.store.open(wrong.cid) is None
        assert kit.store.sidecar(wrong.cid) is None
        assert await kit.store.check(wrong.cid) is None
        assert await kit.store.quarantine(wrong.cid) is None
        assert await stored(kit.store, 5, SMALL) == wrong
        assert await content(kit.store, wrong.cid) == SMALL
