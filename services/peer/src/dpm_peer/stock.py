"""What this node shares in one network: a small SQLite file, which follows from catalog and rule and may be lost.

An artifact is shared as a file, as a page, or as both. A file is shared as long as one artifact has its bytes.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpm_core.adverts import Changes
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.inventory import SharedFile, SharedPage, line, page_of_line
from dpm_peer.rebuildable import open_rebuildable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS artifact (
    id BLOB PRIMARY KEY, sha256 BLOB NOT NULL, size INTEGER NOT NULL, root BLOB, media_type TEXT NOT NULL,
    file INTEGER NOT NULL, page BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS artifact_by_sha256 ON artifact (sha256, id);
CREATE TABLE IF NOT EXISTS told (
    one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL,
    behind INTEGER NOT NULL
);
CREATE TEMP TABLE IF NOT EXISTS kept (id BLOB PRIMARY KEY) WITHOUT ROWID;
"""

_FILES = "SELECT sha256, size, root, min(media_type) FROM artifact WHERE file = 1 {where} GROUP BY sha256"
_SUMS = """
SELECT (SELECT count(*) FROM (SELECT DISTINCT sha256 FROM artifact WHERE file = 1)),
       (SELECT count(*) FROM artifact WHERE page IS NOT NULL),
       (SELECT coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM artifact GROUP BY sha256))
"""


@dataclass(frozen=True)
class Lent:
    """An artifact as it is shared: its bytes, whether they are by their digest, and the page, if it is one."""

    id: str
    file: SharedFile
    by_digest: bool = True
    page: SharedPage | None = None


@dataclass(frozen=True)
class Told:
    """How far the others were told: the last delta of the epoch, and the time of the last advert (milliseconds).

    ``behind``: what changed since may not have been told.
    """

    epoch: int
    n: int
    at: int
    behind: bool = True


@dataclass(frozen=True)
class Sums:
    """How many files and pages are shared, and the bytes of all of them."""

    files: int
    pages: int
    size: int


