"""What a node holds, as simple as it can be said: what upstream had when somebody last asked for it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from dpm_core.artifacts import Topic
from dpm_core.decisions import Recorded
from dpm_core.events import (
    ArtifactStored,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
    about,
)


@dataclass
class NodeModel:
    """Bodies by name: those that upstream has now, all that it ever had, and what was asked for."""

    upstream: dict[str, bytes] = field(default_factory=dict)
    ever: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    asked: set[str] = field(default_factory=set)

    def publish(self, name: str, body: bytes) -> None:
        """Upstream has this body now."""
        self.upstream[name] = body
        self.ever[name].add(body)

    def ask(self, name: str) -> None:
        """Somebody wants it as it is now."""
        self.asked.add(name)

    def held(self) -> dict[str, bytes]:
        """What the node holds once it is at rest and all that was asked for was asked for once more."""
        return {name: body for name, body in self.upstream.items() if name in self.asked}


def misplaced(history: Iterable[Recorded]) -> list[str]:
    """The events that may not stand where they do: each attempt is claimed once, and has one end at most."""
    before: dict[Topic, Event] = {}
    found = []
    for recorded in history:
        topic = about(recorded.event)
        if topic is None:
            continue
        if not _may_follow(before.get(topic), recorded.event):
            found.append(f"{recorded.sequence}: {recorded.event} behind {before.get(topic)}")
        before[topic] = recorded.event
    return found


def _may_follow(before: Event | None, event: Event) -> bool:
    match event:
        case FetchStarted():
            return isinstance(before, FetchRequested | FetchStarted)
        case FetchFailed(reason=FailReason.EXPIRED):
            return isinstance(before, FetchRequested)
        case ArtifactStored() | FetchUnchanged() | FetchFailed():
            return isinstance(before, FetchStarted)
        case _:
            return True
