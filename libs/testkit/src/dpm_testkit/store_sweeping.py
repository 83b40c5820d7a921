"""What every blob store promises of attempts that are over: a part of its suite."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dpm_core.cids import Cid, cid_of
from dpm_core.ports import Attempt
from dpm_testkit.store_samples import (
    BODY,
    GOT,
    UPSTREAM,
    Store,
    all_of,
    begun,
    content,
    following,
    open_state,
    stored,
    up_to,
    want,
)


@dataclass
class StoreKit:
    """A store to be judged; ways to let a writer die, and to let a blob rot."""

    store: Store
    kill: Callable[[Attempt], None]
    spoil: Callable[[Cid], None]


class SweepingSuite:
    """What a sweep takes, and what it leaves to be told of."""

    async def test_a_sweep_takes_what_is_over_after_a_minute_and_what_died_after_ten(self, kit: StoreKit) -> None:
        await stored(kit.store, 3, name="over")
        dead = await begun(kit.store, 7, want(name="dead"), open_state(), BODY[:GOT])
        kit.kill(dead)
        await dead.close()
        living = await begun(kit.store, 9, want(name="living"), open_state(), BODY[:GOT])
        now = time.time()
        left = [await kit.store.sweep(now + seconds) for seconds in (30, 70, 500, 700)]
        assert left == [0, 1, 0, 1]
        assert await kit.store.newest(want(name="living").ref.id) == 9
        assert await kit.store.newest(want(name="over").ref.id) is None
        assert await content(kit.store, cid_of([BODY])) == BODY
        await living.close()

    async def test_an_attempt_that_died_before_it_could_tell_left_its_blob_to_be_told_of(
        self, kit: StoreKit
    ) -> None:
        blob = await stored(kit.store, 7)
        left = kit.store.left(want().ref.id, 7)
        assert left is not None
        assert (left.ref, left.blob, left.source) == (want().ref, blob, UPSTREAM)
        assert kit.store.left(want().ref.id, 8) is None
        await stored(kit.store, 9)
        assert kit.store.left(want().ref.id, 7) is None  # a later attempt has the word
        await kit.store.remove(blob.cid)
        assert kit.store.left(want().ref.id, 9) is None

    async def test_a_superseded_attempt_that_stores_late_does_not_take_the_word_from_the_newer_one(
        self, kit: StoreKit
    ) -> None:
        superseded = await begun(kit.store, 7, want(), open_state(), BODY)
        blob = await stored(kit.store, 9, settled=False)
        await superseded.store(open_state(), UPSTREAM)
        await superseded.close()
        left = kit.store.left(want().ref.id, 9)
        assert left is not None and left.blob == blob
        assert kit.store.left(want().ref.id, 7) is None

    async def test_what_a_superseded_attempt_stored_first_is_told_of_by_the_newer_one(self, kit: StoreKit) -> None:
        superseded = await begun(kit.store, 7, want(), open_state(), BODY)
        newer = await begun(kit.store, 9, want(), open_state(), BODY)
        for attempt in (superseded, newer):
            await attempt.store(open_state(), UPSTREAM)
            await attempt.close()
        assert kit.store.left(want().ref.id, 9) is not None
        assert kit.store.left(want().ref.id, 7) is None

    async def test_an_attempt_that_died_before_its_blob_was_kept_left_nothing_to_be_told_of(
        self, kit: StoreKit
    ) -> None:
        dead = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        kit.kill(dead)
        await dead.close()
        assert kit.store.left(want().ref.id, 7) is None

    async def test_a_sweep_leaves_what_is_still_to_be_told_of_for_a_day(self, kit: StoreKit) -> None:
        await stored(kit.store, 7, settled=False)
        now = time.time()
        assert await kit.store.sweep(now + 86_000) == 0
        assert kit.store.left(want().ref.id, 7) is not None
        assert await kit.store.sweep(now + 87_000) == 1

    async def test_a_sweep_takes_a_dead_attempt_after_a_minute_once_a_newer_one_goes_on(
        self, kit: StoreKit
    ) -> None:
        dead = await begun(kit.store, 7, want(), open_state(), BODY[:GOT])
        kit.kill(dead)
        await dead.close()
        successor = await kit.store.begin(want())
        assert await successor.start(9, adopt=7) == GOT
        now = time.time()
        assert [await kit.store.sweep(now + seconds) for seconds in (30, 70)] == [0, 1]
        assert await kit.store.follow(want().ref.id, 7) is None
        assert await kit.store.newest(want().ref.id) == 9
        await successor.close()

    async def test_a_reader_that_is_on_its_way_survives_a_sweep(self, kit: StoreKit) -> None:
        attempt = await begun(kit.store, 7, want(), open_state(), BODY)
        growing = await following(kit.store, 7)
        await attempt.store(open_state(), UPSTREAM)
        await attempt.close()
        assert await up_to(growing, 100) == BODY[:100]
        await kit.store.sweep(time.time() + 70)
        assert await all_of(growing) == BODY
        growing.close()