class Stock:
    """The file at ``path``, in one process, whose callers hold ``turn`` around what belongs together.

    Raises Unavailable if it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.turn = asyncio.Lock()
        self._database = open_rebuildable(path, _SCHEMA, threads=True)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, lent: Lent) -> Changes:
        """It is shared like this from now on. Returns what is to be told of that."""
        return self._changed([lent.id], [lent])

    def remove(self, artifact_id: str) -> Changes:
        """It is not shared any more. Returns what is to be told of that."""
        return self._changed([artifact_id], [])

    def remove_blobs(self, cids: Iterable[Cid]) -> Changes:
        """What has these bytes is not shared any more. Returns what is to be told of that."""
        ids: list[str] = []
        for cid in cids:
            column = "root" if not cid.is_raw else "root IS NULL AND sha256"
            rows = self._database.execute(f"SELECT id FROM artifact WHERE {column} = ?", (cid.hash,))  # noqa: S608
            ids += [each.hex() for (each,) in rows]
        return self._changed(ids, [])

    def become(self, all_of_it: Iterable[Lent]) -> Changes:
        """Exactly this is shared. Returns what is to be told of that. Takes seconds for a hundred thousand."""
        files: dict[Digest, SharedFile | None] = {}
        pages: dict[str, SharedPage | None] = {}
        with self._database:
            self._database.execute("DELETE FROM temp.kept")
            for lent in all_of_it:
                self._database.execute("REPLACE INTO temp.kept VALUES (?)", (bytes.fromhex(lent.id),))
                if self._row(lent.id) != _row(lent):
                    changes = self._change([lent.id], [lent])
                    files.update(changes.files)
                    pages.update(changes.pages)
            gone = self._database.execute("SELECT id FROM artifact WHERE id NOT IN temp.kept").fetchall()
            changes = self._change([each.hex() for (each,) in gone], [])
            self._database.execute("DELETE FROM temp.kept")
        return Changes({**files, **changes.files}, {**pages, **changes.pages})

    def has(self, cid: Cid) -> bool:
        """Whether the bytes are shared, by their digest or as a page."""
        column = "root" if not cid.is_raw else "root IS NULL AND sha256"
        found = self._database.execute(f"SELECT 1 FROM artifact WHERE {column} = ? LIMIT 1", (cid.hash,))  # noqa: S608
        return found.fetchone() is not None

    def lent(self, artifact_id: str) -> Lent | None:
        """How the artifact is shared, None: not at all."""
        row = self._row(artifact_id)
        return None if row is None else _lent(row)

    def cids(self) -> list[Cid]:
        """All bytes that are shared."""
        rows = self._database.execute("SELECT DISTINCT sha256, root FROM artifact")
        return [Cid.of_raw(sha256) if root is None else Cid.of_node(root) for sha256, root in rows]

    def sums(self) -> Sums:
        """What the inventory says of itself; not quick."""
        return Sums(*self._database.execute(_SUMS).fetchone())

    def lines(self) -> Iterator[SharedFile | SharedPage]:
        """All that is shared, in the order of an inventory."""
        for row in self._database.execute(f"{_FILES.format(where='')} ORDER BY sha256"):
            yield _file(*row)
        for (text,) in self._database.execute("SELECT page FROM artifact WHERE page IS NOT NULL ORDER BY id"):
            yield page_of_line(text)

    def told(self) -> Told | None:
        """How far the others were told, None: nothing at all."""
        row = self._database.execute("SELECT epoch, n, at, behind FROM told").fetchone()
        return None if row is None else Told(row[0], row[1], row[2], bool(row[3]))

    def tell(self, told: Told) -> None:
        """The others are being told so far; they are behind as long as nobody says otherwise."""
        with self._database:
            self._database.execute(
                "INSERT INTO told VALUES (1, ?, ?, ?, 1) ON CONFLICT (one) DO UPDATE "
                "SET epoch = excluded.epoch, n = excluded.n, at = excluded.at",
                (told.epoch, told.n, told.at),
            )

    def fall_behind(self) -> None:
        """What is being told may not arrive."""
        self._database.execute("UPDATE told SET behind = 1")
        self._database.commit()

    def caught_up(self) -> None:
        """All that is shared was told, and has arrived in the room."""
        self._database.execute("UPDATE told SET behind = 0")
        self._database.commit()

    def _changed(self, ids: list[str], lent: list[Lent]) -> Changes:
        with self._database:
            return self._change(ids, lent)

    def _change(self, ids: list[str], lent: list[Lent]) -> Changes:
        """Put ``lent`` in place of what these ids were, within the caller's transaction."""
        rows = [row for each in ids if (row := self._row(each)) is not None]
        touched = {row[1] for row in rows} | {bytes.fromhex(each.file.sha256.hex) for each in lent}
        before = {sha256: self._told_file(sha256) for sha256 in touched}
        pages: dict[str, SharedPage | None] = {row[0].hex(): None for row in rows if row[6] is not None}
        as_before = {row[0].hex(): row[6] for row in rows}
        self._database.executemany("DELETE FROM artifact WHERE id = ?", [(row[0],) for row in rows])
        self._database.executemany("INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, lent))
        for each in lent:
            if each.page is not None:
                pages[each.id] = each.page
                if as_before.get(each.id) == line(each.page):
                    del pages[each.id]
        after = {sha256: self._told_file(sha256) for sha256 in touched}
        files = {
            Digest(f"sha256:{sha256.hex()}"): after[sha256]
            for sha256 in touched
            if before[sha256] != after[sha256]
        }
        if files or pages:
            self._database.execute("UPDATE told SET behind = 1")
        return Changes(files, pages)

    def _row(self, artifact_id: str) -> tuple[Any, ...] | None:
        found = self._database.execute("SELECT * FROM artifact WHERE id = ?", (bytes.fromhex(artifact_id),))
        row: tuple[Any, ...] | None = found.fetchone()
        return row

    def _told_file(self, sha256: bytes) -> SharedFile | None:
        row = self._database.execute(_FILES.format(where="AND sha256 = ?"), (sha256,)).fetchone()
        return None if row is None else _file(*row)


def _row(lent: Lent) -> tuple[Any, ...]:
    file = lent.file
    return (
        bytes.fromhex(lent.id), bytes.fromhex(file.sha256.hex), file.size, file.root.hash if file.root else None,
        file.media_type, int(lent.by_digest), None if lent.page is None else line(lent.page),
    )  # fmt: skip


def _lent(row: tuple[Any, ...]) -> Lent:
    id_, sha256, size, root, media_type, by_digest, page = row
    return Lent(
        id_.hex(),
        _file(sha256, size, root, media_type),
        bool(by_digest),
        None if page is None else page_of_line(page),
    )


def _file(sha256: bytes, size: int, root: bytes | None, media_type: str) -> SharedFile:
    digest = Digest(f"sha256:{sha256.hex()}")
    return SharedFile(digest, size, None if root is None else Cid.of_node(root), media_type)
