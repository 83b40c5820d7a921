"""What this node shares in one network: a small SQLite file, which follows from catalog and rule and may be lost.

An artifact is shared as a file, as a page, or as both. A file is shared as long as one artifact has its bytes.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
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
CREATE TEMP TABLE touched (sha256 BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE wanted (
    id BLOB PRIMARY KEY, sha256 BLOB, size INTEGER, root BLOB, media_type TEXT, file INTEGER, page BLOB
) WITHOUT ROWID;
"""

Row = tuple[Any, ...]

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
        return self._changed([bytes.fromhex(lent.id)], [_row(lent)])

    def remove(self, artifact_id: str) -> Changes:
        """It is not shared any more. Returns what is to be told of that."""
        return self._changed([bytes.fromhex(artifact_id)], [])

    def remove_blobs(self, cids: Iterable[Cid]) -> Changes:
        """What has these bytes is not shared any more. Returns what is to be told of that."""
        ids: list[bytes] = []
        for cid in cids:
            column = "root" if not cid.is_raw else "root IS NULL AND sha256"
            rows = self._database.execute(f"SELECT id FROM artifact WHERE {column} = ?", (cid.hash,))  # noqa: S608
            ids += [each for (each,) in rows]
        return self._changed(ids, [])

    def become(self, all_of_it: Iterable[Lent]) -> Changes:
        """Exactly this is shared. Returns what is to be told of that. Takes seconds for a hundred thousand."""
        run = self._database.execute
        with self._database:
            run("DELETE FROM temp.wanted")
            self._database.executemany(
                "REPLACE INTO temp.wanted VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, all_of_it)
            )
            other = run("SELECT id FROM (SELECT * FROM artifact EXCEPT SELECT * FROM temp.wanted)").fetchall()
            fresh = run("SELECT * FROM temp.wanted EXCEPT SELECT * FROM artifact").fetchall()
            run("DELETE FROM temp.wanted")
            return self._change([each for (each,) in other], fresh)

    def has(self, cid: Cid) -> bool:
        """Whether the bytes are shared, by their digest or as a page."""
        column = "root" if not cid.is_raw else "root IS NULL AND sha256"
        found = self._database.execute(f"SELECT 1 FROM artifact WHERE {column} = ? LIMIT 1", (cid.hash,))  # noqa: S608
        return found.fetchone() is not None

    def lent(self, artifact_id: str) -> Lent | None:
        """How the artifact is shared, None: not at all."""
        row = self._row(bytes.fromhex(artifact_id))
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

    def _changed(self, ids: Sequence[bytes], rows: Sequence[Row]) -> Changes:
        with self._database:
            return self._change(ids, rows)

    def _change(self, ids: Sequence[bytes], rows: Sequence[Row]) -> Changes:
        """Put ``rows`` in place of what these ids were, within the caller's transaction."""
        run = self._database.execute
        old = [row for each in ids if (row := self._row(each)) is not None]
        run("DELETE FROM temp.touched")
        self._database.executemany("REPLACE INTO temp.touched VALUES (?)", [(row[1],) for row in (*old, *rows)])
        before = self._touched_files()
        self._database.executemany("DELETE FROM artifact WHERE id = ?", [(row[0],) for row in old])
        self._database.executemany("INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        after = self._touched_files()
        files = {
            Digest(f"sha256:{sha256.hex()}"): _file(*after[sha256]) if sha256 in after else None
            for sha256 in {**before, **after}
            if before.get(sha256) != after.get(sha256)
        }
        was, now = ({row[0]: row[6] for row in each if row[6] is not None} for each in (old, rows))
        pages = {
            each.hex(): page_of_line(now[each]) if each in now else None
            for each in {**was, **now}
            if was.get(each) != now.get(each)
        }
        if files or pages:
            run("UPDATE told SET behind = 1")
        return Changes(files, pages)

    def _row(self, artifact_id: bytes) -> Row | None:
        row: Row | None = self._database.execute("SELECT * FROM artifact WHERE id = ?", (artifact_id,)).fetchone()
        return row

    def _touched_files(self) -> dict[bytes, Row]:
        rows = self._database.execute(_FILES.format(where="AND sha256 IN temp.touched"))
        return {row[0]: row for row in rows}


def _row(lent: Lent) -> Row:
    file = lent.file
    return (
        bytes.fromhex(lent.id), bytes.fromhex(file.sha256.hex), file.size, file.root.hash if file.root else None,
        file.media_type, int(lent.by_digest), None if lent.page is None else line(lent.page),
    )  # fmt: skip


def _lent(row: Row) -> Lent:
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
