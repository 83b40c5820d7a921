"""The catalog on SQLite: one file a node, folded from the log by one writer, read by everybody.

The file is in WAL mode (https://www.sqlite.org/wal.html): readers never wait for the writer. They can write in
its folder, to make the shared memory anew that goes when the writer closes. Whoever deletes the file loses
nothing: the writer builds it again from the log.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dpm_core.artifacts import ArtifactRef
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.errors import Unavailable
from dpm_core.fold import fold
from dpm_core.ports import Entry, Totals
from dpm_runtime.catalog_schema import DDL, FILE_NAME, FOLDED_TABLES
from dpm_runtime.catalog_shelf import BESIDE, ENTRIES, FIND, SINCE, SqliteShelf, entry_of
from dpm_runtime.disk import full_disk
from dpm_runtime.ofd_lock import OfdLock

LOCK_NAME = "writer.lock"

_BUSY_SECONDS = 5.0

_REMEMBERED = 4096
"""Answers that need not be read again before somebody has written."""

Row = tuple[Any, ...]
T = TypeVar("T")


class SqliteCatalog:
    """Port Catalog. Open it with :meth:`writer` or :meth:`reader`; its methods may be called from any thread.

    What it raises beside: Unavailable where the file cannot be read or written.
    """

    def __init__(self, path: Path, lock: OfdLock | None) -> None:
        self._path = path
        self._lock = lock
        self._read_guard = threading.Lock()
        self._write_guard = threading.Lock()
        self._reading: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._version: Row | None = None
        self._read: dict[tuple[str, Row], Any] = {}
        self._writing = _open(path, "rw") if lock else None
        self._written = _inode(path) if lock else None

    @classmethod
    def writer(cls, folder: Path) -> "SqliteCatalog":
        """The catalog in ``folder``, for the one process that folds; made if there is none.

        Those of other schemas or rules go: nobody would fold into them any more.
        Raises Conflict if another writer has it.
        """
        lock = OfdLock.acquire(folder / LOCK_NAME)
        try:
            path = folder / FILE_NAME
            if not path.exists():
                _build(path)
            _remove_others(folder)
            return cls(path, lock)
        except sqlite3.Error as error:
            lock.close()
            _refuse(error)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def reader(cls, folder: Path) -> "SqliteCatalog":
        """The catalog in ``folder``, to be read. While there is none it is empty; a new one is noticed."""
        return cls(folder / FILE_NAME, None)

    @classmethod
    def latest(cls, folder: Path) -> "SqliteCatalog":
        """As :meth:`reader`; where there is none, that of another version, whose tables may be others."""
        others = [] if (folder / FILE_NAME).exists() else sorted(folder.glob("catalog-*.sqlite"))
        return cls(others[-1] if others else folder / FILE_NAME, None)

    def find(self, artifact_id: str) -> Entry | None:
        """The artifact, or None if it is not held. Microseconds: no bus, no lock."""
        return self._looked_up(FIND, (artifact_id,), _first_entry)

    def beside(self, ref: ArtifactRef, cid: Cid) -> Entry | None:
        """An artifact with the bytes ``cid`` that lies beside ``ref``, or is it; None if none is held."""
        folder = ref.folder
        values = (cid, ref.ecosystem, ref.upstream, len(folder), folder, len(folder))
        return self._looked_up(BESIDE, values, _first_entry)

    def since(self, ecosystem: str, token: int, most: int) -> list[tuple[int, ArtifactRef]]:
        """The names of what was stored last of an ecosystem, the first ``most`` above ``token``."""
        # nearly always there is nothing new; what there is nobody asks for twice
        if self._looked_up(SINCE, (ecosystem, token, 1), len) == 0:
            return []
        rows = self.rows(SINCE, (ecosystem, token, most))
        return [(at, ArtifactRef(ecosystem, upstream, key)) for at, upstream, key in rows]

    def entries(self) -> Iterator[Entry]:
        """Every artifact that is held."""
        return map(entry_of, self.stream(ENTRIES))

    def position(self) -> int:
        """The sequence up to which the log is folded; 0 for an empty catalog."""
        return self._looked_up("SELECT sequence FROM position", (), lambda rows: int(rows[0][0]) if rows else 0)

    def totals(self) -> Totals:
        """How much is held."""
        rows = self.rows("SELECT (SELECT count(*) FROM artifact), count(*), coalesce(sum(size), 0) FROM blob")
        return Totals(*rows[0]) if rows else Totals(0, 0, 0)

    def folded_tables(self) -> dict[str, list[Row]]:
        """The rows of every table that the log alone decides, in the order of their keys."""
        return {name: self.rows(f"SELECT * FROM {name} ORDER BY 1") for name in FOLDED_TABLES}  # noqa: S608

    def apply(self, events: Iterable[Recorded]) -> None:
        """Fold events in order, and move the position, in one transaction. Those already folded are skipped.

        Raises Unavailable if the file has been deleted: a new writer builds it again, from the first event on.
        """
        self.change(lambda connection: _fold(connection, events))

    def change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do ``work`` in one transaction. Raises Unavailable as ``apply`` does."""
        with self._write_guard:
            if self._writing is None:
                raise Unavailable("the catalog is not open for writing")
            if _inode(self._path) != self._written:
                raise Unavailable("the catalog's file is gone", advice="open it again, it is rebuilt from the log")
            try:
                _transact(self._writing, work)
            except sqlite3.Error as error:
                _refuse(error)

    def stream(self, statement: str, values: Row = ()) -> Iterator[Row]:
        """What a read gives, as it is now, without holding all of it; nothing while there is no file."""
        try:
            if _inode(self._path) is not None:
                with closing(_open(self._path, "ro")) as connection:
                    yield from connection.execute(statement, values)
        except sqlite3.Error as error:
            _refuse(error)

    def close(self) -> None:
        """Let go of the file and of the writer's lock; may be called twice."""
        with self._read_guard:
            self._forget()
        with self._write_guard:
            if self._writing is not None:
                self._writing.close()
                self._writing = None
            if self._lock is not None:
                self._lock.close()

    def rows(self, statement: str, values: Row = ()) -> list[Row]:
        """What a read gives; nothing while there is no file."""
        with self._read_guard:
            try:
                connection = self._current()
                return [] if connection is None else connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                _refuse(error)

    def _looked_up(self, statement: str, values: Row, read: Callable[[list[Row]], T]) -> T:
        """What ``read`` makes of the rows; it is read again once another connection has written.

        https://www.sqlite.org/pragma.html#pragma_data_version: a third of the time of a look-up.
        """
        with self._read_guard:
            try:
                connection = self._current()
                if connection is None:
                    return read([])
                version = connection.execute("PRAGMA data_version").fetchone()
                if version != self._version or len(self._read) >= _REMEMBERED:
                    self._version = version
                    self._read.clear()
                key = statement, values
                if key not in self._read:
                    self._read[key] = read(connection.execute(statement, values).fetchall())
                found: T = self._read[key]
                return found
            except sqlite3.Error as error:
                _refuse(error)

    def _current(self) -> sqlite3.Connection | None:
        """A connection to the file that has the name now; a stat a look-up, which is 1 µs."""
        inode = _inode(self._path)
        if inode is None or inode != self._inode:
            self._forget()
            if inode is not None:
                self._reading = _open(self._path, "ro")
                self._inode = inode
        return self._reading

    def _forget(self) -> None:
        if self._reading is not None:
            self._reading.close()
        self._reading = self._inode = self._version = None


