import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_core.errors import Conflict, Unavailable
from dpm_core.events import ArtifactPinned
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_schema import DDL, FILE_NAME, FOLDED_TABLES, file_name
from dpm_testkit.catalog_conformance import BODIES, blob, recorded, ref, stored


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[SqliteCatalog]:
    reader = SqliteCatalog.reader(tmp_path)
    yield reader
    reader.close()


def in_another_process(folder: Path, script: str) -> str:
    """What ``script`` prints, run with ``folder`` as the catalog's."""
    given = f"""
        import os
        from pathlib import Path
        from dpm_runtime.catalog import SqliteCatalog
        from dpm_testkit.catalog_conformance import BODIES, blob, recorded, ref, stored
        folder = Path({str(folder)!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(given) + textwrap.dedent(script)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_missing_catalog_is_empty_until_it_appears(tmp_path: Path, reader: SqliteCatalog) -> None:
    assert reader.find(ref().id) is None
    assert (reader.position(), reader.totals().artifacts) == (0, 0)
    writer = SqliteCatalog.writer(tmp_path)
    writer.apply(recorded(stored()))
    assert reader.find(ref().id) == writer.find(ref().id)
    assert reader.position() == 1
    writer.close()


def test_readers_see_each_fold_of_a_living_writer(tmp_path: Path, reader: SqliteCatalog) -> None:
    writer = SqliteCatalog.writer(tmp_path)
    for sequence, name in enumerate(("wheel", "sdist"), start=1):
        writer.apply(recorded(stored(name), first=sequence))
        assert reader.find(ref(name).id) is not None
        assert reader.totals().artifacts == sequence
    writer.close()


def test_what_was_looked_up_before_is_looked_up_anew_once_somebody_has_written(
    tmp_path: Path, reader: SqliteCatalog
) -> None:
    writer = SqliteCatalog.writer(tmp_path)
    seen = []
    history = recorded(ArtifactPinned(ref()), stored(), stored(held=blob(BODIES[1])))
    for sequence, event in enumerate(history, start=1):
        writer.apply([event])
        for _ in range(2):
            found = reader.find(ref().id)
            seen.append((reader.position(), found and found.blob, len(reader.since("pypi", sequence - 1, 5))))
    first, second = blob(), blob(BODIES[1])
    assert seen == [(1, None, 0)] * 2 + [(2, first, 1)] * 2 + [(3, second, 1)] * 2
    writer.close()


def test_a_reader_works_after_the_writer_has_closed(tmp_path: Path) -> None:
    script = "writer = SqliteCatalog.writer(folder); writer.apply(recorded(stored())); writer.close()"
    in_another_process(tmp_path, script)
    assert not list(tmp_path.glob("*-shm"))
    found = in_another_process(tmp_path, "print(SqliteCatalog.reader(folder).find(ref().id).name)")
    assert found == "wheel-1.0"


def test_a_reader_works_after_the_writer_was_killed(tmp_path: Path, reader: SqliteCatalog) -> None:
    in_another_process(tmp_path, "SqliteCatalog.writer(folder).apply(recorded(stored())); os._exit(0)")
    assert list(tmp_path.glob("*-wal"))
    assert reader.find(ref().id) is not None


def test_a_writer_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    in_another_process(tmp_path, "SqliteCatalog.writer(folder).apply(recorded(stored())); os._exit(0)")
    writer = SqliteCatalog.writer(tmp_path)
    assert writer.position() == 1
    writer.close()


def test_a_reader_notices_that_the_catalog_was_deleted_and_built_again(
    tmp_path: Path, reader: SqliteCatalog
) -> None:
    first = SqliteCatalog.writer(tmp_path)
    first.apply(recorded(stored("wheel")))
    assert reader.find(ref("wheel").id) is not None
    first.close()
    for file in tmp_path.glob("catalog-*"):
        file.unlink()
    assert reader.find(ref("wheel").id) is None
    second = SqliteCatalog.writer(tmp_path)
    second.apply(recorded(stored("sdist")))
    assert reader.find(ref("wheel").id) is None
    assert reader.find(ref("sdist").id) is not None
    second.close()


def test_what_a_deleted_catalog_left_behind_does_not_come_back(tmp_path: Path) -> None:
    in_another_process(tmp_path, "SqliteCatalog.writer(folder).apply(recorded(stored())); os._exit(0)")
    (tmp_path / FILE_NAME).unlink()
    assert (tmp_path / f"{FILE_NAME}-wal").exists()
    writer = SqliteCatalog.writer(tmp_path)
    assert (writer.position(), writer.totals().artifacts) == (0, 0)
    writer.close()


def test_a_writer_whose_file_was_deleted_says_so(tmp_path: Path) -> None:
    writer = SqliteCatalog.writer(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(Unavailable, match="gone"):
        writer.apply(recorded(stored()))
    writer.close()


def test_there_is_one_writer(tmp_path: Path) -> None:
    writer = SqliteCatalog.writer(tmp_path)
    with pytest.raises(Conflict):
        SqliteCatalog.writer(tmp_path)
    writer.close()
    SqliteCatalog.writer(tmp_path).close()


def test_a_reader_cannot_write(reader: SqliteCatalog) -> None:
    with pytest.raises(Unavailable, match="not open for writing"):
        reader.apply(recorded(ArtifactPinned(ref())))


def test_a_file_that_is_no_database_is_unavailable_and_says_what_to_do(
    tmp_path: Path, reader: SqliteCatalog
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database, but longer than the header of one" * 100)
    with pytest.raises(Unavailable) as refused:
        reader.find(ref().id)
    assert "rebuilt" in refused.value.advice


def test_the_name_of_the_file_changes_with_its_tables() -> None:
    assert file_name(DDL) == FILE_NAME
    assert file_name((*DDL, "CREATE TABLE another (id)")) != FILE_NAME


def test_the_schema_is_what_the_tables_declare() -> None:
    from dpm_runtime import catalog_tables

    def words(statements: tuple[str, ...]) -> list[list[str]]:
        return [statement.split() for statement in statements]

    assert words(DDL) == words(catalog_tables.statements())
    assert tuple(str(row.__tablename__) for row in catalog_tables.FOLDED) == FOLDED_TABLES


def test_catalogs_of_other_schemas_go_when_there_is_a_writer_for_the_present_one(tmp_path: Path) -> None:
    for name in ("catalog-0123456789ab.sqlite", "catalog-0123456789ab.sqlite-wal", "catalog-0123456789ab.sqlite~"):
        (tmp_path / name).touch()
    SqliteCatalog.writer(tmp_path).close()
    assert [path.name for path in tmp_path.glob("catalog-*")] == [FILE_NAME]
