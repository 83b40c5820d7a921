"""What is promised of last uses and of leftovers. Subclass CareSuite and give its fixture ``kit``."""

from dataclasses import dataclass

from dpm_core.events import ArtifactEvicted, ArtifactPinned, ArtifactUnpinned, BlobQuarantined
from dpm_core.ports import Catalog, Leftovers, Uses
from dpm_testkit.catalog_conformance import BODIES, EPOCH, blob, recorded, ref, stored

OLD, NEW = blob(BODIES[1]), blob(BODIES[2])


@dataclass
class CareKit:
    """An empty catalog, and what is kept beside it."""

    catalog: Catalog
    uses: Uses
    leftovers: Leftovers


class CareSuite:
    """The promises of Uses and Leftovers."""

    def test_what_was_never_served_was_last_used_when_it_was_stored(self, kit: CareKit) -> None:
        (event,) = recorded(stored())
        kit.catalog.apply([event])
        (holding,) = kit.uses.holdings()
        assert (holding.cid, holding.size, holding.used_at) == (OLD.cid, OLD.size, event.time)
        assert (holding.artifacts, holding.pinned) == ((ref().id,), False)

    def test_holdings_come_least_recently_used_first(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("wheel", OLD), stored("sdist", NEW)))
        assert [each.cid for each in kit.uses.holdings()] == [OLD.cid, NEW.cid]
        kit.uses.use({ref("wheel").id: EPOCH + 10_000})
        assert [each.cid for each in kit.uses.holdings()] == [NEW.cid, OLD.cid]

    def test_an_index_outlives_the_files_that_came_by_it(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("page", OLD, fresh_for=600.0), stored("wheel", NEW)))
        assert [each.cid for each in kit.uses.holdings()] == [NEW.cid, OLD.cid]

    def test_an_older_word_about_a_use_changes_nothing(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored()))
        for at in (EPOCH + 10_000, EPOCH + 9_000):
            kit.uses.use({ref().id: at})
        assert [each.used_at for each in kit.uses.holdings()] == [EPOCH + 10_000]

    def test_a_blob_was_used_when_any_that_has_it_was(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("wheel"), stored("sdist")))
        kit.uses.use({ref("wheel").id: EPOCH + 10_000})
        (holding,) = kit.uses.holdings()
        assert holding.used_at == EPOCH + 10_000
        assert set(holding.artifacts) == {ref("wheel").id, ref("sdist").id}

    def test_a_blob_is_pinned_while_any_that_has_it_is(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("wheel"), stored("sdist"), ArtifactPinned(ref("sdist"))))
        assert [each.pinned for each in kit.uses.holdings()] == [True]
        kit.catalog.apply(recorded(ArtifactUnpinned(ref("sdist")), first=4))
        assert [each.pinned for each in kit.uses.holdings()] == [False]

    def test_a_use_of_what_is_not_held_is_passed_over_and_an_old_one_forgotten(self, kit: CareKit) -> None:
        kit.uses.use({ref().id: EPOCH + 10_000})
        events = recorded(stored(), ArtifactEvicted(ref(), OLD.cid, "room"), stored())
        kit.catalog.apply(events[:1])
        kit.uses.use({ref().id: EPOCH + 20_000})
        kit.catalog.apply(events[1:])
        assert [each.used_at for each in kit.uses.holdings()] == [events[2].time]

    def test_bytes_that_were_replaced_are_left_over(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("page", OLD), stored("page", NEW)))
        assert [(each.cid, each.size) for each in kit.leftovers.leftovers()] == [(OLD.cid, OLD.size)]
        assert (kit.leftovers.named(OLD.cid), kit.leftovers.named(NEW.cid)) == (False, True)

    def test_bytes_that_somebody_still_has_are_not_left_over(self, kit: CareKit) -> None:
        events = (stored("page", OLD), stored("sdist", OLD), stored("page", NEW))
        kit.catalog.apply(recorded(*events))
        assert kit.leftovers.leftovers() == []
        kit.catalog.apply(recorded(ArtifactEvicted(ref("sdist"), OLD.cid, "room"), first=4))
        assert [each.cid for each in kit.leftovers.leftovers()] == [OLD.cid]

    def test_a_quarantined_blob_is_left_over_too(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored(), BlobQuarantined(OLD.cid, "a leaf differs")))
        assert [each.cid for each in kit.leftovers.leftovers()] == [OLD.cid]

    def test_bytes_that_come_back_are_no_leftover_any_more(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("page", OLD), stored("page", NEW), stored("wheel", OLD)))
        assert kit.leftovers.leftovers() == []
        assert kit.leftovers.named(OLD.cid)

    def test_a_leftover_is_forgotten_once_its_file_is_gone(self, kit: CareKit) -> None:
        kit.catalog.apply(recorded(stored("page", OLD), stored("page", NEW)))
        kit.leftovers.forget(OLD.cid)
        assert kit.leftovers.leftovers() == []
