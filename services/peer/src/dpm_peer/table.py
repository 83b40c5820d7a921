"""What the members of a network say they have: one SQLite file a network, and who holds what in microseconds.

All of it follows from what is said in the room and from the members' inventories: it may be lost.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dpm_core.adverts import Delta
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, Unavailable
from dpm_core.following import Place
from dpm_core.inventory import LINES_LIMIT, Shared, SharedFile, SharedPage, line, page_of_line
from dpm_core.multiaddrs import PeerId
from dpm_peer.rebuildable import open_rebuildable

Row = tuple[Any, ...]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS member (
    number INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, n INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS file (
    sha256 BLOB NOT NULL, member INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB, media_type TEXT NOT NULL,
    PRIMARY KEY (sha256, member)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_of_member ON file (member);
CREATE TABLE IF NOT EXISTS page (
    id BLOB NOT NULL, member INTEGER NOT NULL, checked INTEGER NOT NULL, line BLOB NOT NULL,
    PRIMARY KEY (id, member)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS page_of_member ON page (member);
CREATE TABLE IF NOT EXISTS heard (one INTEGER PRIMARY KEY CHECK (one = 1), token TEXT NOT NULL);
"""

_HOLDERS = """
SELECT member.user, file.size, file.root, file.media_type FROM file JOIN member ON member.number = file.member
WHERE file.sha256 = ? ORDER BY member.user
"""

_PAGES = """
SELECT member.user, page.line FROM page JOIN member ON member.number = page.member
WHERE page.id = ? ORDER BY page.checked DESC, member.user
"""

_TALLIES = """
SELECT user, (SELECT count(*) FROM file WHERE member = number), (SELECT count(*) FROM page WHERE member = number),
    (SELECT coalesce(sum(size), 0) FROM file WHERE member = number)
FROM member
"""

_SAMPLE = """
SELECT sha256, size, root, media_type FROM (
    SELECT * FROM file WHERE member = (SELECT number FROM member WHERE user = ?) AND sha256 >= ?
    ORDER BY sha256 LIMIT 1000
) AS one WHERE NOT EXISTS (
    SELECT 1 FROM file AS other WHERE other.sha256 = one.sha256 AND other.member <> one.member
) LIMIT 16
"""

_PART = 1_000


@dataclass(frozen=True)
class Listed:
    """A member (its Matrix id), and a file as it says that it has it."""

    user: str
    file: SharedFile


@dataclass(frozen=True)
class Holder:
    """A peer that may be asked for a file, and the file as its member says that it has it."""

    peer: PeerId
    file: SharedFile


@dataclass(frozen=True)
class Shown:
    """A member (its Matrix id), and a page as it says that it has it."""

    user: str
    page: SharedPage


@dataclass(frozen=True)
class Counts:
    """Members that say what they have, and the lines of all of them."""

    members: int
    files: int
    pages: int


@dataclass(frozen=True)
class Tally:
    """How much a member has: ``size`` is the bytes of its files."""

    files: int
    pages: int
    size: int


