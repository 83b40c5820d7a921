"""One network as its other members tell of it: who is there, where, and what each of them has."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dpm_core.adverts import ADVERT, DELTA, KEYS, RULE, Advert, Reach, read_advert, read_delta, read_rule
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, TooNew, Untrusted
from dpm_core.events import DAY, SILENT_DAYS, BlockReason, LeaveReason, PeerEvent, PeerLeft
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.networks import Network
from dpm_core.peers import Peer, Peers, decide_heard
from dpm_core.ports import Clock
from dpm_core.seals import SealKey
from dpm_core.sharing import Rule
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.attendance import Attendance
from dpm_peer.box_keys import BoxKey
from dpm_peer.contacts import Contacts
from dpm_peer.member_following import Harmed, MemberFollowing
from dpm_peer.room import Batch, Room, Said
from dpm_peer.rotation import KeyNotGiven, new_key
from dpm_peer.shelf import Shelf
from dpm_peer.swarm import Swarm
from dpm_peer.table import Holder, Table

QUIET_SECONDS = 30 * 60.0
"""Who said nothing for so long, in which it would have been heard, is not asked: adverts come every 10 minutes."""

GONE_SECONDS = float(SILENT_DAYS * DAY)
"""Who said nothing for so long has left."""

log = logging.getLogger(__name__)

Keep = Callable[[Network, SwarmKey | None], Awaitable[None]]
"""The network has changed: keep it, and with a new swarm key start Kubo with that. May raise Unavailable."""


class Recording(Protocol):
    """The node's table of peers, which is the log's fold."""

    @property
    def peers(self) -> Peers:
        """As it is now."""

    def record(self, events: Iterable[PeerEvent]) -> None:
        """Put these into the log, now or as soon as can be, and into the table at once."""


class Membership:
    """A network that this node is in. It hears the others; what it tells them is said elsewhere."""

    def __init__(
        self,
        network: Network,
        key: SwarmKey,
        *,
        room: Room,
        swarm: Swarm,
        shelf: Shelf,
        contacts: Contacts,
        table: Table,
        register: Recording,
        clock: Clock,
        folder: Path,
        harmed: Harmed,
        keep: Keep,
        heard_self: Callable[[Advert], None] = lambda advert: None,
    ) -> None:
        """``folder`` is for what is fetched, while it is read; ``heard_self`` is told what the room has of us."""
        self.name = network.name
        self.network = network
        self.swarm = swarm
        self.shelf = shelf
        self.contacts = contacts
        self.table = table
        self._room = room
        self._register = register
        self._clock = clock
        self._harmed = harmed
        self._keep = keep
        self._heard_self = heard_self
        self.members: frozenset[str] = frozenset()
        """The Matrix ids of who is in the room, as last heard."""
        self.behind: int | None = None
        """The number of a swarm key that counts in the network, and that its keeper has not given to this node."""
        self.reaches: dict[str, tuple[Reach, float]] = {}
        """Whom each member said that it reaches, and when (seconds since the epoch, by its clock)."""
        self._attendance = Attendance()
        self._switched = asyncio.Event()
        self._seal = SealKey(key, network.room, network.generation)
        self._following = MemberFollowing(
            table, swarm, shelf, contacts, clock, folder, harmed, lambda user: self._blocked_for(user)
        )

    @property
    def rule(self) -> Rule:
        """What the network shares."""
        return self.network.rule

    def holders(self, sha256: Digest) -> list[Holder]:
        """Who may be asked for a file now: who has it, and is neither shut out nor silent."""
        listed = self.table.holders(sha256)
        asked = self._asked() if listed else {}
        return [Holder(asked[each.user].id, each.file) for each in listed if each.user in asked]

    def sample(self, peer: PeerId) -> list[SharedFile]:
        """A few files that only this peer says it has, by chance."""
        known = self._register.peers.find(peer)
        return [] if known is None else self.table.sample(known.user)

    def pages(self, artifact_id: str) -> list[tuple[PeerId, SharedPage]]:
        """Who may be asked for a page now, and as of when: who has confirmed it last is the first."""
        if not self.rule.pages:
            return []
        asked = self._asked()
        shown = self.table.pages(artifact_id)
        return [(asked[each.user].id, each.page) for each in shown if each.user in asked]

    @property
    def seal(self) -> SealKey:
        """The key that counts in the network now."""
        return self._seal

    async def at_generation(self, generation: int) -> None:
        """Wait until this node, Kubo and all, goes by the swarm key of this number, or a later one."""
        while self.network.generation < generation:
            await self._switched.wait()

    def silence(self, user: str) -> float | None:
        """For how many seconds a member said nothing though it would have been heard; None for who is none."""
        return self._attendance.silence(user)

    def peers(self) -> dict[PeerId, tuple[Address, ...]]:
        """Where the other members' peers say that they can be reached; not those that are shut out."""
        now, peers = self._clock.now(), self._register.peers
        return {
            peer.id: peer.addresses
            for peer in peers.present(self.name)
            if not peers.blame(self.name, peer.user).blocked(now)
        }

    def silent(self) -> frozenset[str]:
        """Members that are not asked since they were not heard of (Matrix ids)."""
        return self._attendance.silent(QUIET_SECONDS)

    async def run(self) -> None:
        """Hear the room for ever.

        Raises NotMember when this node is a member no more, NotAllowed when its account counts no more, and
        Unavailable if what was heard cannot be kept.
        """
        async with self._following:
            self._want_contacts()
            token = self.table.token()
            while True:
                token = await self._heard(token)

    async def _heard(self, token: str | None) -> str | None:
        """Hear until there is a new swarm key; returns from where all is to be heard again with that."""
        first = True
        async with aclosing(self._room.follow(token)) as batches:
            async for batch in batches:
                if await self._new_key(batch):
                    return token
                await self._hear(batch, first=first)
                token, first = batch.token, False
        return token

    async def _hear(self, batch: Batch, *, first: bool) -> None:
        self._attendance.hear(batch)
        self.members = batch.members
        for said in batch.said:
            if said.sender not in batch.members:
                continue
            if said.kind == RULE:
                await self._hear_rule(said)
            elif said.kind == ADVERT:
                await self._hear_advert(said, first=first)
            elif said.kind == DELTA:
                await self._hear_delta(said)
        for each in batch.ignored:
            log.debug("what %s said does not count: %s", each.sender, each.why)
        await self._take_leave(batch.members)
        self._want_contacts()
        if batch.said and not self._following.busy:
            await self.table.remember(batch.token)

    async def _hear_advert(self, said: Said, *, first: bool) -> None:
        if not self._is_sealed(said):
            return
        try:
            advert = read_advert(said.content, self._seal, said.sender)
        except Invalid as why:
            self._blame(said.sender, BlockReason.MALFORMED, f"its advert cannot be read: {why}")
            return
        if said.sender == self.network.user:
            self._heard_self(advert)
            return
        now = self._clock.now()
        if first:
            self._attendance.told(said.sender, now - advert.at / 1000)
            if said.sender in self._attendance.silent(GONE_SECONDS):
                return
        try:
            self._register.record(decide_heard(self._register.peers, self.name, said.sender, advert, now))
        except Untrusted as why:
            log.warning("in %s: %s", self.name, why)
            return
        if advert.reach is not None:
            self.reaches[said.sender] = (advert.reach, advert.at / 1000)
        self._want_contacts()
        await self._following.advert(said.sender, advert)

    async def _hear_delta(self, said: Said) -> None:
        if said.sender == self.network.user or not self._is_sealed(said):
            return
        try:
            delta = read_delta(said.content, self._seal, said.sender)
        except Invalid as why:
            self._blame(said.sender, BlockReason.MALFORMED, f"its changes cannot be read: {why}")
            return
        try:
            await self._following.delta(said.sender, delta)
        except Invalid as why:
            self._blame(said.sender, BlockReason.FLOOD, str(why))

    async def _hear_rule(self, said: Said) -> None:
        """Its sender is a keeper: the room sees to that."""
        if not self._is_sealed(said):
            return
        try:
            rule = read_rule(said.content, self._seal, said.sender)
        except Invalid as why:
            log.warning("the rule of %s cannot be read: %s", self.name, why)
            return
        if rule != self.network.rule:
            log.info("%s has a new rule, by %s", self.name, said.sender)
            self.network = replace(self.network, rule=rule)
            await self._keep(self.network, None)

    async def _new_key(self, batch: Batch) -> bool:
        """Whether a keeper has given us a new swarm key, which counts from now on."""
        for said in batch.said:
            if said.kind != KEYS:
                continue
            try:
                found = new_key(
                    said.content,
                    user=self.network.user,
                    room=self.network.room,
                    generation=self.network.generation,
                    ours=BoxKey(bytes.fromhex(self.network.box_secret)),
                    keeper=bytes.fromhex(self.network.keepers.get(said.sender, "")),
                )
            except (Invalid, TooNew, Untrusted) as why:
                if isinstance(why, KeyNotGiven):
                    self.behind = why.generation
                log.warning("a new swarm key for %s is not taken: %s", self.name, why)
                continue
            if found is not None:
                log.info("%s has swarm key %d, by %s", self.name, found.generation, said.sender)
                network = replace(self.network, generation=found.generation)
                await self._keep(network, found.key)
                self.network = network
                self._seal = SealKey(found.key, network.room, network.generation)
                self.behind = None
                self._switched.set()
                self._switched = asyncio.Event()
                return True
        return False

    def _is_sealed(self, said: Said) -> bool:
        """Whether its sender says it. If not, nobody is to blame: anybody could have put it there."""
        try:
            self._seal.unsealed(said.kind, said.sender, said.content)
        except (Invalid, TooNew, Untrusted) as why:
            log.debug("the %s of %s does not count: %s", said.kind, said.sender, why)
            return False
        return True

    async def _take_leave(self, members: frozenset[str]) -> None:
        gone = self._attendance.silent(GONE_SECONDS)
        for peer in self._register.peers.present(self.name):
            reason = LeaveReason.SILENT if peer.user in gone else LeaveReason.LEFT
            if peer.user in gone or peer.user not in members:
                self._register.record([PeerLeft(peer.id, self.name, peer.user, reason)])
        self.reaches = {user: it for user, it in self.reaches.items() if user in members}
        for user in self.table.users():
            if user in gone or user not in members:
                await self._following.forget(user)

    def _asked(self) -> dict[str, Peer]:
        """The peers that may be asked, by their members."""
        silent, now = self.silent(), self._clock.now()
        peers = self._register.peers
        return {
            peer.user: peer
            for peer in peers.present(self.name)
            if peer.user not in silent and not peers.blame(self.name, peer.user).blocked(now)
        }

    def _want_contacts(self) -> None:
        self.contacts.want({peer.id: peer.addresses for peer in self._asked().values()})

    def _blame(self, user: str, reason: BlockReason, detail: str) -> None:
        for peer in self._register.peers.present(self.name):
            if peer.user == user:
                self._harmed(peer.id, reason, detail)

    def _blocked_for(self, user: str) -> float:
        return max(0.0, self._register.peers.blame(self.name, user).until - self._clock.now())