def _first_entry(rows: list[Row]) -> Entry | None:
    return entry_of(rows[0]) if rows else None


def copy_catalog(folder: Path, into: Path) -> bool:
    """Copy the catalog as one file, while others may write to it; False if there is none. Raises Unavailable."""
    if not (folder / FILE_NAME).exists():
        return False
    try:
        with closing(_open(folder / FILE_NAME, "ro")) as catalog, closing(_open(into, "rwc")) as copy:
            catalog.backup(copy)
    except sqlite3.Error as error:
        _refuse(error)
    return True


def _transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _fold(connection: sqlite3.Connection, events: Iterable[Recorded]) -> None:
    (position,) = connection.execute("SELECT sequence FROM position").fetchone()
    shelf = SqliteShelf(connection)
    for recorded in events:
        if recorded.sequence > position:
            fold(shelf, recorded)
            position = recorded.sequence
    connection.execute("UPDATE position SET sequence = ?", (position,))


def _build(path: Path) -> None:
    """Make an empty catalog, under another name first, so that no reader sees half of it."""
    fresh = path.with_name(path.name + "~")
    # what a deleted file left would be replayed into the new one of its name
    for left in (fresh, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        left.unlink(missing_ok=True)
    with closing(_open(fresh, "rwc")) as connection:
        for statement in (
            "PRAGMA journal_mode = WAL",
            "BEGIN",
            *DDL,
            "INSERT INTO position VALUES (1, 0)",
            "COMMIT",
        ):
            connection.execute(statement)
    fresh.rename(path)


def _remove_others(folder: Path) -> None:
    for file in folder.glob("catalog-*.sqlite*"):
        if not file.name.startswith(FILE_NAME):
            file.unlink(missing_ok=True)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_SECONDS,
        check_same_thread=False,
    )
    # power loss may cost the last transactions, never the file: they are folded again
    connection.execute("PRAGMA query_only = 1" if mode == "ro" else "PRAGMA synchronous = NORMAL")
    return connection


def _inode(path: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        found = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat
        return found.st_dev, found.st_ino
    return None


def _refuse(error: sqlite3.Error) -> NoReturn:
    what = f"the catalog cannot be used: {error}"
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        raise full_disk(what) from error
    raise Unavailable(
        what,
        advice="stop the node, delete the folder `catalog` of its home and start it: it is rebuilt from the log",
    ) from error
