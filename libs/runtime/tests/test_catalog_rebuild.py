"""Whatever happened, a catalog folded again from the log is the catalog that was lost."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.decisions import Recorded
from dpm_core.events import lifetime
from dpm_core.ports import Holding
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_testkit.catalog_conformance import entries, histories
from dpm_testkit.memory_catalog import MemoryCatalog

few = settings(max_examples=60, deadline=None)


@contextmanager
def folded(*batches: Sequence[Recorded]) -> Iterator[SqliteCatalog]:
    with tempfile.TemporaryDirectory() as folder, closing(SqliteCatalog.writer(Path(folder))) as catalog:
        for batch in batches:
            catalog.apply(batch)
        yield catalog


def _plain(holding: Holding) -> Holding:
    return replace(holding, artifacts=tuple(sorted(holding.artifacts)))


@few
@given(histories(), st.integers(0, 40))
def test_sqlite_and_its_twin_say_the_same_of_any_history(history: list[Recorded], cut: int) -> None:
    twin = MemoryCatalog()
    twin.apply(history)
    with folded(history[:cut], history[cut:]) as catalog:
        assert entries(catalog) == entries(twin)
        assert (catalog.totals(), catalog.position()) == (twin.totals(), twin.position())
        care = SqliteCare(catalog)
        assert {each.cid for each in care.leftovers()} == {each.cid for each in twin.leftovers()}
        assert [_plain(each) for each in care.holdings()] == [_plain(each) for each in twin.holdings()]


@few
@given(histories(), st.integers(0, 40), st.integers(0, 40))
def test_a_rebuild_gives_every_folded_table_again(history: list[Recorded], cut: int, again: int) -> None:
    # the first life saw some events twice, after a restart
    with folded(history[:cut], history[:again], history) as lived, folded(history) as rebuilt:
        assert rebuilt.folded_tables() == lived.folded_tables()


@few
@given(histories())
def test_events_that_expire_from_the_log_leave_no_trace_in_folded_tables(history: list[Recorded]) -> None:
    kept = [recorded for recorded in history if lifetime(recorded.event) is None]
    with folded(history) as lived, folded(kept) as rebuilt:
        before, after = lived.folded_tables(), rebuilt.folded_tables()
        before.pop("position")
        after.pop("position")
        assert after == before
