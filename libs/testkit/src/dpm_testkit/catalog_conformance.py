"""What every catalog promises. Subclass CatalogSuite and give its fixture ``catalog``, an empty one.

Also :func:`histories`: any course of events, for hypothesis.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import strategies

from dpm_core.artifacts import ArtifactRef, Blob, Lane, Validators, Want
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    BlobQuarantined,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchUnchanged,
    OriginKind,
    Source,
    Unknown,
)
from dpm_core.ports import Catalog, Entry, Shelves, Totals

NAMES = ("wheel", "sdist", "page", "other")
BODIES = (b"", b"some bytes", b"other bytes, more of them")
EPOCH = 1_700_000_000.0
KEPT = (("link", '</v2/next>; rel="next"'), ("other", "é"))


def ref(name: str = "wheel") -> ArtifactRef:
    """An artifact called ``name``."""
    return ArtifactRef("pypi", "http://upstream.example/", name)


def blob(body: bytes = BODIES[1], *algorithms: str) -> Blob:
    """The blob of ``body``, with sha256 and what else is named."""
    names = sorted({"sha256", *algorithms})
    digests = tuple(Digest(f"{name}:{hashlib.new(name, body).hexdigest()}") for name in names)
    return Blob(Cid.of_raw(hashlib.sha256(body).digest()), len(body), digests)


def stored(name: str = "wheel", held: Blob | None = None, fresh_for: float | None = None) -> ArtifactStored:
    """The artifact called ``name`` has come."""
    return ArtifactStored(
        ref=ref(name),
        name=f"{name}-1.0",
        blob=held or blob(),
        media_type="application/octet-stream",
        validators=Validators('"tag"', "Sat, 21 Nov 2026 00:00:00 GMT"),
        source=Source(OriginKind.UPSTREAM, "upstream.example"),
        seconds=0.5,
        vouched=fresh_for is None,
        fresh_for=fresh_for,
        fields=() if fresh_for is None else KEPT,
    )


def requested(name: str = "wheel") -> FetchRequested:
    """Somebody asked for it."""
    want = Want(ref(name), name, f"http://upstream.example/{name}", Lane.BLOB)
    return FetchRequested(want, deadline=4e9, gateway="gateway-pypi-0")


def unchanged(name: str = "wheel", held: Blob | None = None) -> FetchUnchanged:
    """Upstream confirmed it."""
    return FetchUnchanged(ref(name), (held or blob()).cid, Validators('W/"another"'))


def recorded(*events: Event, first: int = 1) -> list[Recorded]:
    """The events as a log holds them that gives ``first`` to the first, a minute apart."""
    return [
        Recorded(first + at, EPOCH + 60.0 * (first + at), event, f"id-{at}") for at, event in enumerate(events)
    ]


def histories(longest: int = 40) -> strategies.SearchStrategy[list[Recorded]]:
    """Any course of events about a few artifacts that share a few bodies, with gaps in its sequences."""
    names = strategies.sampled_from(NAMES)
    blobs = strategies.builds(
        blob, strategies.sampled_from(BODIES), strategies.sampled_from(("sha256", "md5", "sha512"))
    )
    events = strategies.one_of(
        strategies.builds(stored, names, blobs, strategies.sampled_from((None, 600.0))),
        strategies.builds(stored, names, blobs),
        strategies.builds(lambda name, held: ArtifactEvicted(ref(name), held.cid, "room"), names, blobs),
        strategies.builds(unchanged, names, blobs),
        strategies.builds(lambda name: ArtifactPinned(ref(name)), names),
        strategies.builds(lambda name: ArtifactUnpinned(ref(name)), names),
        strategies.builds(lambda held: BlobQuarantined(held.cid, "a leaf differs"), blobs),
        strategies.builds(requested, names),
    )
    steps = strategies.lists(strategies.tuples(strategies.integers(1, 3), events), max_size=longest)
    return steps.map(_numbered)


def _numbered(steps: Sequence[tuple[int, Event]]) -> list[Recorded]:
    history: list[Recorded] = []
    sequence = 0
    for gap, event in steps:
        sequence += gap
        history += recorded(event, first=sequence)
    return history


def entries(catalog: Catalog) -> dict[str, Entry | None]:
    """What a catalog says of every artifact that :func:`histories` knows."""
    return {name: catalog.find(ref(name).id) for name in NAMES}


class CatalogSuite:
    """The promises of Catalog."""

    def test_an_empty_catalog_holds_nothing(self, catalog: Catalog) -> None:
        assert catalog.find(ref().id) is None
        assert (catalog.position(), catalog.totals()) == (0, Totals(0, 0, 0))

    def test_what_was_stored_is_found_as_the_event_said(self, catalog: Catalog) -> None:
        (event,) = recorded(replace(stored(fresh_for=600.0), private=True), first=7)
        catalog.apply([event])
        assert catalog.find(ref().id) == Entry(
            ref=ref(),
            name="wheel-1.0",
            blob=blob(),
            media_type="application/octet-stream",
            validators=Validators('"tag"', "Sat, 21 Nov 2026 00:00:00 GMT"),
            token=7,
            stored_at=event.time,
            checked_at=event.time,
            fresh_for=600.0,
            vouched=False,
            fields=KEPT,
            private=True,
        )
        assert catalog.position() == 7

    def test_events_that_are_not_folded_move_the_position(self, catalog: Catalog) -> None:
        failed = FetchFailed(ref(), "wheel", FailReason.NOT_FOUND, "there is no such file", 404)
        catalog.apply(recorded(requested(), failed, Unknown("of-the-future")))
        assert (catalog.position(), catalog.totals().artifacts) == (3, 0)

    def test_events_that_were_folded_are_skipped(self, catalog: Catalog) -> None:
        history = recorded(stored(), ArtifactEvicted(ref(), blob().cid, "room"), stored())
        catalog.apply(history)
        catalog.apply(history[:2])
        assert catalog.find(ref().id) is not None
        assert catalog.position() == 3

    def test_a_batch_that_breaks_off_changes_nothing(self, catalog: Catalog) -> None:
        def breaking() -> Iterator[Recorded]:
            yield from recorded(stored())
            raise ConnectionError

        with pytest.raises(ConnectionError):
            catalog.apply(breaking())
        assert (catalog.find(ref().id), catalog.position()) == (None, 0)

    def test_the_newest_bytes_replace_older_ones(self, catalog: Catalog) -> None:
        newer = blob(BODIES[2])
        catalog.apply(recorded(stored(), stored(held=newer)))
        found = catalog.find(ref().id)
        assert found is not None
        assert (found.blob, found.token) == (newer, 2)
        assert catalog.totals() == Totals(1, 1, newer.size)

    def test_what_is_told_again_happened_when_it_did(self, catalog: Catalog) -> None:
        catalog.apply(recorded(replace(stored(fresh_for=60.0), stored_at=EPOCH - 1e6)))
        found = catalog.find(ref().id)
        assert found is not None
        assert (found.stored_at, found.checked_at) == (EPOCH - 1e6, EPOCH - 1e6)

    def test_a_confirmation_makes_fresh_and_leaves_the_rest(self, catalog: Catalog) -> None:
        first, second = recorded(stored(fresh_for=60.0), unchanged())
        catalog.apply([first])
        before = catalog.find(ref().id)
        catalog.apply([second])
        assert before is not None
        assert catalog.find(ref().id) == replace(before, checked_at=second.time)

    def test_a_confirmation_of_other_bytes_says_nothing(self, catalog: Catalog) -> None:
        catalog.apply(recorded(stored(), unchanged(held=blob(BODIES[2]))))
        found = catalog.find(ref().id)
        assert found is not None
        assert found.checked_at == found.stored_at

    def test_what_was_evicted_is_gone(self, catalog: Catalog) -> None:
        catalog.apply(recorded(stored(), ArtifactEvicted(ref(), blob().cid, "room")))
        assert (catalog.find(ref().id), catalog.totals()) == (None, Totals(0, 0, 0))

    def test_an_eviction_of_bytes_that_were_replaced_takes_nothing(self, catalog: Catalog) -> None:
        newer = blob(BODIES[2])
        catalog.apply(recorded(stored(), stored(held=newer), ArtifactEvicted(ref(), blob().cid, "room")))
        assert catalog.totals() == Totals(1, 1, newer.size)

    def test_freshness_does_not_outlive_an_eviction(self, catalog: Catalog) -> None:
        evicted = ArtifactEvicted(ref(), blob().cid, "room")
        catalog.apply(recorded(stored(), unchanged(), evicted, stored()))
        found = catalog.find(ref().id)
        assert found is not None
        assert found.checked_at == found.stored_at

    def test_shared_bytes_count_once(self, catalog: Catalog) -> None:
        catalog.apply(recorded(stored("wheel"), stored("sdist")))
        assert catalog.totals() == Totals(2, 1, blob().size)
        catalog.apply(recorded(ArtifactEvicted(ref("wheel"), blob().cid, "room"), first=3))
        assert catalog.totals() == Totals(1, 1, blob().size)

    def test_shared_bytes_keep_every_digest_that_was_computed(self, catalog: Catalog) -> None:
        md5, sha512 = blob(BODIES[1], "md5"), blob(BODIES[1], "sha512")
        catalog.apply(recorded(stored("wheel", md5), stored("sdist", sha512)))
        for name in ("wheel", "sdist"):
            found = catalog.find(ref(name).id)
            assert found is not None
            assert set(found.blob.digests) == {*md5.digests, *sha512.digests}

    def test_a_quarantined_blob_is_a_miss_for_all_that_share_it(self, catalog: Catalog) -> None:
        events = (stored("wheel"), stored("sdist"), stored("page", blob(BODIES[2])))
        catalog.apply(recorded(*events, BlobQuarantined(blob().cid, "a leaf differs")))
        assert [name for name, entry in entries(catalog).items() if entry] == ["page"]
        assert catalog.totals().blobs == 1

    def test_what_lies_beside_is_found_by_its_bytes(self, catalog: Shelves) -> None:
        here, below, elsewhere = ref("a/b/one"), ref("a/b/c/two"), ref("a/three")
        catalog.apply(recorded(stored("a/b/one"), stored("a/b/c/two", blob(BODIES[2])), stored("a/three")))
        found = catalog.beside(ref("a/b/other"), blob().cid)
        assert found == catalog.find(here.id) is not None
        assert catalog.beside(here, blob().cid) == found
        assert catalog.beside(ref("a/b/other"), blob(BODIES[2]).cid) is None
        assert catalog.beside(below, blob(BODIES[2]).cid) == catalog.find(below.id)
        assert catalog.beside(ref("a/%/other"), blob().cid) is None
        for other in (replace(here, upstream="http://other.example/"), replace(here, ecosystem="other")):
            assert catalog.beside(other, blob().cid) is None
        catalog.apply(recorded(ArtifactEvicted(elsewhere, blob().cid, "old"), first=4))
        assert catalog.beside(elsewhere, blob().cid) is None

    def test_everything_that_is_held_is_told(self, catalog: Shelves) -> None:
        assert list(catalog.entries()) == []
        catalog.apply(recorded(stored(), stored("page", fresh_for=600.0), stored("other")))
        catalog.apply(recorded(ArtifactEvicted(ref("other"), blob().cid, "because"), first=4))
        told = {entry.ref: entry for entry in catalog.entries()}
        assert told == {ref(name): catalog.find(ref(name).id) for name in ("wheel", "page")}

    def test_what_was_stored_since_is_told_in_its_order(self, catalog: Shelves) -> None:
        gone = ArtifactEvicted(ref("sdist"), blob().cid, "room")
        catalog.apply(recorded(stored("wheel"), stored("sdist"), stored("page"), gone, stored("other")))
        three = [(1, ref("wheel")), (3, ref("page")), (5, ref("other"))]
        assert catalog.since("pypi", 0, 10) == three
        assert catalog.since("pypi", 0, 2) == three[:2]
        assert catalog.since("pypi", 3, 2) == three[2:]
        assert catalog.since("oci", 0, 10) == []
        catalog.apply(recorded(unchanged("wheel"), stored("page", blob(BODIES[2])), first=6))
        assert catalog.since("pypi", 0, 10) == [three[0], three[2], (7, ref("page"))]

    def test_a_pin_holds_until_it_is_taken_back(self, catalog: Catalog) -> None:
        catalog.apply(recorded(stored(), ArtifactPinned(ref())))
        assert _pinned(catalog)
        catalog.apply(recorded(BlobQuarantined(blob().cid, "a leaf differs"), stored(), first=3))
        assert _pinned(catalog)
        catalog.apply(recorded(ArtifactUnpinned(ref()), first=5))
        assert not _pinned(catalog)


def _pinned(catalog: Catalog) -> bool:
    found = catalog.find(ref().id)
    return found is not None and found.pinned
