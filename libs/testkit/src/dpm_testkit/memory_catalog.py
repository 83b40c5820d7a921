"""The memory twin of the catalog, and of what is kept beside the fold."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dpm_core.artifacts import ArtifactRef, Blob
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.fold import fold, merged
from dpm_core.ports import INDEX_OUTLIVES_SECONDS, Entry, Holding, Leftover, Totals


@dataclass
class MemoryCatalog:
    """Catalog, Uses and Leftovers in memory."""

    _position: int = 0
    _entries: dict[str, Entry] = field(default_factory=dict)
    _blobs: dict[Cid, Blob] = field(default_factory=dict)
    _pins: set[str] = field(default_factory=set)
    _used: dict[str, float] = field(default_factory=dict)
    _leftovers: dict[Cid, Leftover] = field(default_factory=dict)

    def find(self, artifact_id: str) -> Entry | None:
        entry = self._entries.get(artifact_id)
        if entry is None:
            return None
        return replace(entry, blob=self._blobs[entry.blob.cid], pinned=artifact_id in self._pins)

    def beside(self, ref: ArtifactRef, cid: Cid) -> Entry | None:
        for artifact_id in sorted(self.holders(cid)):
            entry = self.find(artifact_id)
            if entry is not None and _place(entry.ref) == _place(ref):
                return entry
        return None

    def since(self, ecosystem: str, token: int, most: int) -> Sequence[tuple[int, ArtifactRef]]:
        held = sorted((entry.token, entry.ref.id) for entry in self._entries.values() if entry.token > token)
        refs = [(at, self._entries[each].ref) for at, each in held]
        return [(at, ref) for at, ref in refs if ref.ecosystem == ecosystem][:most]

    def entries(self) -> Iterable[Entry]:
        return [entry for each in list(self._entries) if (entry := self.find(each)) is not None]

    def position(self) -> int:
        return self._position

    def apply(self, events: Iterable[Recorded]) -> None:
        for recorded in tuple(events):
            if recorded.sequence > self._position:
                fold(self, recorded)
                self._position = recorded.sequence

    def totals(self) -> Totals:
        return Totals(len(self._entries), len(self._blobs), sum(blob.size for blob in self._blobs.values()))

    def use(self, marks: Mapping[str, float]) -> None:
        for artifact_id, at in marks.items():
            if artifact_id in self._entries:
                self._used[artifact_id] = max(at, self._used.get(artifact_id, 0.0))

    def holdings(self) -> Iterable[Holding]:
        held = [
            Holding(
                cid,
                blob.size,
                max(self._used_at(each) for each in self.holders(cid)),
                tuple(self.holders(cid)),
                any(each in self._pins for each in self.holders(cid)),
            )
            for cid, blob in self._blobs.items()
        ]
        return sorted(held, key=lambda each: (each.used_at, each.cid))

    def _used_at(self, artifact_id: str) -> float:
        entry = self._entries[artifact_id]
        used_at = max(entry.stored_at, self._used.get(artifact_id, 0.0))
        return used_at if entry.fresh_for is None else used_at + INDEX_OUTLIVES_SECONDS

    def leftovers(self) -> list[Leftover]:
        return sorted(self._leftovers.values(), key=lambda each: (each.since, each.cid))

    def named(self, cid: Cid) -> bool:
        return cid in self._blobs

    def forget(self, cid: Cid) -> None:
        self._leftovers.pop(cid, None)

    # the fold writes here

    def holders(self, cid: Cid) -> list[str]:
        return [artifact_id for artifact_id, entry in self._entries.items() if entry.blob.cid == cid]

    def put(self, entry: Entry) -> None:
        self._leftovers.pop(entry.blob.cid, None)
        self._blobs[entry.blob.cid] = merged(self._blobs.get(entry.blob.cid), entry.blob)
        self._entries[entry.ref.id] = entry
        self._drop_orphans()

    def drop(self, artifact_id: str) -> None:
        del self._entries[artifact_id]
        self._used.pop(artifact_id, None)
        self._drop_orphans()

    def pin(self, artifact_id: str, pinned: bool) -> None:
        if pinned:
            self._pins.add(artifact_id)
        else:
            self._pins.discard(artifact_id)

    def _drop_orphans(self) -> None:
        named = {entry.blob.cid for entry in self._entries.values()}
        for cid in self._blobs.keys() - named:
            self._leftovers[cid] = Leftover(cid, self._blobs.pop(cid).size, time.time())


def _place(ref: ArtifactRef) -> tuple[str, str, str]:
    return ref.ecosystem, ref.upstream, ref.folder
