"""The catalog as people ask for it: artifacts by name, by size, by last use, and sums by ecosystem."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from dpm_core.cids import Cid
from dpm_core.commands import Item, Selection
from dpm_runtime.catalog import Row, SqliteCatalog


class Order(StrEnum):
    """Which artifacts come first."""

    BIGGEST = "blob.size DESC, artifact.id"
    UNUSED = "used_at, artifact.id"
    NAME = "artifact.name, artifact.id"


@dataclass(frozen=True)
class Share:
    """What an ecosystem holds; a blob that several of them have counts for each, ``bytes`` once in each."""

    ecosystem: str
    artifacts: int
    bytes: int
    pinned: int


_ITEM = """
SELECT artifact.id, artifact.ecosystem, artifact.name, artifact.cid, blob.size, artifact.stored_at,
       max(artifact.stored_at, coalesce(used.used_at, 0)) AS used_at, pin.artifact_id IS NOT NULL AS pinned
FROM artifact
JOIN blob ON blob.cid = artifact.cid
LEFT JOIN used ON used.artifact_id = artifact.id
LEFT JOIN pin ON pin.artifact_id = artifact.id
"""

_SHARES = """
SELECT ecosystem, sum(artifacts), sum(size), sum(pinned) FROM (
    SELECT artifact.ecosystem AS ecosystem, count(*) AS artifacts, blob.size AS size,
           count(pin.artifact_id) AS pinned
    FROM artifact JOIN blob ON blob.cid = artifact.cid LEFT JOIN pin ON pin.artifact_id = artifact.id
    GROUP BY artifact.ecosystem, artifact.cid
) GROUP BY ecosystem ORDER BY ecosystem
"""


class Listing:
    """Reads a catalog, whoever writes it. Raises Unavailable where that cannot be read."""

    def __init__(self, catalog: SqliteCatalog) -> None:
        self._catalog = catalog

    def shares(self) -> list[Share]:
        """What each ecosystem holds, by name."""
        return [Share(*row) for row in self._catalog.rows(_SHARES)]

    def items(self, order: Order, limit: int, *, pinned: bool = False) -> list[Item]:
        """The first ``limit`` artifacts in this order; with ``pinned`` only pinned ones."""
        where = "WHERE pin.artifact_id IS NOT NULL" if pinned else ""
        return [_item(row) for row in self._catalog.rows(f"{_ITEM} {where} ORDER BY {order} LIMIT ?", (limit,))]

    def select(self, selection: Selection) -> list[Item]:
        """The artifacts that a selection means, by name."""
        found: dict[str, Item] = {}
        for name in selection.names:
            where, values = "artifact.id = ? OR artifact.name GLOB ?", [name, _literal(name)]
            if selection.ecosystem is not None:
                where, values = f"({where}) AND artifact.ecosystem = ?", [*values, selection.ecosystem]
            rows = self._catalog.rows(f"{_ITEM} WHERE {where} ORDER BY {Order.NAME}", tuple(values))
            found.update((item.id, item) for item in map(_item, rows))
        return list(found.values())

    def with_ids(self, ids: Iterable[str]) -> Iterator[Item]:
        """The artifacts that are held of these."""
        for each in ids:
            yield from map(_item, self._catalog.rows(f"{_ITEM} WHERE artifact.id = ?", (each,)))

    def cids(self) -> set[Cid]:
        """Every blob that an artifact has."""
        return {str.__new__(Cid, row[0]) for row in self._catalog.rows("SELECT cid FROM blob")}

    def left_over_cids(self) -> set[Cid]:
        """Every blob that nobody has any more whose file is still there."""
        return {str.__new__(Cid, row[0]) for row in self._catalog.rows("SELECT cid FROM leftover")}

    def left_over(self) -> tuple[int, int]:
        """How many blobs nobody has any more whose files are still there, and their bytes."""
        rows = self._catalog.rows("SELECT count(*), coalesce(sum(size), 0) FROM leftover")
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)


def _literal(name: str) -> str:
    """A pattern of GLOB in which only the star and the question mark mean anything."""
    return name.replace("[", "[[]")


def _item(row: Row) -> Item:
    artifact_id, ecosystem, name, cid, size, stored_at, used_at, pinned = row
    return Item(artifact_id, ecosystem, name, str.__new__(Cid, cid), size, stored_at, used_at, bool(pinned))
