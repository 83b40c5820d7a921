"""Whether addresses that others have told can be reached from here: tried by this node itself, past Kubo.

Kubo may be connected to a peer that has dialled us, and then nobody knows whether we could have dialled it. What
is found is told in the advert, so that each member learns from the others whether its own addresses are any good.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dpm_core.adverts import Missed, Reach
from dpm_core.multiaddrs import Address, PeerId, split_peer
from dpm_core.ports import Clock

CONNECT_SECONDS = 5.0
"""For the connection, and again for what the peer says first."""

NONCE_BYTES = 24
"""Each side of a private swarm sends so many before anything else, whatever its key.

https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md
"""

LOOK_SECONDS = 2.0
"""Between two looks whether there is a new address."""

AGAIN_SECONDS = 600.0
"""After so long a peer that was reached is tried again."""

MISSED_SECONDS = 60.0
"""And one that was not."""

AT_ONCE = 16

Dial = Callable[[Address], Awaitable[str | None]]
"""Try an address: None if it was reached, else why not, in a few words of ASCII."""


async def tried(address: Address) -> str | None:
    """Whether a peer of a private swarm is there: None, or why not."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address.host, address.port)
    except TimeoutError:
        return "timed out"
    except socket.gaierror:
        return "no such name"
    except OSError as error:
        return _words(error)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await reader.readexactly(NONCE_BYTES)
    except TimeoutError:
        return "connects, but says nothing"
    except (OSError, asyncio.IncompleteReadError):
        return "hangs up"
    finally:
        writer.transport.abort()
    return None


def _words(error: OSError) -> str:
    match error.errno:
        case errno.ECONNREFUSED:
            return "refused"
        case errno.ETIMEDOUT:
            return "timed out"
        case int() as number:
            return os.strerror(number).lower().encode("ascii", "replace").decode()[:60]
    return "cannot be reached"  # several addresses of a name, each with an error of its own


async def unreached(contacts: Iterable[str]) -> list[str]:
    """The peers, by id, that are reached at no address.

    ``contacts`` are addresses with the ids of peers (:func:`dpm_core.multiaddrs.with_peer`).
    """
    places: dict[str, list[Address]] = {}
    for each in contacts:
        address, peer = split_peer(each)
        places.setdefault(peer, []).append(address)
    answers = await asyncio.gather(*(_missed(addresses, tried) for addresses in places.values()))
    return [peer for peer, missed in zip(places, answers, strict=True) if missed is not None]


async def _missed(addresses: Sequence[Address], dial: Dial) -> tuple[tuple[Address, str], ...] | None:
    """None if one of the addresses is reached; else why each is not."""
    answers = await asyncio.gather(*map(dial, addresses))
    if None in answers:
        return None
    return tuple((address, why) for address, why in zip(addresses, answers, strict=True) if why is not None)


@dataclass
class _Tried:
    addresses: tuple[Address, ...]
    due: float
    missed: tuple[tuple[Address, str], ...] | None


class Reaching:
    """Tries the ``members``' peers, at each new address and now and then; ``changed`` is told of news."""

    def __init__(
        self,
        members: Callable[[], Mapping[PeerId, Sequence[Address]]],
        changed: Callable[[], None],
        clock: Clock,
        dial: Dial = tried,
    ) -> None:
        self._members = members
        self._changed = changed
        self._clock = clock
        self._dial = dial
        self._tried: dict[PeerId, _Tried] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    def found(self) -> Reach | None:
        """Whom this node reaches, and whom not; None as long as it has tried nobody."""
        if not self._tried:
            return None
        reached = tuple(peer for peer, it in self._tried.items() if it.missed is None)
        missed = (
            Missed(peer, address, why) for peer, it in self._tried.items() for address, why in it.missed or ()
        )
        return Reach(reached, tuple(missed))

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._look()
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        before, members, now = self.found(), self._members(), self._clock.now()
        self._tried = {peer: it for peer, it in self._tried.items() if peer in members}
        due = [
            (peer, tuple(addresses))
            for peer, addresses in members.items()
            if addresses and not self._is_known(peer, tuple(addresses), now)
        ]
        await asyncio.gather(*(self._try(peer, addresses) for peer, addresses in due))
        if self.found() != before:
            self._changed()

    def _is_known(self, peer: PeerId, addresses: tuple[Address, ...], now: float) -> bool:
        it = self._tried.get(peer)
        return it is not None and it.addresses == addresses and now < it.due

    async def _try(self, peer: PeerId, addresses: tuple[Address, ...]) -> None:
        missed = await _missed(addresses, self._freely)
        again = AGAIN_SECONDS if missed is None else MISSED_SECONDS
        self._tried[peer] = _Tried(addresses, self._clock.now() + again, missed)

    async def _freely(self, address: Address) -> str | None:
        async with self._free:
            return await self._dial(address)
