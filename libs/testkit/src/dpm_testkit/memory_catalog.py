"""The memory twin of the catalog."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dpm_core.artifacts import Blob
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.fold import fold, merged
from dpm_core.ports import Entry, Totals


@dataclass
class MemoryCatalog:
    """Catalog in memory."""

    _position: int = 0
    _entries: dict[str, Entry] = field(default_factory=dict)
    _blobs: dict[Cid, Blob] = field(default_factory=dict)
    _pins: set[str] = field(default_factory=set)

    def find(self, artifact_id: str) -> Entry | None:
        entry = self._entries.get(artifact_id)
        if entry is None:
            return None
        return replace(entry, blob=self._blobs[entry.blob.cid], pinned=artifact_id in self._pins)

    def position(self) -> int:
        return self._position

    def apply(self, events: Iterable[Recorded]) -> None:
        for recorded in tuple(events):
            if recorded.sequence > self._position:
                fold(self, recorded)
                self._position = recorded.sequence

    def totals(self) -> Totals:
        return Totals(len(self._entries), len(self._blobs), sum(blob.size for blob in self._blobs.values()))

    # the fold writes here

    def holders(self, cid: Cid) -> Iterable[str]:
        return [artifact_id for artifact_id, entry in self._entries.items() if entry.blob.cid == cid]

    def put(self, entry: Entry) -> None:
        self._blobs[entry.blob.cid] = merged(self._blobs.get(entry.blob.cid), entry.blob)
        self._entries[entry.ref.id] = entry
        self._drop_orphans()

    def drop(self, artifact_id: str) -> None:
        del self._entries[artifact_id]
        self._drop_orphans()

    def pin(self, artifact_id: str, pinned: bool) -> None:
        if pinned:
            self._pins.add(artifact_id)
        else:
            self._pins.discard(artifact_id)

    def _drop_orphans(self) -> None:
        named = {entry.blob.cid for entry in self._entries.values()}
        self._blobs = {cid: blob for cid, blob in self._blobs.items() if cid in named}
