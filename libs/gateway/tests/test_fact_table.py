"""Facts where they lie."""

import os
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpm_core.digests import Digest
from dpm_core.ecosystem import Fact
from dpm_gateway import fact_files, fact_table
from dpm_gateway.fact_table import Damaged, Table, encode

digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(f"sha256:{raw.hex()}"))
facts = st.lists(
    st.builds(
        Fact,
        st.text(max_size=8),
        st.text(max_size=20),
        st.lists(digests, max_size=2).map(tuple),
        st.none() | st.integers(0, 2**60),
    ),
    max_size=20,
)
DEMO = [Fact(f"p/{number}", f"http://files.example/{number}", (), number) for number in range(7)]


@given(facts, st.lists(st.text(max_size=8), max_size=5))
@example([], [""])
@example([Fact("a", "1"), Fact("a", "2")], ["a", "b"])
def test_a_table_tells_what_a_dict_would(given: list[Fact], others: list[str]) -> None:
    table, by_path = Table.of(encode(given)), {fact.path: fact for fact in given}
    for path in (*by_path, *others):
        assert table.get(path) == by_path.get(path)
    assert {fact.path: fact for fact in table} == by_path
    assert len(table) == len(by_path)


@given(facts)
def test_paths_with_one_hash_are_told_apart(given: list[Fact]) -> None:
    with mock.patch.object(fact_table, "_hash", lambda path: len(path)):
        table = Table.of(encode(given))
        assert {fact.path: table.get(fact.path) for fact in given} == {fact.path: fact for fact in given}


def told(table: Table) -> list[Fact | None]:
    return [table.get(fact.path) for fact in DEMO]


@given(st.data())
def test_of_a_table_that_was_damaged_or_cut_nothing_wrong_is_told(data: st.DataObject) -> None:
    whole = bytearray(encode(DEMO))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert told(Table.of(bytes(whole))) == DEMO
    except Damaged:
        return
    raise AssertionError("all of it was read, and nothing noticed")


def test_a_large_file_is_read_where_it_lies_and_let_go_of(tmp_path: Path) -> None:
    many = [Fact(f"p/{number}", "http://files.example/" + "x" * 500, (), number) for number in range(1000)]
    file = tmp_path / "t"
    file.write_bytes(encode(many))
    before = len(list(Path("/proc/self/fd").iterdir()))
    table = Table.open(file)
    assert table.weight < file.stat().st_size
    assert [table.get(fact.path) for fact in many] == many
    file.unlink()
    assert table.get("p/7") == many[7]
    del table
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_no_table_is_not_loaded_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "t.facts"
    assert fact_files.load(file) is None
    file.write_bytes(b"something else")
    assert fact_files.load(file) is None
    assert not file.exists()


def test_the_folder_keeps_what_was_used_last_and_no_strays(tmp_path: Path) -> None:
    now = time.time()
    for age, name in enumerate(("new.facts", "old.facts", "older.facts", "oldest.json", "x.facts~7")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (now - 3000 * age, now - 3000 * age))
    (tmp_path / "y.facts~8").touch()
    fact_files.tidy(tmp_path, now, most=250)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.facts", "old.facts", "y.facts~8"]


def test_what_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    assert not fact_files.keep(tmp_path / "none" / "t.facts", encode(DEMO))
    (tmp_path / "t.facts").mkdir()
    assert not fact_files.keep(tmp_path / "t.facts", encode(DEMO))
    assert [each.name for each in tmp_path.iterdir()] == ["t.facts"]


@pytest.mark.parametrize("body", [b"", b"dpmfacts", bytes(100), b"dpmfacts" + bytes([255] * 8)])
def test_other_bytes_are_no_table(body: bytes) -> None:
    with pytest.raises(Damaged):
        Table.of(body)
