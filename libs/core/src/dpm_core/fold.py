"""What is held, folded from the log: the rules that a catalog follows, whatever it is kept in.

Process events expire from the log, so nothing that a replay must give again comes from them: FetchUnchanged
only renews ``checked_at``, and the validators stay those that came with the bytes.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from dpm_core.artifacts import Blob
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    BlobQuarantined,
    Event,
    FetchUnchanged,
)
from dpm_core.ports import Entry

_FOLDED = (ArtifactPinned, ArtifactUnpinned, ArtifactStored, ArtifactEvicted, FetchUnchanged, BlobQuarantined)

RULES = 1
"""The version of these rules. A catalog that was folded by others is not gone on with, but built anew."""


class Shelf(Protocol):
    """What a fold writes to."""

    def find(self, artifact_id: str) -> Entry | None:
        """The artifact as folded so far, None if it is not held."""

    def holders(self, cid: Cid) -> Iterable[str]:
        """The ids of all artifacts that have these bytes."""

    def put(self, entry: Entry) -> None:
        """Hold the artifact as ``entry`` says, but for ``pinned``; its blob joins what is known (see merged)."""

    def drop(self, artifact_id: str) -> None:
        """Hold the artifact no longer."""

    def pin(self, artifact_id: str, pinned: bool) -> None:
        """Whether the artifact is to be kept; remembered of one that is not held, too."""


def is_folded(event: Event) -> bool:
    """Whether such an event may change what is held."""
    return isinstance(event, _FOLDED)


def fold(shelf: Shelf, recorded: Recorded) -> None:
    """Bring the shelf from before the event to after it."""
    match recorded.event:
        case ArtifactPinned(ref=ref):
            shelf.pin(ref.id, True)
        case ArtifactUnpinned(ref=ref):
            shelf.pin(ref.id, False)
        case ArtifactStored(ref=ref) | ArtifactEvicted(ref=ref) | FetchUnchanged(ref=ref):
            _fold_artifact(shelf, ref.id, recorded)
        case BlobQuarantined(cid=cid):
            for artifact_id in tuple(shelf.holders(cid)):
                _fold_artifact(shelf, artifact_id, recorded)
        case _:
            pass


def _fold_artifact(shelf: Shelf, artifact_id: str, recorded: Recorded) -> None:
    before = shelf.find(artifact_id)
    after = evolve(before, recorded)
    if after is not None and after != before:
        shelf.put(after)
    elif after is None and before is not None:
        shelf.drop(artifact_id)


def evolve(entry: Entry | None, recorded: Recorded) -> Entry | None:
    """The artifact after an event about it, or about its blob; None stands for one that is not held.

    What was said of other bytes than those held changes nothing: they have been replaced meanwhile.
    """
    match recorded.event:
        case ArtifactStored() as stored:
            return Entry(
                ref=stored.ref,
                name=stored.name,
                blob=stored.blob,
                media_type=stored.media_type,
                validators=stored.validators,
                token=recorded.sequence,
                stored_at=recorded.happened,
                checked_at=recorded.happened,
                fresh_for=stored.fresh_for,
                vouched=stored.vouched,
                pinned=entry is not None and entry.pinned,
                fields=stored.fields,
                private=stored.private,
            )
        case FetchUnchanged(cid=cid) if entry is not None and entry.blob.cid == cid:
            return replace(entry, checked_at=max(entry.checked_at, recorded.time))
        case ArtifactEvicted(cid=cid) | BlobQuarantined(cid=cid) if entry is not None and entry.blob.cid == cid:
            return None
        case _:
            return entry


def merged(known: Blob | None, blob: Blob) -> Blob:
    """The blob with the digests of both: metadata may give other ones for another artifact with the same bytes."""
    digests = blob.digests if known is None else (*known.digests, *blob.digests)
    return replace(blob, digests=tuple(sorted(set(digests))))
