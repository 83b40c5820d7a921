"""Staying connected: Kubo dials nobody by itself, and forgets whom it was told of when it starts anew."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dpm_core.backoff import Backoff
from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.ports import Clock
from dpm_peer.swarm import Swarm

LOOK_SECONDS = 1.0
"""Between two looks at who is connected."""

DIALS = 16
"""Members that are dialled at the same time."""

PAUSES = Backoff(first=1.0, most=120.0)
"""Before a member that was not reached is dialled again."""

log = logging.getLogger(__name__)


@dataclass
class _Contact:
    addresses: tuple[Address, ...]
    failures: int = 0
    due: float = 0.0


class Contacts:
    """The members that are to be connected, and are dialled until they are."""

    def __init__(self, swarm: Swarm, clock: Clock) -> None:
        self._swarm = swarm
        self._clock = clock
        self._contacts: dict[PeerId, _Contact] = {}
        self._unwanted: set[PeerId] = set()
        self._connected: frozenset[PeerId] = frozenset()
        self._dialling = asyncio.Semaphore(DIALS)

    def want(self, members: Mapping[PeerId, Sequence[Address]]) -> None:
        """From now on these are to be connected; who was until now, and is none of them, is hung up on."""
        self._unwanted |= set(self._contacts) - set(members)
        self._unwanted -= set(members)
        for peer, addresses in members.items():
            known = self._contacts.get(peer)
            if known is None or known.addresses != tuple(addresses):
                self._contacts[peer] = _Contact(tuple(addresses))
        for peer in self._unwanted:
            self._contacts.pop(peer, None)

    def hopeful(self, peer: PeerId) -> bool:
        """Whether a member is connected, as far as was seen, or may be dialled: it was not just tried in vain."""
        contact = self._contacts.get(peer)
        return contact is not None and (peer in self._connected or contact.due <= self._clock.now())

    def connected(self, peer: PeerId) -> bool:
        """Whether a member was connected at the last look, or was reached since."""
        return peer in self._connected

    async def reach(self, peer: PeerId) -> None:
        """Be connected to a member now, whenever it was dialled last.

        Raises Unavailable if it is not reached, or not to be connected.
        """
        contact = self._contacts.get(peer)
        if contact is None:
            raise Unavailable(f"{peer} is no member that is to be connected")
        async with self._dialling:
            try:
                await self._swarm.connect(peer, contact.addresses)
            except Unavailable:
                contact.failures += 1
                contact.due = self._clock.now() + PAUSES.after(contact.failures)
                raise
        contact.failures, contact.due = 0, 0.0
        self._connected |= {peer}

    async def kept(self) -> None:
        """See to it for ever, also while Kubo does not answer."""
        while True:
            try:
                await self._look()
            except Unavailable as error:
                self._connected = frozenset()
                log.debug("nobody can be connected: %s", error)
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        connected = self._connected = await self._swarm.peers()
        for peer in self._unwanted & connected:
            await self._swarm.disconnect(peer)
        self._unwanted.clear()
        now = self._clock.now()
        missing = [each for each, it in self._contacts.items() if each not in connected and it.due <= now]
        await asyncio.gather(*(self._try(peer) for peer in missing))

    async def _try(self, peer: PeerId) -> None:
        try:
            await self.reach(peer)
        except Unavailable as error:
            log.debug("%s is not reached: %s", peer, error)
