"""The peers of a node's networks, folded from the log, and who of them is shut out for how long.

Blame sticks to the member (network and Matrix id), not to the peer: a new Kubo repository, which anybody makes in
a second, washes nothing off. Plain data and plain functions; ``now`` is in seconds since the epoch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dpm_core.adverts import Advert
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.errors import Untrusted
from dpm_core.events import (
    DAY,
    BlockReason,
    LeaveReason,
    PeerAdvertised,
    PeerBlocked,
    PeerEvent,
    PeerJoined,
    PeerLeft,
)
from dpm_core.multiaddrs import Address, PeerId

BLOCK_SECONDS = 60.0
"""The first time that a member is shut out; each next is BLOCK_GROWTH times as long."""

BLOCK_GROWTH = 4.0

LONGEST_BLOCK_SECONDS = float(DAY)

FORGIVEN_SECONDS = 7.0 * DAY
"""Strikes are forgotten when a member has done no harm for so long since it was let in again."""

MOVED_SECONDS = 60.0
"""That a peer can be reached elsewhere is worth an event after so long."""

CHANGED_SECONDS = 3600.0
"""That it has something else now is worth one after so long: who follows it has heard of it in the room."""

AGAIN_SECONDS = float(DAY)
"""After so long all of it is told again, before the event expires that told it last."""


@dataclass(frozen=True)
class Peer:
    """A peer as the log knows it; times in seconds since the epoch.

    ``joined_at`` is when it was first heard of since it last left, ``told_at`` when what it says was last
    recorded, ``left`` why it is none any more, None while it is one. The rest is as in PeerAdvertised.
    """

    id: PeerId
    network: str
    user: str
    joined_at: float
    told_at: float = 0.0
    addresses: tuple[Address, ...] = ()
    epoch: int = 0
    n: int = 0
    inventory: Cid | None = None
    files: int = 0
    pages: int = 0
    size: int = 0
    box: str = ""
    left: LeaveReason | None = None

    @property
    def present(self) -> bool:
        """Whether it is one of its network's peers."""
        return self.left is None


@dataclass(frozen=True)
class Blame:
    """How often a member did harm, not counting what is forgotten, and until when it is shut out.

    ``reason`` and ``detail`` (a sentence for people) are of the last time.
    """

    strikes: int = 0
    until: float = 0.0
    reason: BlockReason | None = None
    detail: str = ""

    def blocked(self, now: float) -> bool:
        """Whether it is shut out."""
        return now < self.until


BLAMELESS = Blame()


def evolve(peer: Peer | None, recorded: Recorded) -> Peer | None:
    """The peer after an event about it; one that was advertised has joined, should the log have lost the word."""
    match recorded.event:
        case PeerJoined(peer=id_, network=network, user=user):
            if peer is not None and peer.present and (peer.network, peer.user) == (network, user):
                return peer
            return Peer(id_, network, user, recorded.time)
        case PeerAdvertised() as said:
            here = peer is not None and peer.present and (peer.network, peer.user) == (said.network, said.user)
            return Peer(
                id=said.peer,
                network=said.network,
                user=said.user,
                joined_at=peer.joined_at if peer is not None and here else recorded.time,
                told_at=recorded.time,
                addresses=said.addresses,
                epoch=said.epoch,
                n=said.n,
                inventory=said.inventory,
                files=said.files,
                pages=said.pages,
                size=said.size,
                box=said.box,
            )
        case PeerLeft(network=network, user=user, reason=reason) if peer is not None:
            return replace(peer, left=reason) if (peer.network, peer.user) == (network, user) else peer
        case _:
            return peer


def struck(blame: Blame, now: float) -> Blame:
    """The blame after one more harm: shut out for four times as long as the last time, at most a day."""
    strikes = blame.strikes + 1 if now - blame.until < FORGIVEN_SECONDS else 1
    seconds = BLOCK_SECONDS * BLOCK_GROWTH ** min(strikes - 1, 10)
    return Blame(strikes, now + min(seconds, LONGEST_BLOCK_SECONDS))


