"""What happens, in the past tense: one frozen dataclass an event, one event a decision.

The fetch-* events are process, not state: they expire from the log, and the catalog is folded from the artifact-*
and blob-* events alone, the table of peers from the peer-* events.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dpm_core.artifacts import ArtifactRef, Blob, Fields, Held, Topic, Validators, Want
from dpm_core.cids import Cid
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.registry import event

DAY = 86_400
"""Seconds in a day."""

SILENT_DAYS = 7
"""A peer that was not heard of for so long has left, and its last advert goes from the log."""


class FailReason(StrEnum):
    """Why a fetch ended without bytes."""

    NOT_FOUND = "not-found"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    UNTRUSTED = "untrusted"
    TOO_LARGE = "too-large"
    EXPIRED = "expired"
    ABANDONED = "abandoned"
    DISK = "disk"
    """The node's own disk is full, or it fails."""


class OriginKind(StrEnum):
    """Where bytes came from."""

    UPSTREAM = "upstream"
    PEER = "peer"


@dataclass(frozen=True)
class Source:
    """Who gave the bytes: the kind of origin, and its host or peer id."""

    kind: OriginKind
    name: str


@dataclass(frozen=True)
class Part:
    """Which bytes a source gave: ``size`` of them, from ``offset`` on."""

    source: Source
    offset: int
    size: int


@event("fetch-requested", version=1)
@dataclass(frozen=True)
class FetchRequested:
    """A gateway has a client that waits for an artifact which is not here, or no longer fresh.

    ``deadline`` (seconds since the epoch): after it the request counts as absent. ``held`` is what is here
    already and only has to be confirmed. ``gateway`` is the process that asked.
    """

    want: Want
    deadline: float
    gateway: str
    held: Held | None = None


@event("fetch-started", version=1)
@dataclass(frozen=True)
class FetchStarted:
    """A fetcher claimed a request. The sequence of this event is the attempt's token.

    ``request`` is the sequence of the request, ``adopted`` the token of the dead attempt whose bytes this
    one goes on from, ``want`` what is being fetched.
    """

    want: Want
    request: int
    fetcher: str
    adopted: int | None = None


@event("fetch-unchanged", version=1)
@dataclass(frozen=True)
class FetchUnchanged:
    """Upstream confirmed that what is held is still current (304)."""

    ref: ArtifactRef
    cid: Cid
    validators: Validators
    mutable: bool = True


@event("fetch-failed", version=1)
@dataclass(frozen=True)
class FetchFailed:
    """A fetch ended without bytes.

    ``status`` is upstream's HTTP status if it gave one, ``retry_after`` (seconds) when it makes sense to ask
    again, ``detail`` a sentence for people, without credentials or query strings.
    """

    ref: ArtifactRef
    name: str
    reason: FailReason
    detail: str
    status: int | None = None
    retry_after: float | None = None
    mutable: bool = False


@event("artifact-stored", version=1)
@dataclass(frozen=True)
class ArtifactStored:
    """The bytes of an artifact were verified and are in the blob store.

    ``seconds`` is from the claim to the last byte verified; ``vouched`` whether metadata gave a digest;
    ``private`` whether upstream gives it only to those who show credentials: no peer is ever given it.
    ``stored_at`` (seconds since the epoch) is when that was, if it is told again to a log that had lost it.
    ``fields`` are those of upstream's answer that are kept. ``source`` gave the last bytes; if there were several,
    ``parts`` says in order who gave which.
    """

    ref: ArtifactRef
    name: str
    blob: Blob
    media_type: str
    validators: Validators
    source: Source
    seconds: float
    vouched: bool
    fresh_for: float | None = None
    private: bool = False
    stored_at: float | None = None
    fields: Fields = ()
    parts: tuple[Part, ...] = ()


@event("artifact-evicted", version=1)
@dataclass(frozen=True)
class ArtifactEvicted:
    """An artifact's blob left the store to make room, or because somebody asked."""

    ref: ArtifactRef
    cid: Cid
    reason: str


@event("artifact-pinned", version=1)
@dataclass(frozen=True)
class ArtifactPinned:
    """An artifact is to be kept whatever the store's size."""

    ref: ArtifactRef


