from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import NO_VALIDATORS, ArtifactRef, Blob, Lane, Want
from dpm_core.attempts import AttemptState, AttemptView, Phase
from dpm_core.cids import cid_of
from dpm_core.decisions import (
    DENIED_FOR,
    NEGATIVE_FOR,
    Ask,
    Behind,
    Claim,
    Expire,
    Follow,
    Join,
    Later,
    Recorded,
    Refuse,
    Serve,
    Settled,
    decide_claim,
    decide_request,
)
from dpm_core.digests import Digest
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
    OriginKind,
    Source,
)

NOW = 1_800_000_000.0
REF = ArtifactRef("pypi", "http://upstream.example/", "a.whl")
WANT = Want(REF, "a.whl", "http://upstream.example/a.whl", Lane.BLOB)
BLOB = Blob(cid_of([b"wheel"]), 5, ())
UPSTREAM = Source(OriginKind.UPSTREAM, "upstream.example")

REQUESTED = FetchRequested(WANT, deadline=NOW + 30, gateway="gateway-pypi-0")
STARTED = FetchStarted(WANT, request=40, fetcher="fetcher-0")
STORED = ArtifactStored(REF, "a.whl", BLOB, "application/zip", NO_VALIDATORS, UPSTREAM, 1.0, True)
UNCHANGED = FetchUnchanged(REF, BLOB.cid, NO_VALIDATORS)
NOT_FOUND = FetchFailed(REF, "a.whl", FailReason.NOT_FOUND, "no such file", 404)
EVICTED = ArtifactEvicted(REF, BLOB.cid, "to make room")
ALL = (
    REQUESTED, STARTED, STORED, UNCHANGED, NOT_FOUND, EVICTED, ArtifactPinned(REF), ArtifactUnpinned(REF),
)  # fmt: skip


def last(event: Event, *, at: float = NOW - 1) -> Recorded:
    """The event, as the artifact's last one, at sequence 42."""
    return Recorded(42, at, event, "id")


def test_what_was_never_asked_for_is_asked_for() -> None:
    assert decide_request(None, NOW, fresh_since=0) == Ask(0)


def test_who_asks_for_what_was_asked_for_joins() -> None:
    assert decide_request(last(REQUESTED), NOW, fresh_since=0) == Join(42)


def test_a_request_past_its_deadline_counts_as_absent() -> None:
    assert decide_request(last(REQUESTED), NOW + 30, fresh_since=0) == Join(42)
    assert decide_request(last(REQUESTED), NOW + 31, fresh_since=0) == Ask(42)


def test_a_transfer_under_way_is_followed_unless_it_is_known_to_be_dead() -> None:
    assert decide_request(last(STARTED), NOW, fresh_since=0, lost=41) == Follow(42)
    assert decide_request(last(STARTED), NOW, fresh_since=0, lost=42) == Ask(42)


def test_what_was_stored_meanwhile_is_served_if_fresh_and_there() -> None:
    assert decide_request(last(STORED), NOW, fresh_since=0) == Serve(BLOB.cid, NOW - 1, STORED)
    assert decide_request(last(STORED), NOW, fresh_since=NOW) == Ask(42)
    assert decide_request(last(STORED), NOW, fresh_since=0, missing=BLOB.cid) == Ask(42)


def test_what_was_confirmed_meanwhile_is_served_if_fresh_and_there() -> None:
    assert decide_request(last(UNCHANGED), NOW, fresh_since=0) == Serve(BLOB.cid, NOW - 1)
    assert decide_request(last(UNCHANGED), NOW, fresh_since=NOW) == Ask(42)
    assert decide_request(last(UNCHANGED), NOW, fresh_since=0, missing=BLOB.cid) == Ask(42)


def test_a_no_is_believed_for_a_while() -> None:
    old = NOW - NEGATIVE_FOR - 1
    assert decide_request(last(NOT_FOUND), NOW, fresh_since=0) == Refuse(NOT_FOUND)
    assert decide_request(last(NOT_FOUND, at=old), NOW, fresh_since=0) == Ask(42)
    assert decide_request(last(NOT_FOUND), NOW, fresh_since=NOW) == Ask(42)


def test_a_no_to_what_metadata_names_is_believed_for_a_moment() -> None:
    digests = (Digest("sha256:" + "0" * 64),)
    at = NOW - DENIED_FOR
    assert decide_request(last(NOT_FOUND, at=at), NOW, fresh_since=0, digests=digests) == Refuse(NOT_FOUND)
    assert decide_request(last(NOT_FOUND, at=at - 1), NOW, fresh_since=0, digests=digests) == Ask(42)


@pytest.mark.parametrize("reason", [reason for reason in FailReason if reason is not FailReason.NOT_FOUND])
def test_a_failure_that_is_no_answer_is_tried_again(reason: FailReason) -> None:
    assert decide_request(last(replace(NOT_FOUND, reason=reason)), NOW, fresh_since=0) == Ask(42)


def test_who_said_when_to_come_back_is_not_asked_before() -> None:
    busy = replace(NOT_FOUND, reason=FailReason.UNAVAILABLE, status=429, retry_after=20.0)
    assert decide_request(last(busy), NOW, fresh_since=NOW) == Refuse(replace(busy, retry_after=19.0))
    assert decide_request(last(busy, at=NOW - 20), NOW, fresh_since=0) == Ask(42)
    for_a_day = replace(busy, retry_after=86_400.0)
    assert decide_request(last(for_a_day, at=NOW - NEGATIVE_FOR), NOW, fresh_since=0) == Ask(42)