class Table:
    """The table at ``path``, which nobody else writes; what cannot be read there is begun anew.

    Look-ups are of what was there before a write that is under way. All methods raise Unavailable if the disk
    cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._stops = False
        self._writing = open_rebuildable(path, _SCHEMA, threads=True)
        self._reading = open_rebuildable(path, _SCHEMA)

    def close(self) -> None:
        """Close the file. Nothing may be under way."""
        self._reading.close()
        self._writing.close()

    def place(self, user: str) -> Place | None:
        """How far the member was followed, None: not at all."""
        rows = self._rows("SELECT epoch, n, at FROM member WHERE user = ?", user)
        return Place(*rows[0]) if rows else None

    def holders(self, sha256: Digest) -> list[Listed]:
        """Who has a file, by the names of the members."""
        rows = self._rows(_HOLDERS, bytes.fromhex(sha256.hex))
        return [Listed(user, _file(sha256, size, root, media)) for user, size, root, media in rows]

    def sample(self, user: str) -> list[SharedFile]:
        """A few files of a member that no other one has, by chance; not all of its files are looked at."""
        rows = self._rows(_SAMPLE, user, secrets.token_bytes(32)) or self._rows(_SAMPLE, user, b"")
        return [_file(Digest(f"sha256:{sha256.hex()}"), *rest) for sha256, *rest in rows]

    def pages(self, artifact_id: str) -> list[Shown]:
        """Who has a page, and as of when: those first that have confirmed it last."""
        return [Shown(user, page_of_line(text)) for user, text in self._rows(_PAGES, bytes.fromhex(artifact_id))]

    def counts(self) -> Counts:
        """How much is in it; not quick."""
        tables = ("member", "file", "page")
        return Counts(*(self._rows(f"SELECT count(*) FROM {name}")[0][0] for name in tables))  # noqa: S608

    async def tallies(self) -> dict[str, Tally]:
        """How much each member has (by its Matrix id), as far as it was followed; takes a while."""

        def counted() -> dict[str, Tally]:
            try:
                with contextlib.closing(sqlite3.connect(self._path)) as database:
                    return {user: Tally(*counts) for user, *counts in database.execute(_TALLIES)}
            except sqlite3.Error as error:
                raise self._refused(error) from None

        return await asyncio.to_thread(counted)

    def users(self) -> list[str]:
        """The members that it has something of."""
        return [user for (user,) in self._rows("SELECT user FROM member ORDER BY user")]

    def token(self) -> str | None:
        """Up to where the room was heard, as of ``remember``."""
        rows = self._rows("SELECT token FROM heard")
        return rows[0][0] if rows else None

    async def remember(self, token: str) -> None:
        """All that was said in the room up to ``token`` is in the table."""
        await self._write(lambda database: database.execute("REPLACE INTO heard VALUES (1, ?)", (token,)))

    async def replace(self, user: str, place: Place, shared: Iterable[Shared]) -> None:
        """The member has exactly this. What ``shared`` raises, in a thread, is raised, and nothing is changed."""

        def work(database: sqlite3.Connection) -> None:
            _forget(database, user)
            member = _member(database, user, place)
            each = iter(shared)
            while part := list(islice(each, _PART)):
                if self._stops:
                    raise sqlite3.OperationalError("it was not waited for")
                _put(database, member, part)

        await self._write(work)

    async def apply(self, user: str, delta: Delta, place: Place) -> None:
        """The member has less and more now. Raises Invalid for more than may be in an inventory."""

        def work(database: sqlite3.Connection) -> None:
            member = _member(database, user, place)
            drop = ((bytes.fromhex(each.hex), member) for each in delta.drop)
            database.executemany("DELETE FROM file WHERE sha256 = ? AND member = ?", drop)
            gone = ((bytes.fromhex(each), member) for each in delta.gone)
            database.executemany("DELETE FROM page WHERE id = ? AND member = ?", gone)
            _put(database, member, (*delta.add, *delta.pages))
            if delta.add or delta.pages:
                _refuse_more(database, user, member)

        await self._write(work)

    async def note(self, user: str, place: Place) -> None:
        """The member was followed so far, and has what it had."""
        await self._write(lambda database: _member(database, user, place))

    async def forget(self, user: str) -> None:
        """The member has nothing that is known of."""
        await self._write(lambda database: _forget(database, user))

    def _rows(self, statement: str, *values: object) -> list[Row]:
        try:
            return self._reading.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._refused(error) from None

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        async with self._turn:
            self._stops = False
            writing = asyncio.ensure_future(asyncio.to_thread(self._transact, work))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                self._stops = True
                with contextlib.suppress(Exception):
                    await writing
                raise

    def _transact(self, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            with self._writing:
                work(self._writing)
        except sqlite3.Error as error:
            raise self._refused(error) from None

    def _refused(self, error: sqlite3.Error) -> Unavailable:
        return Unavailable(f"the table of peers at {self._path}: {error}")


def _member(database: sqlite3.Connection, user: str, place: Place) -> int:
    rows = database.execute(
        "INSERT INTO member (user, epoch, n, at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (user) DO UPDATE SET epoch = excluded.epoch, n = excluded.n, at = excluded.at "
        "RETURNING number",
        (user, place.epoch, place.n, place.at),
    ).fetchall()
    return int(rows[0][0])


def _forget(database: sqlite3.Connection, user: str) -> None:
    for (member,) in database.execute("SELECT number FROM member WHERE user = ?", (user,)).fetchall():
        database.execute("DELETE FROM file WHERE member = ?", (member,))
        database.execute("DELETE FROM page WHERE member = ?", (member,))
        database.execute("DELETE FROM member WHERE number = ?", (member,))


def _put(database: sqlite3.Connection, member: int, shared: Iterable[Shared]) -> None:
    files, pages = [], []
    for each in shared:
        if isinstance(each, SharedFile):
            root = each.root.hash if each.root else None
            files.append((bytes.fromhex(each.sha256.hex), member, each.size, root, each.media_type))
        else:
            pages.append((bytes.fromhex(each.id), member, each.checked_at, line(each)))
    database.executemany("REPLACE INTO file VALUES (?, ?, ?, ?, ?)", files)
    database.executemany("REPLACE INTO page VALUES (?, ?, ?, ?)", pages)


def _refuse_more(database: sqlite3.Connection, user: str, member: int) -> None:
    (lines,) = database.execute(
        "SELECT (SELECT count(*) FROM file WHERE member = ?1) + (SELECT count(*) FROM page WHERE member = ?1)",
        (member,),
    ).fetchone()
    if lines > LINES_LIMIT:
        raise Invalid(f"{user} shares {lines} files and pages: at most {LINES_LIMIT} are allowed")


def _file(sha256: Digest, size: int, root: bytes | None, media_type: str) -> SharedFile:
    return SharedFile(sha256, size, None if root is None else Cid.of_node(root), media_type)
