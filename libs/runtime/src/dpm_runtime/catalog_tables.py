"""The tables of the catalog as SQLModel declares them; ``catalog_schema`` has the same as SQL."""

from sqlalchemy import Index, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import Field, SQLModel

_BY_KEY = {"sqlite_with_rowid": False}


class ArtifactRow(SQLModel, table=True):
    """An artifact that is held. ``token`` is the sequence of its ArtifactStored, ``stored_at`` its time.

    ``fields`` is a JSON array of pairs, null for none.
    """

    __tablename__ = "artifact"
    __table_args__ = (Index("ix_artifact_stored", "ecosystem", "token"), _BY_KEY)
    id: str = Field(primary_key=True)
    ecosystem: str
    upstream: str
    key: str
    name: str
    cid: str = Field(index=True)
    media_type: str
    etag: str | None
    last_modified: str | None
    token: int
    stored_at: float
    fresh_for: float | None
    vouched: bool
    fields: str | None
    private: bool


class BlobRow(SQLModel, table=True):
    """Bytes that an artifact has, once however many share them. ``digests`` is a JSON array."""

    __tablename__ = "blob"
    __table_args__ = _BY_KEY
    cid: str = Field(primary_key=True)
    size: int
    digests: str


class PinRow(SQLModel, table=True):
    """An artifact that is to be kept, held or not: a pin outlives a quarantine and a new fetch."""

    __tablename__ = "pin"
    __table_args__ = _BY_KEY
    artifact_id: str = Field(primary_key=True)


class PositionRow(SQLModel, table=True):
    """The sequence up to which the log is folded; one row."""

    __tablename__ = "position"
    id: int = Field(primary_key=True)
    sequence: int


class FreshnessRow(SQLModel, table=True):
    """When upstream last gave or confirmed an artifact. Outside the fold: the events that renew it expire."""

    __tablename__ = "freshness"
    __table_args__ = _BY_KEY
    artifact_id: str = Field(primary_key=True)
    checked_at: float


class UsedRow(SQLModel, table=True):
    """When an artifact was last served. Outside the fold: gateways tell of it on a tap."""

    __tablename__ = "used"
    __table_args__ = _BY_KEY
    artifact_id: str = Field(primary_key=True)
    used_at: float


class LeftoverRow(SQLModel, table=True):
    """A blob that no artifact has any more, until its file is gone. Outside the fold: the log knows no files."""

    __tablename__ = "leftover"
    __table_args__ = _BY_KEY
    cid: str = Field(primary_key=True)
    size: int
    since: float


FOLDED = (ArtifactRow, BlobRow, PinRow, PositionRow)
"""The tables that a replay of the log gives again, row for row."""


def statements() -> tuple[str, ...]:
    """The statements that make an empty catalog."""
    dialect = sqlite.dialect()
    made: list[str] = []
    for row in (*FOLDED, FreshnessRow, UsedRow, LeftoverRow):
        table: Table = SQLModel.metadata.tables[str(row.__tablename__)]
        made.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made.extend(str(CreateIndex(index).compile(dialect=dialect)).strip() for index in indexes)
    return tuple(made)
