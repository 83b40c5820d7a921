"""The ports: what DPM needs from the world, each small enough to remember.

Where bytes come from is in ``origins``. Every port has a memory twin in ``dpm_testkit`` and a conformance suite
that twin and adapter both pass.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dpm_core.artifacts import ArtifactRef, Blob, Fields, Held, Topic, Validators, Want
from dpm_core.attempts import AttemptState, AttemptView
from dpm_core.cids import Cid
from dpm_core.dates import read_date
from dpm_core.decisions import Recorded
from dpm_core.events import ArtifactStored, Event, Source
from dpm_core.sidecars import Sidecar


class Clock(Protocol):
    """What time it is, and waiting."""

    def now(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Wait; returns at once for zero or less."""


class Delivery(Protocol):
    """A request handed to a worker, which must settle it or gets it again.

    All methods raise Unavailable if the log cannot be told; the request is then delivered again.
    """

    recorded: Recorded

    async def ack(self) -> None:
        """Done, never deliver it again."""

    async def nak(self, delay: float) -> None:
        """Deliver it again in ``delay`` seconds."""

    async def in_progress(self) -> None:
        """Still at it: restart the time within which it must be settled."""

    async def term(self) -> None:
        """It can never be done: do not deliver it again."""


class EventLog(Protocol):
    """The node's log of events, which is also its lock."""

    async def append(self, topic: Topic, event: Event, *, after: int | None = None) -> int:
        """Append ``event`` about ``topic`` and return its sequence.

        With ``after``, only if that is the sequence of the topic's last event (0: it has none), whatever its
        type. Raises Conflict if it is not, Unavailable if the log cannot be reached; an append whose
        acknowledgement was lost is found again and counts as done. Raises Invalid for an event whose body
        names another topic.
        """

    async def last(self, topic: Topic) -> Recorded | None:
        """The topic's last event, as Unknown if it cannot be read here: conditions count every type.

        Raises Unavailable, and ReaderTooOld if only a newer reader understands it.
        """

    def follow(self, kind: str | None, *, after: int, name: str | None = None) -> AsyncGenerator[Recorded, None]:
        """Every event of topics of ``kind`` (None: all) with a sequence above ``after``, in order, for ever.

        With ``name``, only those of that type (``artifact-stored``). Raises Invalid if no subject can hold these.

        Survives a restart of the server; passes over what cannot be read here. Raises ReaderTooOld at an event
        that only a newer reader understands.
        """

    def work(self) -> AsyncGenerator[Delivery, None]:
        """The fetch requests, each to one worker at a time, again and again until it is settled.

        Survives a restart of the server. Raises ReaderTooOld like ``follow``.
        """


class Tap(Protocol):
    """What is frequent and no history: told to whoever listens, never stored, lost when the bus is down."""

    async def tell(self, name: str, message: object) -> None:
        """Tell listeners of ``name`` (``gateway.waiting``). Never raises for want of a bus."""

    def listen(self, name: str) -> AsyncGenerator[bytes, None]:
        """The JSON of each message told under ``name`` from the first ``anext`` on; ``*`` stands for one word."""


@dataclass(frozen=True)
class Entry:
    """What the catalog knows of an artifact that is held.

    ``checked_at`` (epoch seconds) is when upstream last gave or confirmed it; ``token`` the sequence of its
    ArtifactStored. ``fresh_for`` is None for what never changes. ``fields`` are those of upstream's answer that
    were kept. ``private``: upstream gives it to those alone who show credentials.
    """

    ref: ArtifactRef
    name: str
    blob: Blob
    media_type: str
    validators: Validators
    token: int
    stored_at: float
    checked_at: float
    fresh_for: float | None = None
    vouched: bool = True
    pinned: bool = False
    fields: Fields = ()
    private: bool = False

    @property
    def held(self) -> Held:
        """What a request says of it that is to fetch it only if it has changed."""
        return Held(self.blob.cid, self.blob.size, self.validators, self.blob.digests)

    @property
    def modified(self) -> float:
        """The date that it goes out with (epoch seconds): upstream's, else when it was stored."""
        told = read_date(self.validators.last_modified) if self.validators.last_modified else None
        return self.stored_at if told is None else told

    def fresh(self, now: float) -> bool:
        """Whether the artifact may be served at ``now`` (epoch seconds) without asking upstream again."""
        return self.fresh_for is None or now - self.checked_at < self.fresh_for