@event("artifact-unpinned", version=1)
@dataclass(frozen=True)
class ArtifactUnpinned:
    """An artifact may be evicted again."""

    ref: ArtifactRef


@event("blob-quarantined", version=1)
@dataclass(frozen=True)
class BlobQuarantined:
    """A blob on disk no longer hashed to its name and was set aside; it is a miss from now on."""

    cid: Cid
    detail: str


class LeaveReason(StrEnum):
    """Why a peer is no longer one."""

    LEFT = "left"
    KICKED = "kicked"
    SILENT = "silent"
    REPLACED = "replaced"
    """The same account advertises another peer now."""


class BlockReason(StrEnum):
    """What a peer did to be shut out."""

    WRONG_BYTES = "wrong-bytes"
    """It gave other bytes than it advertised."""
    NOT_GIVEN = "not-given"
    """It does not give what it advertises."""
    FLOOD = "flood"
    """It says more than is allowed."""
    MALFORMED = "malformed"
    """What it says cannot be read."""


@event("peer-joined", version=1)
@dataclass(frozen=True)
class PeerJoined:
    """A member of a network was first heard to have this peer.

    ``network`` is the network's name on this node, ``user`` the member's Matrix id, here as in all peer-* events.
    """

    peer: PeerId
    network: str
    user: str


@event("peer-advertised", version=1)
@dataclass(frozen=True)
class PeerAdvertised:
    """A peer says where it can be reached and what it has, unlike before, or again a day later.

    ``inventory`` is the list of all that it shares, in ``epoch`` (milliseconds since the Unix epoch) after ``n``
    deltas: so many ``files`` and ``pages``, ``size`` bytes of them in total. ``box`` is its public X25519 key, in
    hex.
    """

    peer: PeerId
    network: str
    user: str
    addresses: tuple[Address, ...]
    epoch: int
    n: int
    inventory: Cid | None
    files: int
    pages: int
    size: int
    box: str


@event("peer-left", version=1)
@dataclass(frozen=True)
class PeerLeft:
    """A peer is no longer asked, since its member is gone or was not heard of for long."""

    peer: PeerId
    network: str
    user: str
    reason: LeaveReason


@event("peer-blocked", version=1)
@dataclass(frozen=True)
class PeerBlocked:
    """A peer did harm and is not asked before ``until`` (seconds since the epoch).

    ``strikes`` counts how often that was so of its member, and not yet forgotten; ``detail`` is a sentence for
    people.
    """

    peer: PeerId
    network: str
    user: str
    reason: BlockReason
    detail: str
    strikes: int
    until: float


@dataclass(frozen=True)
class Unknown:
    """An event that cannot be read here: of a type not known, or malformed. Only its place in the log counts.

    It is met where the topic's last event is asked for, and never appended.
    """

    type: str


FetchEvent: TypeAlias = FetchRequested | FetchStarted | FetchUnchanged | FetchFailed
ArtifactEvent: TypeAlias = ArtifactStored | ArtifactEvicted | ArtifactPinned | ArtifactUnpinned
PeerEvent: TypeAlias = PeerJoined | PeerAdvertised | PeerLeft | PeerBlocked
Event: TypeAlias = FetchEvent | ArtifactEvent | BlobQuarantined | PeerEvent | Unknown


def about(event: Event) -> Topic | None:
    """The topic that an event's body names, None for Unknown."""
    match event:
        case FetchRequested(want=want) | FetchStarted(want=want):
            return want.ref.topic
        case BlobQuarantined(cid=cid):
            return Topic("blob", cid)
        case PeerJoined(peer=peer) | PeerAdvertised(peer=peer) | PeerLeft(peer=peer) | PeerBlocked(peer=peer):
            return Topic("peer", peer)
        case Unknown():
            return None
        case _:
            return event.ref.topic


def lifetime(event: Event) -> int | None:
    """Seconds that the log keeps an event, None for ever.

    Process events go: after a day for what changes anyway, after 30 days for the rest. So does what a peer last
    said of itself.
    """
    match event:
        case PeerAdvertised():
            return SILENT_DAYS * DAY
        case FetchRequested(want=want) | FetchStarted(want=want):
            mutable = want.mutable
        case FetchUnchanged(mutable=mutable) | FetchFailed(mutable=mutable):
            pass
        case _:
            return None
    return DAY if mutable else 30 * DAY
