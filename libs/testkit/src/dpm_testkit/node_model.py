"""What a node holds, as simple as it can be said, to hold log, catalog and store against."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dpm_core.artifacts import Topic
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.digests import answers
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactStored,
    BlobQuarantined,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
    about,
)
from dpm_core.ports import Entry, Totals


@dataclass
class Upstream:
    """Bodies by name: those that upstream has now, and all that it ever had."""

    now: dict[str, bytes] = field(default_factory=dict)
    ever: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    def publish(self, name: str, body: bytes) -> None:
        """Upstream has this body now."""
        self.now[name] = body
        self.ever[name].add(body)


class NodeModel:
    """What is held after a history of events: ``stored`` has the last word on each artifact that is, by its id.

    ``claimed`` has the sequence of the claim that each artifact's last word answers.
    """

    def __init__(self, history: Iterable[Recorded] = ()) -> None:
        self.stored: dict[str, ArtifactStored] = {}
        self.claimed: dict[str, int] = {}
        self._claims: dict[str, int] = {}
        self._said: dict[str, Recorded] = {}
        self._confirmed: dict[str, float] = {}
        for recorded in history:
            self._take(recorded)

    def _take(self, recorded: Recorded) -> None:
        match recorded.event:
            case FetchStarted(want=want):
                self._claims[want.ref.id] = recorded.sequence
            case ArtifactStored(ref=ref) as stored:
                self.stored[ref.id], self._said[ref.id] = stored, recorded
                self.claimed[ref.id] = self._claims[ref.id]
                self._confirmed[ref.id] = _when(recorded)
            case FetchUnchanged(ref=ref, cid=cid) if self.has(ref.id, cid):
                self._confirmed[ref.id] = max(recorded.time, self._confirmed[ref.id])
            case ArtifactEvicted(ref=ref, cid=cid) if self.has(ref.id, cid):
                del self.stored[ref.id]
            case BlobQuarantined(cid=cid):
                self.stored = {each: was for each, was in self.stored.items() if was.blob.cid != cid}

    def has(self, artifact_id: str, cid: Cid) -> bool:
        """Whether the artifact is held with these bytes."""
        return artifact_id in self.stored and self.stored[artifact_id].blob.cid == cid

    def says(self, artifact_id: str, entry: Entry | None) -> bool:
        """Whether that is what a catalog must say of an artifact."""
        stored = self.stored.get(artifact_id)
        if stored is None or entry is None:
            return stored is None and entry is None
        kept = (entry.ref, entry.name, entry.blob.cid, entry.media_type, entry.validators, entry.fresh_for)
        told = (stored.ref, stored.name, stored.blob.cid, stored.media_type, stored.validators, stored.fresh_for)
        said = self._said[artifact_id]
        times = (entry.token, entry.stored_at, entry.checked_at)
        return kept == told and times == (said.sequence, _when(said), self._confirmed[artifact_id])

    @property
    def cids(self) -> set[Cid]:
        """All blobs that are held."""
        return {each.blob.cid for each in self.stored.values()}

    @property
    def totals(self) -> Totals:
        """How much is held."""
        sizes = {each.blob.cid: each.blob.size for each in self.stored.values()}
        return Totals(len(self.stored), len(sizes), sum(sizes.values()))


def _when(stored: Recorded) -> float:
    """When it was stored; who tells of it later says so."""
    assert isinstance(stored.event, ArtifactStored)
    return stored.time if stored.event.stored_at is None else stored.event.stored_at


def unanswered(history: Iterable[Recorded]) -> set[int]:
    """The sequences of the requests that nothing has answered yet."""
    waiting: dict[Topic, int] = {}
    for recorded in history:
        topic = about(recorded.event)
        match recorded.event:
            case FetchRequested(want=want):
                waiting[want.ref.topic] = recorded.sequence
            case FetchStarted():
                pass
            case _ if topic:
                waiting.pop(topic, None)
    return set(waiting.values())


def misplaced(history: Iterable[Recorded]) -> Iterator[str]:
    """The events that may not stand where they do.

    A request is asked for once at a time and claimed by whoever acts on it, an attempt has one end, and what is
    stored at its end has the digests that its request wanted.
    """
    before: dict[Topic, Recorded] = {}
    for recorded in history:
        topic = about(recorded.event)
        if topic is None:
            yield f"{recorded.sequence} cannot be read"
        else:
            if not _may_follow(before.get(topic), recorded):
                yield f"{recorded.sequence}: {recorded.event} behind {before.get(topic)}"
            before[topic] = recorded


def claimed_again(history: Iterable[Recorded]) -> Iterator[tuple[str, int, int]]:
    """Each claim that follows another one: the artifact's id, the lost attempt's token, the claim's sequence."""
    claims: dict[str, int] = {}
    for recorded in history:
        match recorded.event:
            case FetchStarted(want=want):
                if want.ref.id in claims:
                    yield want.ref.id, claims[want.ref.id], recorded.sequence
                claims[want.ref.id] = recorded.sequence
            case event if topic := about(event):
                claims.pop(topic.key, None)


def _may_follow(last: Recorded | None, recorded: Recorded) -> bool:
    before = None if last is None else last.event
    match recorded.event:
        case FetchRequested():
            return not isinstance(before, FetchRequested) or recorded.time > before.deadline
        case FetchStarted(request=request):
            asked = before.request if isinstance(before, FetchStarted) else last.sequence if last else 0
            return isinstance(before, FetchRequested | FetchStarted) and request == asked
        case FetchFailed(reason=FailReason.EXPIRED):
            return isinstance(before, FetchRequested)
        case ArtifactStored(blob=blob):
            return isinstance(before, FetchStarted) and answers(blob.digests, before.want.digests)
        case FetchUnchanged() | FetchFailed():
            return isinstance(before, FetchStarted)
        case ArtifactEvicted():
            return not isinstance(before, FetchRequested) or recorded.time > before.deadline
        case _:
            return True