@dataclass
class Peers:
    """The table: all peers that the log knows of, and the blame of members."""

    _peers: dict[PeerId, Peer] = field(default_factory=dict)
    _blame: dict[tuple[str, str], Blame] = field(default_factory=dict)

    def apply(self, events: Iterable[Recorded]) -> None:
        """Fold events in order; those that are not about peers change nothing."""
        for recorded in events:
            match recorded.event:
                case PeerBlocked() as said:
                    blame = Blame(said.strikes, said.until, said.reason, said.detail)
                    self._blame[said.network, said.user] = blame
                case PeerJoined(peer=id_) | PeerAdvertised(peer=id_) | PeerLeft(peer=id_):
                    after = evolve(self._peers.get(id_), recorded)
                    if after is not None:
                        self._peers[id_] = after
                case _:
                    pass

    def find(self, peer: PeerId) -> Peer | None:
        """The peer, also one that has left."""
        return self._peers.get(peer)

    def present(self, network: str) -> list[Peer]:
        """The peers of a network, in the order of their members."""
        found = (each for each in self._peers.values() if each.network == network and each.present)
        return sorted(found, key=lambda each: (each.user, each.id))

    def boxes(self, network: str) -> dict[str, bytes]:
        """The public box keys of a network's members, also of those who have left, as each advertised it last."""
        told = sorted((each for each in self._peers.values() if each.box), key=lambda each: each.told_at)
        return {each.user: bytes.fromhex(each.box) for each in told if each.network == network}

    def blame(self, network: str, user: str) -> Blame:
        """That of a member."""
        return self._blame.get((network, user), BLAMELESS)


def decide_heard(peers: Peers, network: str, user: str, advert: Advert, now: float) -> list[PeerEvent]:
    """What to record once a member's advert was read: that it joined, and what it says, if that is news.

    A member has one peer: the one that it had before is replaced. Raises Untrusted for the peer of another member:
    else one could take another's blame, or give it one's own.
    """
    before = peers.find(advert.peer)
    here = before is not None and before.present
    if before is not None and here and (before.network, before.user) != (network, user):
        raise Untrusted(f"{user} advertises the peer of {before.user}, {before.id}")
    said = PeerAdvertised(
        peer=advert.peer,
        network=network,
        user=user,
        addresses=advert.addresses,
        epoch=advert.epoch,
        n=advert.n,
        inventory=advert.inventory,
        files=advert.files,
        pages=advert.pages,
        size=advert.size,
        box=advert.box.hex(),
    )
    replaced = [each for each in peers.present(network) if each.user == user and each.id != advert.peer]
    left: list[PeerEvent] = [PeerLeft(each.id, network, user, LeaveReason.REPLACED) for each in replaced]
    if before is None or not here:
        return [*left, PeerJoined(advert.peer, network, user), said]
    return [*left, said] if _is_news(before, said, now) else left


def _is_news(before: Peer, said: PeerAdvertised, now: float) -> bool:
    if (before.addresses, before.box) != (said.addresses, said.box):
        seconds = MOVED_SECONDS
    elif (before.epoch, before.n, before.inventory) != (said.epoch, said.n, said.inventory):
        seconds = CHANGED_SECONDS
    else:
        seconds = AGAIN_SECONDS
    return now - before.told_at >= seconds


def decide_block(peers: Peers, peer: Peer, reason: BlockReason, detail: str, now: float) -> PeerBlocked | None:
    """What to record of a peer that did harm; None while its member is shut out: that was before, or of before."""
    blame = peers.blame(peer.network, peer.user)
    if blame.blocked(now):
        return None
    after = struck(blame, now)
    return PeerBlocked(peer.id, peer.network, peer.user, reason, detail, after.strikes, after.until)
