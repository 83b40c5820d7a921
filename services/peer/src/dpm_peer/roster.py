"""Who is in a network, and how each of them does, as this node knows it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.peers import Blame, Peer
from dpm_core.ports import Clock
from dpm_core.sharing import Rule
from dpm_peer.membership import Membership, Recording
from dpm_peer.room import Room
from dpm_peer.table import Tally

ASK_SECONDS = 3.0
"""In which the homeserver is to say who is invited: who asks for a network waits for that."""


class Standing(StrEnum):
    """How a member does."""

    HERE = "here"
    """It was heard of lately, and is asked for files."""
    SILENT = "silent"
    """It was not heard of for long, and is not asked until it is."""
    SHUT_OUT = "shut-out"
    """It did harm, and is not asked for some time."""
    UNHEARD = "unheard"
    """It is in the room, and has not said yet where it can be reached, or not with the key that counts now."""
    INVITED = "invited"
    """It has not joined yet."""


@dataclass(frozen=True)
class Attendee:
    """A member, other than this node, or who is invited.

    ``peer`` is its peer's id, ``addresses`` where that can be reached, ``connected`` whether it is now. It shares
    so many ``files``, of ``size`` bytes, and ``pages``. ``heard`` is how many seconds ago it was heard, None
    if that is not known. It did harm ``strikes`` times, and is shut out until ``shut_out_until`` (seconds since
    the epoch), because of ``why``.

    ``reaches_us`` is what it says of this node's addresses since ``tried_at`` (seconds since the epoch), having
    tried them itself; None if it has not. ``missed`` are those at which it did not reach us, and why not.
    """

    user: str
    standing: Standing
    peer: PeerId | None = None
    addresses: tuple[Address, ...] = ()
    connected: bool = False
    files: int = 0
    pages: int = 0
    size: int = 0
    heard: float | None = None
    strikes: int = 0
    shut_out_until: float | None = None
    why: str = ""
    reaches_us: bool | None = None
    missed: tuple[tuple[Address, str], ...] = ()
    tried_at: float | None = None


@dataclass(frozen=True)
class Described:
    """A network that runs: who we are in it, and who else is; ``away``: why its homeserver is not heard.

    ``behind`` is the number of a swarm key that counts by now, and that this node was not given.
    """

    name: str
    homeserver: str
    room: str
    user: str
    keepers: tuple[str, ...]
    generation: int
    rule: Rule
    peer: PeerId | None
    addresses: tuple[Address, ...]
    away: str | None
    behind: int | None
    members: tuple[Attendee, ...]


class Roster:
    """Of one network; ``identity`` says who our own peer is, and where."""

    def __init__(
        self,
        membership: Membership,
        room: Room,
        register: Recording,
        identity: Callable[[], Awaitable[tuple[PeerId, tuple[Address, ...]]]],
        clock: Clock,
    ) -> None:
        self._membership = membership
        self._room = room
        self._register = register
        self._identity = identity
        self._clock = clock

    def present(self) -> dict[str, int]:
        """How many ``others`` are in the network, and to how many of them this node is ``connected``."""
        membership = self._membership
        connected = sum(membership.contacts.connected(peer) for peer in membership.peers())
        return {"others": len(membership.members - {membership.network.user}), "connected": connected}

    async def described(self) -> Described:
        """All that is known now, the homeserver's word on who is invited among it, if it gives it."""
        membership, away = self._membership, self._room.away
        network = membership.network
        invited: frozenset[str] = frozenset()
        if away is None:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    invited = await self._room.invited()
            except Unavailable as why:
                away = why.what
            except TimeoutError:
                away = f"it has not answered for {ASK_SECONDS:g} s"
        try:
            peer, addresses = await self._identity()
        except Unavailable:
            peer, addresses = None, ()
        tallies = await membership.table.tallies()
        members = [
            self._attendee(each, peer, tallies.get(each)) for each in sorted(membership.members - {network.user})
        ]
        members += [Attendee(each, Standing.INVITED) for each in sorted(invited)]
        return Described(
            name=network.name,
            homeserver=network.homeserver,
            room=network.room,
            user=network.user,
            keepers=tuple(sorted(network.keepers)),
            generation=network.generation,
            rule=network.rule,
            peer=peer,
            addresses=addresses,
            away=away,
            behind=membership.behind,
            members=tuple(members),
        )

    def _attendee(self, user: str, ours: PeerId | None, tally: Tally | None) -> Attendee:
        membership = self._membership
        peers = self._register.peers
        blame = peers.blame(membership.name, user)
        known = next((each for each in peers.present(membership.name) if each.user == user), None)
        standing = self._standing(user, known, blame)
        if known is None:
            return Attendee(user, standing)
        blocked = blame.blocked(self._clock.now())
        shares = tally or Tally(known.files, known.pages, known.size)  # its inventory may be still to come
        reaches_us, missed, tried_at = self._said_of_us(user, ours)
        return Attendee(
            user,
            standing,
            peer=known.id,
            addresses=known.addresses,
            connected=membership.contacts.connected(known.id),
            files=shares.files,
            pages=shares.pages,
            size=shares.size,
            heard=membership.silence(user),
            strikes=blame.strikes,
            shut_out_until=blame.until if blocked else None,
            why=f"{blame.reason}: {blame.detail}" if blocked else "",
            reaches_us=reaches_us,
            missed=missed,
            tried_at=tried_at,
        )

    def _said_of_us(
        self, user: str, ours: PeerId | None
    ) -> tuple[bool | None, tuple[tuple[Address, str], ...], float | None]:
        if ours is None or user not in self._membership.reaches:
            return None, (), None
        reach, at = self._membership.reaches[user]
        missed = tuple((each.address, each.why) for each in reach.missed if each.peer == ours)
        if missed or ours in reach.reached:
            return not missed, missed, at
        return None, (), None

    def _standing(self, user: str, known: Peer | None, blame: Blame) -> Standing:
        if known is None:
            return Standing.UNHEARD
        if blame.blocked(self._clock.now()):
            return Standing.SHUT_OUT
        return Standing.SILENT if user in self._membership.silent() else Standing.HERE
