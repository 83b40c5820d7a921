"""What members say they have is found by digest, follows what they say, and may be lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_core.adverts import Delta
from dpm_core.cids import CHUNK
from dpm_core.errors import Invalid
from dpm_core.following import Place
from dpm_core.inventory import Shared
from dpm_peer import table as table_module
from dpm_peer.table import Counts, Listed, Shown, Table
from dpm_testkit.peer_things import file_of, page_of

ANN, BEN = "@ann:matrix.test", "@ben:matrix.test"
HERE, NEXT = Place(7, 0, 100), Place(7, 1, 100)
LARGE = file_of(9, 3 * CHUNK, "application/zip")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    table = Table(tmp_path / "peers" / "team.sqlite")
    yield table
    table.close()


async def test_everybody_who_has_a_file_is_found_with_the_file_as_each_says_it(table: Table) -> None:
    await table.replace(ANN, HERE, [file_of(1), LARGE])
    await table.replace(BEN, HERE, [file_of(1, 10, "text/plain")])
    assert table.holders(LARGE.sha256) == [Listed(ANN, LARGE)]
    assert table.holders(file_of(1).sha256) == [Listed(ANN, file_of(1)), Listed(BEN, file_of(1, 10, "text/plain"))]
    assert table.holders(file_of(2).sha256) == []


async def test_a_sample_is_of_what_nobody_else_has(table: Table) -> None:
    common, own = [file_of(number) for number in range(600)], {file_of(number) for number in range(600, 603)}
    await table.replace(ANN, HERE, [*common, *own])
    await table.replace(BEN, HERE, common)
    samples = [set(table.sample(ANN)) for _ in range(20)]
    assert all(each and each <= own for each in samples)
    assert set.union(*samples) == own
    assert table.sample(BEN) == table.sample("@eve:matrix.test") == []


async def test_who_confirmed_a_page_last_stands_first(table: Table) -> None:
    old, new = page_of(1), page_of(1)
    object.__setattr__(new, "checked_at", old.checked_at + 1)
    await table.replace(ANN, HERE, [old])
    await table.replace(BEN, HERE, [new])
    assert table.pages(old.id) == [Shown(BEN, new), Shown(ANN, old)]


async def test_an_inventory_replaces_all_that_was_known_of_its_member_alone(table: Table) -> None:
    await table.replace(ANN, HERE, [file_of(1), page_of(1)])
    await table.replace(BEN, HERE, [file_of(1)])
    await table.replace(ANN, NEXT, [file_of(2)])
    assert [each.user for each in table.holders(file_of(1).sha256)] == [BEN]
    assert table.pages(page_of(1).id) == []
    assert (table.place(ANN), table.place(BEN)) == (NEXT, HERE)
    assert table.counts() == Counts(members=2, files=2, pages=0)


async def test_an_inventory_that_breaks_off_changes_nothing(table: Table) -> None:
    def breaks_off() -> Iterator[Shared]:
        yield file_of(2)
        raise Invalid("no more")

    await table.replace(ANN, HERE, [file_of(1)])
    with pytest.raises(Invalid):
        await table.replace(ANN, NEXT, breaks_off())
    assert table.place(ANN) == HERE
    assert (len(table.holders(file_of(1).sha256)), table.holders(file_of(2).sha256)) == (1, [])


async def test_a_delta_drops_adds_and_replaces(table: Table) -> None:
    await table.replace(ANN, HERE, [file_of(1), file_of(2), page_of(1)])
    again = file_of(2, 11)
    change = Delta(7, 1, (file_of(1).sha256,), (again, file_of(3)), (page_of(1).id,), (page_of(2),))
    await table.apply(ANN, change, NEXT)
    assert table.place(ANN) == NEXT
    assert table.holders(file_of(1).sha256) == []
    assert table.pages(page_of(1).id) == []
    assert table.holders(again.sha256) == [Listed(ANN, again)]
    assert table.counts() == Counts(members=1, files=2, pages=1)


async def test_deltas_cannot_say_more_than_an_inventory(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "LINES_LIMIT", 2)
    await table.replace(ANN, HERE, [file_of(1), page_of(1)])
    with pytest.raises(Invalid):
        await table.apply(ANN, Delta(7, 1, add=(file_of(2),)), NEXT)
    assert table.place(ANN) == HERE


async def test_who_is_forgotten_has_nothing(table: Table) -> None:
    await table.replace(ANN, HERE, [file_of(1), page_of(1)])
    await table.forget(ANN)
    await table.forget(BEN)
    assert table.place(ANN) is None
    assert table.counts() == Counts(0, 0, 0)


async def test_it_is_there_after_a_restart_and_begun_anew_if_it_is_spoilt(tmp_path: Path) -> None:
    path = tmp_path / "team.sqlite"
    table = Table(path)
    await table.replace(ANN, HERE, [LARGE])
    await table.remember("s1")
    table.close()
    table = Table(path)
    assert (table.token(), table.holders(LARGE.sha256)) == ("s1", [Listed(ANN, LARGE)])
    table.close()
    path.write_bytes(b"this is no database" * 1000)
    table = Table(path)
    assert (table.token(), table.place(ANN)) == (None, None)
    await table.replace(ANN, HERE, [LARGE])
    table.close()


async def test_look_ups_go_on_while_an_inventory_is_read_and_cancelling_that_undoes_it(table: Table) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless() -> Iterator[Shared]:
        for number in range(10**9):
            if number == 5_000:
                loop.call_soon_threadsafe(begun.set)
            yield file_of(number)

    await table.replace(ANN, HERE, [file_of(1)])
    writing = asyncio.ensure_future(table.replace(ANN, NEXT, endless()))
    await begun.wait()
    assert len(table.holders(file_of(1).sha256)) == 1
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert table.place(ANN) == HERE
    assert table.counts() == Counts(1, 1, 0)


async def test_many_files_are_replaced_and_looked_up_as_one_is(table: Table) -> None:
    files = sorted((file_of(number) for number in range(20_000)), key=lambda each: each.sha256)
    await table.replace(ANN, HERE, files)
    await table.replace(ANN, NEXT, files)
    assert table.counts() == Counts(1, 20_000, 0)
    for each in files[::100]:
        assert table.holders(each.sha256) == [Listed(ANN, each)]
