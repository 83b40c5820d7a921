from dataclasses import replace

import pytest

from dpm_core.artifacts import NO_VALIDATORS, ArtifactRef, Blob, Lane, Validators, Want
from dpm_core.attempts import AttemptState, AttemptView
from dpm_core.cids import cid_of
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    OriginKind,
    Source,
)
from dpm_core.eviction import Standing, Stay
from dpm_core.ports import Entry
from dpm_core.seeding import Gone, Known, Seed, SeedingDecision, decide_seeding
from dpm_core.sidecars import Kept

STORED_AT = 1_700_000_000.0
NOW = STORED_AT + 1000
REF = ArtifactRef("pypi", "http://upstream.example/", "wheel")
WANT = Want(REF, "wheel", "http://upstream.example/wheel", Lane.BLOB)
CID, OTHER = cid_of([b"bytes"]), cid_of([b"other"])
BLOB = Blob(CID, 5, (Digest("sha256:" + "0" * 64),))
SOURCE = Source(OriginKind.UPSTREAM, "upstream.example")
KEPT = Kept(7, STORED_AT, REF, "wheel-1.0", "application/zip", Validators('"1"'), SOURCE, True)
ENTRY = Entry(REF, "wheel-1.0", BLOB, "application/zip", NO_VALIDATORS, 3, STORED_AT, STORED_AT)
STARTED = FetchStarted(WANT, 8, "fetcher-0")


def decided(
    event: Event | None, *, time: float = NOW - 500, entry: Entry | None = None, attempt: AttemptView | None = None
) -> SeedingDecision:
    """What is done about KEPT when this was the artifact's last event, at sequence 9."""
    last = None if event is None else Recorded(9, time, event, "id")
    return decide_seeding(CID, KEPT, Standing(last, 9, entry, attempt), NOW)


def test_a_log_that_knows_nothing_of_it_is_told() -> None:
    assert decided(None) == Seed(0)


def test_what_is_held_with_these_bytes_or_newer_ones_is_known() -> None:
    assert decided(ArtifactPinned(REF), entry=ENTRY) == Known()
    newer = replace(ENTRY, blob=replace(BLOB, cid=OTHER), stored_at=STORED_AT + 1)
    assert decided(ArtifactPinned(REF), entry=newer) == Known()


def test_newer_bytes_than_the_log_knows_of_are_told() -> None:
    older = replace(ENTRY, blob=replace(BLOB, cid=OTHER), stored_at=STORED_AT - 1)
    assert decided(ArtifactPinned(REF), entry=older) == Seed(9)


def test_what_was_evicted_since_stays_so_and_what_came_after_that_does_not() -> None:
    assert decided(ArtifactEvicted(REF, CID, "to make room")) == Gone()
    assert decided(ArtifactEvicted(REF, OTHER, "to make room"), time=STORED_AT - 1) == Seed(9)


def test_a_fetch_that_came_to_nothing_hides_nothing() -> None:
    assert decided(FetchFailed(REF, "wheel", FailReason.UNAVAILABLE, "upstream is away")) == Seed(9)
    assert decided(FetchRequested(WANT, NOW - 1, "gateway-0")) == Seed(9)
    assert decided(STARTED) == Seed(9)


@pytest.mark.parametrize(
    ("event", "attempt"),
    [
        (FetchRequested(WANT, NOW + 1, "gateway-0"), None),
        (STARTED, AttemptView(9, AttemptState(), True, 0, NOW)),
    ],
)
def test_what_is_being_fetched_is_left_to_its_fetcher(event: Event, attempt: AttemptView | None) -> None:
    decision = decided(event, attempt=attempt)
    assert isinstance(decision, Stay) and decision.passing
