"""A copy of an SQLite database as one file, while others write to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from dpm_core.errors import Unavailable

BUSY_SECONDS = 30.0
"""For so long a writer is waited for."""


def copy_database(source: Path, into: Path) -> bool:
    """Copy ``source`` to the new file ``into``; False if there is none. Raises Unavailable.

    By SQLite's own backup, in one step: writers wait meanwhile (https://sqlite.org/backup.html).
    """
    if not source.exists():
        return False
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as database,
            closing(sqlite3.connect(into)) as copy,
        ):
            database.backup(copy)
    except sqlite3.Error as error:
        raise Unavailable(f"{source} cannot be copied: {error}") from None
    return True
