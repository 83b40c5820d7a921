"""Small SQLite files whose contents follow from elsewhere: one that cannot be read is begun anew."""

import contextlib
import sqlite3
from pathlib import Path

from dpm_core.errors import Unavailable


def open_rebuildable(path: Path, schema: str, *, threads: bool = False) -> sqlite3.Connection:
    """The database at ``path`` with the tables of ``schema``, empty if there is none that can be read.

    ``threads``: it is used by several, one at a time. Raises Unavailable if the disk cannot take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(sqlite3.DatabaseError):
            return _with_schema(path, schema, threads=threads)
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        return _with_schema(path, schema, threads=threads)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"{path} cannot be made: {error}") from None


def _with_schema(path: Path, schema: str, *, threads: bool) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=not threads)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(schema)
    except sqlite3.Error:
        database.close()
        raise
    return database