@dataclass(frozen=True)
class Totals:
    """How much the catalog holds; bytes count each blob once."""

    artifacts: int
    blobs: int
    bytes: int


class Catalog(Protocol):
    """What is held, folded from the log: one rebuildable file a node, written by one fetcher."""

    def find(self, artifact_id: str) -> Entry | None:
        """The artifact, or None if it is not held. Microseconds: no bus, no lock."""

    def position(self) -> int:
        """The sequence up to which the log is folded; 0 for an empty catalog."""

    def apply(self, events: Iterable[Recorded]) -> None:
        """Fold events in order, and move the position, in one transaction. Those already folded are skipped."""

    def totals(self) -> Totals:
        """How much is held."""


class Contents(Protocol):
    """What the catalog holds, by its bytes and by when it came."""

    def beside(self, ref: ArtifactRef, cid: Cid) -> Entry | None:
        """An artifact with the bytes ``cid`` that lies beside ``ref``, or is it; None if none is held.

        It has the same upstream, and a key that differs only behind the last slash.
        """

    def since(self, ecosystem: str, token: int, most: int) -> Sequence[tuple[int, ArtifactRef]]:
        """What is held of an ecosystem with a token above ``token``: its token and name, in their order.

        No more than ``most`` are given, those with the lowest tokens.
        """

    def entries(self) -> Iterable[Entry]:
        """Everything that is held, in no order, for who goes through it once. May be read in another thread."""


class Shelves(Catalog, Contents, Protocol):
    """The catalog as gateways read it."""


INDEX_OUTLIVES_SECONDS = 3600.0
"""A mutable artifact counts as used so much later than it was: without its index no file can be served."""


@dataclass(frozen=True)
class Holding:
    """A blob as eviction sees it: its size in bytes, the ids of the artifacts that have it, whether one is pinned.

    ``used_at`` (seconds since the epoch) is when the last of them was served or stored; for mutable ones
    INDEX_OUTLIVES_SECONDS later.
    """

    cid: Cid
    size: int
    used_at: float
    artifacts: tuple[str, ...]
    pinned: bool = False


class Uses(Protocol):
    """When artifacts were last served: beside the fold, lost with the catalog."""

    def use(self, marks: Mapping[str, float]) -> None:
        """Artifacts by id were served at these times (seconds since the epoch). Those not held are passed over."""

    def holdings(self) -> Iterable[Holding]:
        """Every blob that is held, as of now, the least recently used first."""


@dataclass(frozen=True)
class Leftover:
    """A blob that no artifact has any more, its size in bytes, and since when (seconds since the epoch)."""

    cid: Cid
    size: int
    since: float


class Leftovers(Protocol):
    """Blobs that no artifact has any more, and whose files may still be there; beside the fold."""

    def leftovers(self) -> list[Leftover]:
        """All of them."""

    def named(self, cid: Cid) -> bool:
        """Whether an artifact has the blob."""

    def forget(self, cid: Cid) -> None:
        """The blob's file is gone."""


class References(Protocol):
    """Those who refer to the files of blobs, and give them to others."""

    async def drop(self, cids: Sequence[Cid]) -> None:
        """Have nobody refer to these any more; their files may go once it returns.

        Raises Unavailable if they cannot be asked.
        """


