"""What must go when the log begins anew: what was numbered by the former one.

Its sequences are the tokens of attempts, and the catalog's position. Higher than any that the new log will give
for long, they would make an old attempt the newest, and every new event one that is folded already. The blobs
stay: nothing about them is numbered but by their sidecars.

What the catalog knew and no sidecar does is noted until the log has been seeded again.
"""

import shutil
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

from dpm_core.errors import Invalid, Unavailable
from dpm_core.registry import from_json, to_json
from dpm_core.subjects import STREAM
from dpm_runtime import whole_file
from dpm_runtime.bus_grants import STREAM_ACCOUNT
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home


@dataclass(frozen=True)
class Former:
    """Ids of artifacts that were pinned, and when artifacts were last used (seconds since the epoch)."""

    pinned: frozenset[str] = frozenset()
    used: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pinned or self.used)

    def joined(self, newer: "Former") -> "Former":
        """Both."""
        return Former(self.pinned | newer.pinned, {**self.used, **newer.used})


class FormerCatalog:
    """The note of what the catalog of a log that was lost knew: ``former.json`` beside it."""

    def __init__(self, home: Home) -> None:
        self._folder = home.catalog
        self._file = home.catalog / "former.json"

    def read(self) -> Former:
        """What was noted; nothing if there is no note, or none that can be read. Raises OSError."""
        try:
            return from_json(self._file.read_bytes(), Former)
        except (FileNotFoundError, Invalid):
            return Former()

    def note(self) -> None:
        """Note what the catalog knows, whichever version wrote it, beside what is noted. Raises OSError."""
        with closing(SqliteCatalog.latest(self._folder)) as catalog, suppress(Unavailable):
            known = Former(
                frozenset(row[0] for row in catalog.rows("SELECT artifact_id FROM pin")),
                {row[0]: row[1] for row in catalog.rows("SELECT artifact_id, used_at FROM used")},
            )
            if known:
                whole_file.replace(self._file, to_json(self.read().joined(known)))

    def forget(self) -> None:
        """The log knows it again. Raises OSError."""
        self._file.unlink(missing_ok=True)


def log_is_gone(home: Home) -> bool:
    """Whether nats-server has no stream in this home. Raises OSError where nobody may look."""
    stored = home.nats / "jetstream" / "jetstream" / STREAM_ACCOUNT / "streams"
    return STREAM not in (each.name for each in stored.iterdir()) if stored.exists() else True


def forget_sequences(home: Home) -> bool:
    """Delete all attempts and the catalog; returns whether there was any. May be done again after it broke off.

    Only while no service runs. Raises OSError.
    """
    attempts = list(home.incoming.iterdir())
    for folder in attempts:
        shutil.rmtree(folder)
    FormerCatalog(home).note()
    # the database before what belongs to it: without its journal it would be read, and be wrong
    catalogs = sorted(home.catalog.glob("catalog-*"), key=lambda path: not path.name.endswith(".sqlite"))
    for file in catalogs:
        file.unlink()
    return bool(attempts or catalogs)
