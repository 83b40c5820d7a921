import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import NO_VALIDATORS, ArtifactRef, Blob, Lane, Validators, Want
from dpm_core.attempts import AttemptState, AttemptView
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.events import (
    ArtifactPinned,
    ArtifactStored,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    OriginKind,
    Source,
)
from dpm_core.eviction import (
    GIB,
    LEAST_RESERVE,
    Evict,
    Pin,
    Quota,
    Standing,
    Stay,
    choose,
    decide_eviction,
    decide_pin,
    default_limit,
    default_reserve,
    excess,
)
from dpm_core.ports import Entry, Holding

NOW = 1_700_000_000.0
REF = ArtifactRef("pypi", "http://upstream.example/", "wheel")
WANT = Want(REF, "wheel", "http://upstream.example/wheel", Lane.BLOB)


def cid(number: int) -> Cid:
    return Cid.of_raw(hashlib.sha256(str(number).encode()).digest())


BLOB = Blob(cid(1), 5, (Digest("sha256:" + "0" * 64),))
ENTRY = Entry(REF, "wheel", BLOB, "application/zip", NO_VALIDATORS, 3, NOW, NOW)
STORED = ArtifactStored(
    REF, "wheel", BLOB, "application/zip", Validators(), Source(OriginKind.UPSTREAM, "u"), 1.0, True
)


def holdings() -> st.SearchStrategy[list[Holding]]:
    one = st.tuples(st.integers(0, 1000), st.floats(0, 1e9), st.booleans())
    return st.lists(one, max_size=30).map(
        lambda them: sorted(
            (Holding(cid(n), size, used, (f"{n:032x}",), pinned) for n, (size, used, pinned) in enumerate(them)),
            key=lambda each: each.used_at,
        )
    )


@pytest.mark.parametrize(
    ("disk", "limit", "reserve"),
    [(100 * GIB, 20 * GIB, GIB), (10_000 * GIB, 50 * GIB, GIB), (1000, 200, LEAST_RESERVE)],
)
def test_a_store_takes_a_fifth_of_its_disk_and_at_most_50_gib(disk: int, limit: int, reserve: int) -> None:
    assert (default_limit(disk), default_reserve(disk)) == (limit, reserve)


@pytest.mark.parametrize(
    ("held", "free", "bytes_to_go"),
    [
        (900, 500, 0),  # nine tenths are allowed
        (901, 500, 101),  # one more, and it goes down to eight
        (500, 50, 0),  # the reserve is whole
        (500, 49, 51),  # it is touched: as much again is made free
        (30, 0, 30),  # no more than there is
        (24, 0, 0),  # nothing where that is not even half of the reserve
        (2000, 10, 1200),  # the larger need counts
    ],
)
def test_room_is_made_from_nine_tenths_down_to_eight_or_when_the_disk_runs_full(
    held: int, free: int, bytes_to_go: int
) -> None:
    assert excess(held, free, Quota(1000, reserve=50)) == bytes_to_go


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**5))
def test_after_room_was_made_no_more_need_be_made(held: int, free: int, limit: int, reserve: int) -> None:
    quota = Quota(limit, reserve=reserve)
    gone = excess(held, free, quota)
    assert 0 <= gone <= held
    if gone < held:
        assert excess(held - gone, free + gone, quota) == 0


@given(holdings(), st.integers(-10, 20_000))
def test_what_goes_was_used_before_all_that_stays_but_what_is_pinned(held: list[Holding], need: int) -> None:
    going = choose(held, need)
    staying = [each for each in held if each not in going]
    assert not any(each.pinned for each in going)
    if going:
        newest = max(each.used_at for each in going)
        assert all(each.used_at >= newest or each.pinned or not each.size for each in staying)


@given(holdings(), st.integers(-10, 20_000))
def test_enough_goes_and_not_one_blob_more(held: list[Holding], need: int) -> None:
    going = choose(held, need)
    freed = sum(each.size for each in going)
    if freed < need:
        assert all(each.pinned or not each.size for each in held if each not in going)
    if going:
        assert freed - going[-1].size < need


def decided(
    event: Event, entry: Entry | None = ENTRY, *, position: int = 9, locked: bool | None = None, age: float = 0.0
) -> Evict | Stay:
    attempt = None if locked is None else AttemptView(9, AttemptState(), locked, 0, NOW)
    return decide_eviction(BLOB.cid, Standing(Recorded(9, NOW - age, event, "id"), position, entry, attempt), NOW)


def test_what_nobody_wants_now_may_go() -> None:
    assert decided(STORED) == Evict(9)
    assert decided(FetchFailed(REF, "wheel", FailReason.UNAVAILABLE, "down")) == Evict(9)


def test_what_is_asked_for_or_fetched_right_now_stays() -> None:
    asked = FetchRequested(WANT, NOW + 1, "gateway-0")
    assert isinstance(decided(asked), Stay)
    assert decided(replace(asked, deadline=NOW - 1)) == Evict(9)
    started = FetchStarted(WANT, 8, "fetcher-0")
    assert isinstance(decided(started, locked=True), Stay)
    assert decided(started, locked=False) == Evict(9)
    assert isinstance(decided(started), Stay)
    assert decided(started, age=60.0) == Evict(9)


def test_what_is_pinned_stays() -> None:
    assert isinstance(decided(ArtifactPinned(REF), replace(ENTRY, pinned=True)), Stay)


def test_nothing_is_decided_from_a_catalog_that_does_not_know_the_last_event() -> None:
    assert isinstance(decided(ArtifactPinned(REF), position=8), Stay)


def test_bytes_that_were_replaced_or_are_gone_are_no_longer_its_own() -> None:
    other = replace(ENTRY, blob=replace(BLOB, cid=cid(2)))
    assert isinstance(decided(STORED, other), Stay)
    assert isinstance(decided(STORED, None), Stay)
    assert isinstance(decide_eviction(BLOB.cid, Standing(None, 9, ENTRY), NOW), Stay)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pin_is_recorded_once_and_taken_back_once(pinned: bool) -> None:
    standing = Standing(Recorded(9, NOW, STORED, "id"), 9, replace(ENTRY, pinned=not pinned))
    assert decide_pin(pinned, standing, NOW) == Pin(9)
    assert isinstance(decide_pin(pinned, replace(standing, entry=replace(ENTRY, pinned=pinned)), NOW), Stay)


def test_a_pin_waits_for_a_fetch_and_for_the_catalog() -> None:
    asked = Recorded(9, NOW, FetchRequested(WANT, NOW + 1, "gateway-0"), "id")
    assert decide_pin(True, Standing(asked, 9, ENTRY), NOW) == Stay("it is being asked for", passing=True)
    stored = Recorded(9, NOW, STORED, "id")
    assert decide_pin(True, Standing(stored, 8, ENTRY), NOW) == Stay(
        "the catalog lags behind the log", passing=True
    )
    assert decide_pin(True, Standing(stored, 9, None), NOW) == Stay("it is no longer held")