class Body(Protocol):
    """Bytes of a blob in the store."""

    size: int

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``, fewer only at the end. Raises Untrusted if the disk lies."""

    def close(self) -> None:
        """Let go of it; may be called twice."""


class Growing(Protocol):
    """Bytes of an attempt, which may still be coming."""

    async def opened(self) -> AttemptState:
        """Wait until a byte may be read or the attempt is over, and return its state then.

        Raises AttemptLost if its writer has died or was replaced.
        """

    async def read(self, offset: int, size: int) -> bytes:
        """At least one byte from ``offset``, waiting for it if need be; nothing only at the verified end.

        Raises AttemptFailed, AttemptLost.
        """

    def close(self) -> None:
        """Let go of it; may be called twice. A read that waits ends with AttemptLost."""


class BlobStore(Protocol):
    """The store as its readers see it."""

    async def open(self, cid: Cid) -> Body | None:
        """The blob, or None if the store has it not.

        Raises Unavailable if it cannot say, Untrusted if what is there cannot be this blob.
        """

    async def follow(self, artifact_id: str, token: int) -> Growing | None:
        """The attempt, or None if it has no folder (any more)."""

    async def newest(self, artifact_id: str) -> int | None:
        """The highest token of the artifact's attempts that have a folder."""


class Attempt(Protocol):
    """An attempt as its writer sees it. Its lock is held from ``begin`` until it is closed."""

    async def start(self, token: int, adopt: int | None = None) -> int:
        """Make the attempt visible under its token, going on from the data of the dead attempt ``adopt``.

        Returns how many bytes were adopted (0 where there was nothing to adopt).
        """

    async def publish(self, state: AttemptState) -> None:
        """Let readers see this state. The first verdict stands: once over, what comes later is ignored."""

    async def write(self, data: bytes) -> None:
        """Add the next bytes, hashing them in the same pass. Raises Unavailable if the disk cannot take them."""

    async def restart(self) -> None:
        """Forget the bytes so far: what comes next is a body of its own. Only before anything was shown."""

    async def store(self, state: AttemptState, source: Source) -> tuple[Blob, AttemptState]:
        """Verify all digests, publish the verified state, and make the bytes a blob, safe against power loss.

        ``source`` gave the bytes. Raises Untrusted if a digest or the length differs: nothing of it is kept
        then, and the caller may ``restart`` or publish a failure. Raises Unavailable if the disk cannot take it.
        """

    async def close(self) -> None:
        """Release the lock. An attempt that was never started vanishes; a finished one stays for a while."""


class Intake(Protocol):
    """The store as its only writer sees it."""

    async def begin(self, want: Want) -> Attempt:
        """A new attempt, locked and not yet visible. Raises Unavailable."""

    def view(self, artifact_id: str, token: int) -> AttemptView | None:
        """The attempt as anyone may see it, None if it has no folder."""

    def left(self, artifact_id: str, token: int) -> ArtifactStored | None:
        """What is to be told of an attempt that made its bytes a blob, and may have died before it could tell.

        None for one that did not, and once a later attempt has stored the same bytes. Raises Unavailable.
        """

    def settle(self, artifact_id: str, token: int) -> None:
        """The log knows how the artifact's attempts up to ``token`` ended. Raises Unavailable."""

    async def sweep(self, now: float) -> int:
        """Delete what finished, lost or abandoned attempts left over a minute ago; returns how many.

        The newest one stays longer, if somebody may go on from it, or has to tell of what it stored.
        """


class Custody(Protocol):
    """The store as it is cared for: what is kept of a blob, and its end."""

    def sidecar(self, cid: Cid) -> Sidecar | None:
        """What is kept beside the blob, None if there is nothing that can be read. Raises Unavailable."""

    async def remove(self, cid: Cid, unless: Callable[[Sidecar | None], bool] = lambda sidecar: False) -> bool:
        """Delete a blob and its sidecar; open readers finish. Returns whether it was done.

        ``unless`` is asked, with the sidecar and in a thread, while nobody else can store or remove the blob.
        """

    async def check(self, cid: Cid) -> str | None:
        """Hash the blob's bytes: what is wrong with them, None if nothing is, or if there are none."""

    async def quarantine(self, cid: Cid) -> str | None:
        """Set the blob aside if its bytes are wrong: what is wrong with them, None if nothing was done."""