def test_what_failed_here_is_asked_for_again_at_once() -> None:
    full = replace(NOT_FOUND, reason=FailReason.UNAVAILABLE, status=None, retry_after=30.0)
    assert decide_request(last(full), NOW, fresh_since=0) == Ask(42)


def test_what_was_evicted_is_asked_for_again() -> None:
    assert decide_request(last(EVICTED), NOW, fresh_since=0) == Ask(42)


@given(st.sampled_from(ALL), st.floats(-100, 100), st.floats(-100, 100), st.integers(0, 99))
def test_whoever_asks_names_the_event_that_was_read(event: Event, age: float, fresh: float, lost: int) -> None:
    decision = decide_request(last(event, at=NOW - age), NOW, fresh_since=NOW - fresh, lost=lost)
    if isinstance(decision, Ask):
        assert decision.after == 42
    if isinstance(decision, Serve):
        assert decision.time >= NOW - fresh


def view(*, locked: bool, quiet: float = 1.0) -> AttemptView:
    """The attempt of token 42, without a byte for ``quiet`` seconds."""
    return AttemptView(42, AttemptState(Phase.OPEN), locked, 1000, NOW - quiet)


def claim(event: Event | None, sequence: int, attempt: AttemptView | None = None, now: float = NOW) -> object:
    return decide_claim(
        None if event is None else last(event), sequence, REQUESTED, attempt, now, stalled_after=30
    )


def test_a_request_that_is_the_last_word_is_claimed() -> None:
    assert claim(REQUESTED, 42) == Claim(42)


def test_a_request_past_its_deadline_is_told_to_have_expired() -> None:
    assert claim(REQUESTED, 42, now=NOW + 31) == Expire(42)


def test_a_request_that_a_later_one_replaced_is_settled() -> None:
    assert claim(REQUESTED, 40) == Settled()


def test_a_request_of_which_nothing_is_left_is_settled() -> None:
    assert claim(None, 40) == Settled()


@pytest.mark.parametrize("event", [STORED, UNCHANGED, NOT_FOUND, EVICTED], ids=lambda event: type(event).__name__)
def test_a_request_that_has_its_answer_is_settled(event: Event) -> None:
    assert claim(event, 40) == Settled()


def test_the_bytes_of_a_dead_writer_are_adopted() -> None:
    assert claim(STARTED, 40, view(locked=False)) == Claim(42, adopt=42)
    assert claim(STARTED, 40, view(locked=False), now=NOW + 3600) == Claim(42, adopt=42)


def test_a_writer_that_writes_is_left_alone() -> None:
    assert isinstance(claim(STARTED, 40, view(locked=True, quiet=29)), Later)


def test_a_stalled_writer_is_superseded_and_its_bytes_are_not_adopted() -> None:
    assert claim(STARTED, 40, view(locked=True, quiet=30)) == Claim(42)


def test_an_attempt_without_a_folder_is_begun_anew() -> None:
    assert claim(STARTED, 40) == Claim(42)


def test_whatever_ends_the_attempt_that_was_asked_for_is_its_answer() -> None:
    failed = replace(NOT_FOUND, reason=FailReason.UNAVAILABLE)
    assert decide_request(last(failed), NOW, fresh_since=0, asked=41) == Refuse(failed)
    assert decide_request(last(failed), NOW, fresh_since=0, asked=42) == Ask(42)
    assert decide_request(last(STORED), NOW, fresh_since=NOW, missing=BLOB.cid, asked=41) == Serve(
        BLOB.cid, NOW - 1, STORED
    )
    assert decide_request(last(UNCHANGED), NOW, fresh_since=NOW, asked=41) == Serve(BLOB.cid, NOW - 1)


RIGHT, WRONG = (Digest(f"sha256:{digit * 64}") for digit in "ab")


def test_what_has_other_digests_is_no_answer() -> None:
    stored = replace(STORED, blob=replace(BLOB, digests=(WRONG,)))
    assert decide_request(last(stored), NOW, fresh_since=0, digests=[RIGHT]) == Ask(42)
    assert decide_request(last(stored), NOW, fresh_since=0, digests=[RIGHT], asked=41) == Ask(42)
    assert isinstance(decide_request(last(stored), NOW, fresh_since=0, digests=[WRONG]), Serve)


def test_a_fetch_of_other_bytes_is_waited_for_and_not_followed() -> None:
    other = replace(WANT, digests=(WRONG,))
    requested, started = replace(REQUESTED, want=other), replace(STARTED, want=other)
    assert decide_request(last(requested), NOW, fresh_since=0, digests=[RIGHT]) == Behind(42)
    assert decide_request(last(started), NOW, fresh_since=0, digests=[RIGHT]) == Behind(42)
    assert decide_request(last(started), NOW, fresh_since=0, digests=[RIGHT], lost=42) == Ask(42)
    assert decide_request(last(started), NOW, fresh_since=0, digests=[WRONG]) == Follow(42)


def test_an_old_request_adopts_nothing_from_the_attempt_at_a_newer_one() -> None:
    assert claim(STARTED, 39, view(locked=False)) == Settled()


def test_a_writer_with_a_verdict_is_left_to_record_it() -> None:
    verified = replace(view(locked=True, quiet=3600), state=AttemptState(Phase.VERIFIED))
    assert isinstance(claim(STARTED, 40, verified), Later)
