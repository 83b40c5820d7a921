"""What is shared is told by its changes alone, and stands in the inventory as all changes together say."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.adverts import Changes
from dpm_core.cids import CHUNK
from dpm_core.digests import Digest
from dpm_core.inventory import SharedFile, SharedPage, encode_inventory
from dpm_peer.stock import Lent, Stock, Sums, Told
from dpm_testkit.peer_things import file_of, page_of

LARGE = file_of(9, 2 * CHUNK)


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Stock]:
    stock = Stock(tmp_path / "peers" / "stock.sqlite")
    yield stock
    stock.close()


def lent(number: int, file: SharedFile) -> Lent:
    return Lent(f"{number:032x}", file)


def page(number: int, *, by_digest: bool = False) -> Lent:
    found = page_of(number)
    return Lent(found.id, found.file, by_digest, found)


def test_a_file_is_shared_as_long_as_one_artifact_has_it(stock: Stock) -> None:
    assert stock.put(lent(1, LARGE)) == Changes({LARGE.sha256: LARGE}, {})
    assert stock.put(lent(2, LARGE)) == Changes({}, {})
    assert stock.remove(lent(1, LARGE).id) == Changes({}, {})
    assert stock.has(LARGE.cid)
    assert stock.remove(lent(2, LARGE).id) == Changes({LARGE.sha256: None}, {})
    assert not stock.has(LARGE.cid)
    assert stock.remove(lent(2, LARGE).id) == Changes({}, {})


def test_an_artifact_with_other_bytes_drops_those_before(stock: Stock) -> None:
    stock.put(lent(1, LARGE))
    assert stock.put(lent(1, file_of(1))).files == {LARGE.sha256: None, file_of(1).sha256: file_of(1)}


def test_the_bytes_of_a_page_are_no_file_but_are_kept(stock: Stock) -> None:
    there = page(1)
    assert stock.put(there) == Changes({}, {there.id: there.page})
    assert stock.put(there) == Changes({}, {})
    assert stock.has(there.file.cid)
    assert stock.cids() == [there.file.cid]
    assert stock.sums() == Sums(0, 1, there.file.size)
    assert stock.lent(there.id) == there
    assert stock.remove(there.id) == Changes({}, {there.id: None})


def test_bytes_that_are_wrong_go_with_all_that_has_them(stock: Stock) -> None:
    for each in (lent(1, LARGE), lent(2, LARGE), lent(3, file_of(5)), page(1)):
        stock.put(each)
    assert stock.remove_blobs([LARGE.cid, page(1).file.cid]) == Changes({LARGE.sha256: None}, {page(1).id: None})
    assert stock.cids() == [file_of(5).cid]


def test_what_was_told_outlasts_a_restart_and_who_was_not_told_all_is_behind(tmp_path: Path) -> None:
    path = tmp_path / "stock.sqlite"
    stock = Stock(path)
    assert stock.told() is None
    stock.tell(Told(7, 1, 100))
    stock.caught_up()
    assert stock.told() == Told(7, 1, 100, behind=False)
    stock.tell(Told(7, 1, 200))
    assert stock.told() == Told(7, 1, 200, behind=False)
    stock.put(lent(1, LARGE))
    stock.close()
    stock = Stock(path)
    assert stock.told() == Told(7, 1, 200, behind=True)
    assert stock.has(LARGE.cid)
    stock.close()


FILES = st.builds(lent, st.integers(0, 3), st.builds(file_of, st.integers(0, 3), st.sampled_from([10, 2 * CHUNK])))
LENT = FILES | st.builds(page, st.integers(0, 2), by_digest=st.booleans())
IDS = st.integers(0, 3).map(lambda number: f"{number:032x}") | st.integers(0, 2).map(lambda each: page_of(each).id)


@settings(max_examples=40)
@given(st.lists(LENT | IDS | st.lists(LENT, max_size=4), max_size=12))
def test_who_hears_all_changes_knows_what_the_inventory_says(course: list[Lent | str | list[Lent]]) -> None:
    files: dict[Digest, SharedFile] = {}
    pages: dict[str, SharedPage] = {}
    with TemporaryDirectory() as folder:
        stock = Stock(Path(folder) / "stock.sqlite")
        for step in course:
            if isinstance(step, Lent):
                changes = stock.put(step)
            elif isinstance(step, str):
                changes = stock.remove(step)
            else:
                changes = stock.become({each.id: each for each in step}.values())
            for digest, file in changes.files.items():
                assert files.get(digest) != file
                files.pop(digest, None)
                files.update({} if file is None else {digest: file})
            for id_, shown in changes.pages.items():
                assert pages.get(id_) != shown
                pages.pop(id_, None)
                pages.update({} if shown is None else {id_: shown})
        sums, lines = stock.sums(), list(stock.lines())
        assert b"".join(encode_inventory(sums.files, sums.pages, lines))
        assert lines == [*sorted(files.values(), key=lambda each: each.sha256), *map(pages.get, sorted(pages))]
        stock.close()
