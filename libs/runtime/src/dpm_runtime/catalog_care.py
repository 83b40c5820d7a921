"""What the catalog keeps beside the fold: when artifacts were served, and blobs that nobody has any more."""

import sqlite3
from collections.abc import Iterator, Mapping

from dpm_core.cids import Cid
from dpm_core.ports import INDEX_OUTLIVES_SECONDS, Holding, Leftover
from dpm_runtime.catalog import SqliteCatalog

_USE = """
INSERT INTO used (artifact_id, used_at)
SELECT id, ? FROM artifact WHERE id = ?
ON CONFLICT (artifact_id) DO UPDATE SET used_at = max(used_at, excluded.used_at)
"""

_HOLDINGS = """
SELECT artifact.cid, blob.size,
       max(max(artifact.stored_at, coalesce(used.used_at, 0))
           + iif(artifact.fresh_for IS NULL, 0, ?)) AS last,
       group_concat(artifact.id), max(pin.artifact_id IS NOT NULL)
FROM artifact
JOIN blob ON blob.cid = artifact.cid
LEFT JOIN used ON used.artifact_id = artifact.id
LEFT JOIN pin ON pin.artifact_id = artifact.id
GROUP BY artifact.cid
ORDER BY last, artifact.cid
"""


class SqliteCare:
    """Ports Uses and Leftovers over a catalog that is open for writing; its methods may be called from any thread.

    What they raise: Unavailable where the file cannot be read or written.
    """

    def __init__(self, catalog: SqliteCatalog) -> None:
        self._catalog = catalog

    def use(self, marks: Mapping[str, float]) -> None:
        """Artifacts by id were served at these times. Those not held are passed over."""

        def note(connection: sqlite3.Connection) -> None:
            connection.executemany(_USE, [(at, artifact_id) for artifact_id, at in marks.items()])

        self._catalog.change(note)

    def holdings(self) -> Iterator[Holding]:
        """Every blob that is held, as of now, the least recently used first. Before the first all are sorted."""
        rows = self._catalog.stream(_HOLDINGS, (INDEX_OUTLIVES_SECONDS,))
        for cid, size, used_at, artifacts, pinned in rows:
            yield Holding(str.__new__(Cid, cid), size, used_at, tuple(artifacts.split(",")), bool(pinned))

    def leftovers(self) -> list[Leftover]:
        """All blobs that no artifact has any more."""
        rows = self._catalog.rows("SELECT cid, size, since FROM leftover ORDER BY since, cid")
        return [Leftover(str.__new__(Cid, cid), size, since) for cid, size, since in rows]

    def named(self, cid: Cid) -> bool:
        """Whether an artifact has the blob."""
        return bool(self._catalog.rows("SELECT 1 FROM blob WHERE cid = ?", (cid,)))

    def forget(self, cid: Cid) -> None:
        """The blob's file is gone."""

        def drop(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM leftover WHERE cid = ?", (cid,))

        self._catalog.change(drop)
