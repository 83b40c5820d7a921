"""The notes of a shelf: a small SQLite file. What is in it follows from the store, and may be lost."""

import random
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from dpm_core.cids import Cid
from dpm_peer.rebuildable import open_rebuildable
from dpm_peer.swarm import Lot

_SCHEMA = """
CREATE TABLE IF NOT EXISTS lot (number INTEGER PRIMARY KEY, cid TEXT NOT NULL UNIQUE, leaves INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS block (
    sha256 BLOB NOT NULL, lot INTEGER NOT NULL, position INTEGER NOT NULL, node INTEGER NOT NULL,
    PRIMARY KEY (sha256, lot, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS block_of_lot ON block (lot, position);
"""


class Notes:
    """Which blobs are referenced, and of which blocks each is.

    Opened at first use, again after ``close``, and anew when its folder was. All methods raise Unavailable if it
    cannot be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None
        self._inode: int | None = None

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def has(self, cid: Cid) -> bool:
        """Whether the blob is referenced."""
        return bool(self._database().execute("SELECT 1 FROM lot WHERE cid = ?", (cid,)).fetchone())

    def knows(self, block: bytes) -> bool:
        """Whether a block (by its sha256) is one of a blob that is referenced."""
        return bool(self._database().execute("SELECT 1 FROM block WHERE sha256 = ?", (block,)).fetchone())

    def add(self, lot: Lot) -> None:
        """The blob is referenced, with all of its blocks."""
        with self._database() as database:
            database.execute("INSERT OR IGNORE INTO lot (cid, leaves) VALUES (?, ?)", (lot.cid, len(lot.leaves)))
            (number,) = database.execute("SELECT number FROM lot WHERE cid = ?", (lot.cid,)).fetchone()
            database.executemany(
                "INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?)",
                [(block.hash, number, place, not block.is_raw) for place, block in enumerate(lot.blocks)],
            )

    def remove(self, cids: Sequence[Cid]) -> tuple[set[Cid], set[Cid]]:
        """These are referenced no more: all their blocks, and the blobs that shared one, which are not either."""
        with self._database() as database:
            blocks: set[Cid] = set()
            for cid in cids:
                rows = database.execute(
                    "SELECT sha256, node FROM block WHERE lot = (SELECT number FROM lot WHERE cid = ?)", (cid,)
                )
                blocks |= {Cid.of_node(block) if node else Cid.of_raw(block) for block, node in rows}
        return blocks, self.remove_sharing(blocks) - set(cids)

    def remove_sharing(self, blocks: Iterable[Cid]) -> set[Cid]:
        """Every blob that has one of these blocks is referenced no more; returns which."""
        with self._database() as database:
            numbers: set[int] = set()
            for block in blocks:
                rows = database.execute("SELECT lot FROM block WHERE sha256 = ?", (block.hash,))
                numbers |= {number for (number,) in rows}
            found: set[Cid] = set()
            for number in numbers:
                database.execute("DELETE FROM block WHERE lot = ?", (number,))
                (cid,) = database.execute("DELETE FROM lot WHERE number = ? RETURNING cid", (number,)).fetchone()
                found.add(Cid(cid))
            return found

    def compare(self, desired: Iterable[Cid]) -> tuple[list[Cid], list[Cid]]:
        """Which of these are not referenced, and which others are; each in order of their names."""
        with self._database() as database:
            database.execute("CREATE TEMP TABLE desired (cid TEXT PRIMARY KEY) WITHOUT ROWID")
            try:
                database.executemany("INSERT OR IGNORE INTO desired VALUES (?)", ((cid,) for cid in desired))
                wanted = database.execute("SELECT cid FROM desired EXCEPT SELECT cid FROM lot").fetchall()
                unwanted = database.execute("SELECT cid FROM lot EXCEPT SELECT cid FROM desired").fetchall()
            finally:
                database.execute("DROP TABLE desired")
        return [Cid(cid) for (cid,) in wanted], [Cid(cid) for (cid,) in unwanted]

    def sample(self, most: int) -> list[tuple[Cid, int, bytes]]:
        """Some blobs, by chance: of each the CID, the number of one of its leaves, and that leaf's sha256."""
        found: list[tuple[Cid, int, bytes]] = []
        rows = self._database().execute(
            "SELECT number, cid, leaves FROM lot ORDER BY random() LIMIT ?", (most,)
        ).fetchall()  # fmt: skip
        for number, cid, leaves in rows:
            place = random.randrange(leaves)
            (block,) = self._database().execute(
                "SELECT sha256 FROM block WHERE lot = ? AND position = ?", (number, place)
            ).fetchone()  # fmt: skip
            found.append((Cid(cid), place, block))
        return found

    def _database(self) -> sqlite3.Connection:
        if self._open is not None and _inode(self._path) != self._inode:  # the folder was made anew meanwhile
            self.close()
        if self._open is None:
            self._open = open_rebuildable(self._path, _SCHEMA)
            self._inode = _inode(self._path)
        return self._open


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
