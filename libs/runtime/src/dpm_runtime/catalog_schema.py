"""The schema of the catalog as SQL, so that whoever opens it need not load SQLModel: that takes most of a second.

``catalog_tables`` declares it; a test holds the two equal, white space aside.
"""

import hashlib

from dpm_core.fold import RULES

FOLDED_TABLES = ("artifact", "blob", "pin", "position")
"""The tables that a replay of the log gives again, row for row."""

DDL = (
    """\
CREATE TABLE artifact (
    id VARCHAR NOT NULL,
    ecosystem VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL,
    "key" VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    cid VARCHAR NOT NULL,
    media_type VARCHAR NOT NULL,
    etag VARCHAR,
    last_modified VARCHAR,
    token INTEGER NOT NULL,
    stored_at FLOAT NOT NULL,
    fresh_for FLOAT,
    vouched BOOLEAN NOT NULL,
    fields VARCHAR,
    private BOOLEAN NOT NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID
""",
    "CREATE INDEX ix_artifact_cid ON artifact (cid)",
    "CREATE INDEX ix_artifact_stored ON artifact (ecosystem, token)",
    """\
CREATE TABLE blob (
    cid VARCHAR NOT NULL,
    size INTEGER NOT NULL,
    digests VARCHAR NOT NULL,
    PRIMARY KEY (cid)
) WITHOUT ROWID
""",
    """\
CREATE TABLE pin (
    artifact_id VARCHAR NOT NULL,
    PRIMARY KEY (artifact_id)
) WITHOUT ROWID
""",
    """\
CREATE TABLE position (
    id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (id)
)
""",
    """\
CREATE TABLE freshness (
    artifact_id VARCHAR NOT NULL,
    checked_at FLOAT NOT NULL,
    PRIMARY KEY (artifact_id)
) WITHOUT ROWID
""",
    """\
CREATE TABLE used (
    artifact_id VARCHAR NOT NULL,
    used_at FLOAT NOT NULL,
    PRIMARY KEY (artifact_id)
) WITHOUT ROWID
""",
    """\
CREATE TABLE leftover (
    cid VARCHAR NOT NULL,
    size INTEGER NOT NULL,
    since FLOAT NOT NULL,
    PRIMARY KEY (cid)
) WITHOUT ROWID
""",
)
"""The statements that make an empty catalog."""


def file_name(statements: tuple[str, ...]) -> str:
    """The file of a catalog with these tables, folded by the present rules."""
    digest = hashlib.sha256("\n".join((str(RULES), *statements)).encode()).hexdigest()
    return f"catalog-{digest[:12]}.sqlite"


FILE_NAME = file_name(DDL)
"""The file of the present catalog."""
