"""Rows of the catalog: reading one artifact, and what a fold writes. All within the caller's transaction."""

import json
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

from dpm_core.artifacts import ArtifactRef, Blob, Validators
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.fold import merged
from dpm_core.ports import Entry

ENTRIES = """
SELECT artifact.ecosystem, artifact.upstream, artifact."key", artifact.name,
       artifact.cid, blob.size, blob.digests,
       artifact.media_type, artifact.etag, artifact.last_modified, artifact.token,
       artifact.stored_at, freshness.checked_at, artifact.fresh_for, artifact.vouched, pin.artifact_id,
       artifact.fields, artifact.private
FROM artifact
JOIN blob ON blob.cid = artifact.cid
LEFT JOIN freshness ON freshness.artifact_id = artifact.id
LEFT JOIN pin ON pin.artifact_id = artifact.id
"""
"""Every artifact, for :func:`entry_of`."""

FIND = f"{ENTRIES} WHERE artifact.id = ?"
"""The one hot statement: an artifact by its id, for :func:`entry_of`."""

BESIDE = f"""{ENTRIES}
WHERE artifact.cid = ? AND artifact.ecosystem = ? AND artifact.upstream = ?
AND substr(artifact."key", 1, ?) = ? AND instr(substr(artifact."key", ? + 1), '/') = 0
ORDER BY artifact.id LIMIT 1
"""
"""An artifact by its bytes, ecosystem, upstream, and the length and text of its key up to the last slash."""

SINCE = """
SELECT token, upstream, "key" FROM artifact WHERE ecosystem = ? AND token > ? ORDER BY token LIMIT ?
"""
"""The names of artifacts by ecosystem, lowest token, and how many."""

_PUT = """
INSERT OR REPLACE INTO artifact (id, ecosystem, upstream, "key", name, cid, media_type, etag, last_modified,
                                 token, stored_at, fresh_for, vouched, fields, private)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ORPHAN = (
    "SELECT size FROM blob WHERE cid = ? AND NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.cid = blob.cid)"
)


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry that a row of FIND says."""
    (
        ecosystem, upstream, key, name, cid, size, digests, media_type, etag, last_modified, token,
        stored_at, checked_at, fresh_for, vouched, pin, fields, private,
    ) = row  # fmt: skip
    return Entry(
        ArtifactRef(ecosystem, upstream, key),
        name,
        _blob(cid, size, digests),
        media_type,
        Validators(etag, last_modified),
        token,
        stored_at,
        stored_at if checked_at is None else checked_at,
        fresh_for,
        bool(vouched),
        pin is not None,
        () if fields is None else tuple((name, value) for name, value in json.loads(fields)),
        bool(private),
    )


def _blob(cid: str, size: int, digests: str) -> Blob:
    # they were a Cid and Digests when they were written: reading them again as such would double a look-up's time
    known = tuple(str.__new__(Digest, each) for each in json.loads(digests))
    return Blob(str.__new__(Cid, cid), size, known)


class SqliteShelf:
    """Where :func:`dpm_core.fold.fold` puts what it decides."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute

    def find(self, artifact_id: str) -> Entry | None:
        """The artifact as folded so far, None if it is not held."""
        row = self._run(FIND, (artifact_id,)).fetchone()
        return None if row is None else entry_of(row)

    def holders(self, cid: Cid) -> Iterable[str]:
        """The ids of all artifacts that have these bytes."""
        return [row[0] for row in self._run("SELECT id FROM artifact WHERE cid = ?", (cid,))]

    def put(self, entry: Entry) -> None:
        """Hold the artifact as ``entry`` says; its blob joins what is known."""
        ref, artifact_id = entry.ref, entry.ref.id
        before = self._cid_of(artifact_id)
        self._put_blob(entry.blob)
        self._run(
            _PUT,
            (
                artifact_id, ref.ecosystem, ref.upstream, ref.key, entry.name, entry.blob.cid, entry.media_type,
                entry.validators.etag, entry.validators.last_modified, entry.token, entry.stored_at,
                entry.fresh_for, entry.vouched, json.dumps(entry.fields) if entry.fields else None,
                entry.private,
            ),
        )  # fmt: skip
        self._run("INSERT OR REPLACE INTO freshness VALUES (?, ?)", (artifact_id, entry.checked_at))
        if before != entry.blob.cid:
            self._left(before)

    def drop(self, artifact_id: str) -> None:
        """Hold the artifact no longer."""
        before = self._cid_of(artifact_id)
        self._run("DELETE FROM artifact WHERE id = ?", (artifact_id,))
        self._run("DELETE FROM freshness WHERE artifact_id = ?", (artifact_id,))
        self._run("DELETE FROM used WHERE artifact_id = ?", (artifact_id,))
        self._left(before)

    def pin(self, artifact_id: str, pinned: bool) -> None:
        """Whether the artifact is to be kept."""
        if pinned:
            self._run("INSERT OR IGNORE INTO pin VALUES (?)", (artifact_id,))
        else:
            self._run("DELETE FROM pin WHERE artifact_id = ?", (artifact_id,))

    def _cid_of(self, artifact_id: str) -> str | None:
        row = self._run("SELECT cid FROM artifact WHERE id = ?", (artifact_id,)).fetchone()
        return None if row is None else str(row[0])

    def _left(self, cid: str | None) -> None:
        """An artifact has this blob no longer; was it the last one, the file is of no use any more."""
        row = self._run(_ORPHAN, (cid,)).fetchone()
        if row is not None:
            self._run("DELETE FROM blob WHERE cid = ?", (cid,))
            self._run("INSERT OR REPLACE INTO leftover VALUES (?, ?, ?)", (cid, row[0], time.time()))

    def _put_blob(self, blob: Blob) -> None:
        row = self._run("SELECT cid, size, digests FROM blob WHERE cid = ?", (blob.cid,)).fetchone()
        if row is None:
            self._run("DELETE FROM leftover WHERE cid = ?", (blob.cid,))
        both = merged(None if row is None else _blob(*row), blob)
        self._run("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", (both.cid, both.size, json.dumps(both.digests)))
