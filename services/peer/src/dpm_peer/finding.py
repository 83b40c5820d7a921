"""From a digest to its bytes: who has them, in which network, and the first of these to give any."""

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.multiaddrs import PeerId
from dpm_core.origins import Stream
from dpm_core.ports import Clock
from dpm_peer.blame import Blame
from dpm_peer.swarm import Swarm
from dpm_peer.table import Holder

OFFERS = 4
"""So many ways to have a file are tried at most."""

NEXT_SECONDS = 0.2
"""After so long without a byte the next way is tried beside."""

DIALLED = 4
"""Holders that are dialled at once where none is connected; one of them is enough."""

UNANSWERED = 3
"""A peer that owes the first byte of so many files, for which nobody waits any more, is not asked for others."""

SETTLED_SECONDS = 30.0
"""In which others hear that a peer has a file no longer: only then is it to blame that it did not give it."""

LEFT_SECONDS = 60.0
"""In which what came is stored, or somebody reads on: then what is left of it goes."""

LOOK_SECONDS = 1.0

REMEMBERED = 1_000
"""Of so many files it is known who was asked for them."""

log = logging.getLogger(__name__)


class Reachable(Protocol):
    """Who is connected: what is needed of :class:`dpm_peer.contacts.Contacts`."""

    def hopeful(self, peer: PeerId) -> bool:
        """Whether the peer is connected, or worth to be dialled."""

    def connected(self, peer: PeerId) -> bool:
        """Whether the peer was connected when that was last seen."""

    async def reach(self, peer: PeerId) -> None:
        """Be connected to it. Raises Unavailable."""


class Leftovers(Protocol):
    """What came of others: what is needed of :class:`dpm_peer.shelf.Shelf`."""

    async def abandon(self, cid: Cid) -> None:
        """Remove what came of it, unless it is ours now. Raises Unavailable."""

    async def forget(self, cids: Iterable[Cid]) -> None:
        """Reference these no more. Raises Unavailable."""

    def holds(self, cid: Cid) -> bool:
        """Whether it is ours, and can be had of ourselves."""


class Sharers(Protocol):
    """One network, as who looks for a file in it sees it."""

    @property
    def name(self) -> str:
        """The network's."""

    @property
    def contacts(self) -> Reachable:
        """Its members as peers."""

    @property
    def swarm(self) -> Swarm:
        """Where their bytes come from."""

    @property
    def shelf(self) -> Leftovers:
        """Where what came is kept."""

    def holders(self, sha256: Digest) -> Sequence[Holder]:
        """Who says that it has the file, and may be asked: neither shut out nor silent."""

    def sample(self, peer: PeerId) -> Sequence[SharedFile]:
        """A few files, other ones each time, of those that a peer says it has, and no other one does."""

    def pages(self, artifact_id: str) -> Sequence[tuple[PeerId, SharedPage]]:
        """Who may be asked for a page, and as of when; nobody in a network that shares none."""


@dataclass(frozen=True)
class Offer:
    """One way to have a file: in one network, those who advertise it under one CID and size."""

    sharers: Sharers
    file: SharedFile
    peers: tuple[PeerId, ...]

    @property
    def source(self) -> str:
        """Who gives it: the peer, or the network where several do, of whom nobody knows which gave what."""
        return self.peers[0] if len(self.peers) == 1 else self.sharers.name

    @property
    def connected(self) -> int:
        """How many of the peers are connected."""
        return sum(map(self.sharers.contacts.connected, self.peers))


@dataclass(frozen=True)
class Found:
    """The bytes of an offer from an offset, whose first has come."""

    offer: Offer
    body: Stream

    @property
    def source(self) -> str:
        """Who gives them."""
        return self.offer.source

    @property
    def file(self) -> SharedFile:
        """What they are of."""
        return self.offer.file


class Finder:
    """Looks for files in all networks of the node. ``kept`` must run, and ``close`` ends what goes on beside."""

    def __init__(self, networks: Callable[[], Iterable[Sharers]], blame: Blame, clock: Clock) -> None:
        self._networks = networks
        self._blame = blame
        self._clock = clock
        self._asked: OrderedDict[Digest, frozenset[Holder]] = OrderedDict()
        self._readers: Counter[tuple[str, Cid]] = Counter()
        self._unanswered: Counter[PeerId] = Counter()
        self._left: dict[tuple[str, Cid], tuple[float, Offer]] = {}
        self._audited: set[Digest] = set()
        self._beside: set[asyncio.Task[None]] = set()

    async def open(self, sha256: Digest, size: int | None = None, offset: int = 0) -> Found | None:
        """The first bytes that come from ``offset`` on, None if no peer has the file or none of them gives it.

        With ``size`` (bytes) it is of that size. The bytes are those of the CID that a peer advertises for the
        digest: whether the digest is theirs is for the caller to check.
        """
        return await self.first(self._offers(sha256, size, offset), offset)

    async def first(
        self, offers: Sequence[Offer], offset: int = 0, *, next_seconds: float = NEXT_SECONDS
    ) -> Found | None:
        """What the first of some ``offers`` gives; each is tried beside those before it, so much later.

        None if none of them gives anything.
        """
        waiting = deque(offers[:OFFERS])
        opening: dict[asyncio.Task[Stream], Offer] = {}
        found: Found | None = None
        try:
            while found is None and (waiting or opening):
                if waiting:
                    offer = waiting.popleft()
                    self._remember(offer)
                    opening[asyncio.create_task(_opened(offer, offset))] = offer
                limit = next_seconds if waiting else None
                done, _ = await asyncio.wait(opening, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    offer = opening.pop(task)
                    try:
                        stream = task.result()
                    except Unavailable as error:
                        log.debug("%s gives nothing of %s: %s", offer.source, offer.file.sha256, error)
                        self._do(self._unkept(offer))
                        continue
                    if found is None:
                        self._gave(offer)
                        found = Found(offer, self._body(offer, stream))
                    else:
                        self._do(self._closed(offer, stream))
            return found
        finally:
            for task, offer in opening.items():
                self._leave(task, offer, answered=found is not None)

    def asked(self, sha256: Digest) -> frozenset[Holder]:
        """Those that were asked for a file of late, and those that could be."""
        known = self._asked.get(sha256, frozenset())
        return known.union(*(network.holders(sha256) for network in self._networks()))

    async def kept(self) -> None:
        """Remove what nobody needs of what came, for ever."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            now = self._clock.now()
            while self._left:
                reader, (due, offer) = next(iter(self._left.items()))
                if due > now:
                    break
                del self._left[reader]
                if not self._readers[reader]:
                    await self._abandon(offer)

    async def close(self) -> None:
        """End what goes on beside: what is left of fetches stays where it is until networks are reconciled."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    def _offers(self, sha256: Digest, size: int | None, offset: int) -> list[Offer]:
        """The best first: those with most peers that are connected, then those with most peers."""
        found: list[Offer] = []
        for network in self._networks():
            ways: dict[tuple[Cid, int], list[Holder]] = {}
            for holder in network.holders(sha256):
                fits = size in (None, holder.file.size) and offset < max(1, holder.file.size)
                if fits and self.worth(network, holder.peer):
                    ways.setdefault((holder.file.cid, holder.file.size), []).append(holder)
            found += [Offer(network, way[0].file, tuple(each.peer for each in way)) for way in ways.values()]
        return sorted(found, key=lambda offer: (-offer.connected, -len(offer.peers)))

    def worth(self, network: Sharers, peer: PeerId) -> bool:
        """Whether a peer is to be asked: it may answer, and does not owe too many answers already."""
        return network.contacts.hopeful(peer) and self._unanswered[peer] < UNANSWERED

    def _remember(self, offer: Offer) -> None:
        sha256 = offer.file.sha256
        asked = frozenset(Holder(peer, offer.file) for peer in offer.peers)
        self._asked[sha256] = self._asked.get(sha256, frozenset()) | asked
        self._asked.move_to_end(sha256)
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def _gave(self, offer: Offer) -> None:
        if len(offer.peers) == 1:
            self._blame.gave(offer.peers[0])

    def _leave(self, task: asyncio.Task[Stream], offer: Offer, *, answered: bool) -> None:
        """Nobody waits for this way. What nobody answered is waited for all the same: slow is no lie."""
        if answered or any(self._unanswered[peer] >= UNANSWERED for peer in offer.peers):
            task.cancel()
            self._do(self._closed(offer, task))
        else:
            self._do(self._prove(task, offer))

    async def _prove(self, task: asyncio.Task[Stream], offer: Offer) -> None:
        """See whether a first byte comes in the time that the swarm gives it, however late."""
        self._unanswered.update(offer.peers)
        try:
            stream = await task
        except Unavailable:
            await self._unkept(offer)
        else:
            await self._closed(offer, stream)
            await self._clock.sleep(LOOK_SECONDS)  # in which it is noted if it has become ours
            if offer.sharers.shelf.holds(offer.file.cid):
                await self._audit(offer)
            else:
                self._gave(offer)
        finally:
            task.cancel()
            self._unanswered.subtract(offer.peers)

    async def _audit(self, offer: Offer) -> None:
        """What came may be upstream's, of ourselves: see whether the peers give what nobody else has."""
        for peer in offer.peers:
            sample = offer.sharers.sample(peer)
            fit = (each for each in sample if each.sha256 not in self._audited and not self._ours(offer, each))
            file = next(fit, None)
            if file is None:
                continue
            other = Offer(offer.sharers, file, (peer,))
            self._audited.add(file.sha256)
            try:
                stream = await _opened(other, 0)
            except Unavailable:
                await self._unkept(other)
            else:
                self._gave(other)
                await self._closed(other, stream)
            finally:
                self._audited.discard(file.sha256)

    def _ours(self, offer: Offer, file: SharedFile) -> bool:
        return offer.sharers.shelf.holds(file.cid)

    async def _unkept(self, offer: Offer) -> None:
        """Nothing came. Those are to blame that are connected, and still advertise the file a while later."""
        connected = await self._connected(offer)
        if not connected:
            return
        await self._clock.sleep(SETTLED_SECONDS)
        sha256 = offer.file.sha256
        still = {holder.peer for holder in offer.sharers.holders(sha256) if holder.file.cid == offer.file.cid}
        for peer in still & connected & await self._connected(offer):
            self._blame.unkept(peer, sha256)

    async def _connected(self, offer: Offer) -> frozenset[PeerId]:
        with suppress(Unavailable):
            return await offer.sharers.swarm.peers() & frozenset(offer.peers)
        return frozenset()

    async def _closed(self, offer: Offer, opened: "asyncio.Task[Stream] | Stream") -> None:
        """Want no more of it, and have removed what came once nobody needs that."""
        if isinstance(opened, asyncio.Task):
            with suppress(asyncio.CancelledError, Unavailable):
                await (await opened).close()
        else:
            await opened.close()
        reader = (offer.sharers.name, offer.file.cid)
        self._left.pop(reader, None)  # the order is that of the times
        self._left[reader] = (self._clock.now() + LEFT_SECONDS, offer)

    async def _abandon(self, offer: Offer) -> None:
        try:
            await offer.sharers.shelf.abandon(offer.file.cid)
        except Unavailable as error:  # the next reconciling removes it
            log.debug("what is left of %s stays: %s", offer.file.cid, error)

    def _body(self, offer: Offer, stream: Stream) -> Stream:
        reader = (offer.sharers.name, offer.file.cid)
        self._readers[reader] += 1

        async def closed() -> None:
            self._readers[reader] -= 1
            if not self._readers[reader]:
                del self._readers[reader]
            await self._closed(offer, stream)

        return _Body(stream, closed)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


async def _opened(offer: Offer, offset: int) -> Stream:
    """Raises Unavailable."""
    contacts = offer.sharers.contacts
    if not offer.connected:
        dialled = [peer for peer in offer.peers if contacts.hopeful(peer)][:DIALLED]
        await _first(asyncio.create_task(contacts.reach(peer)) for peer in dialled)
    connected = [peer for peer in offer.peers if contacts.connected(peer)]
    return await offer.sharers.swarm.open(offer.file.cid, offer.file.size, offset, connected)


async def _first(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait until one is done; the others go on. Raises Unavailable if all fail."""
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(task.exception() is None for task in done):
                return
    finally:
        for task in waiting:
            task.cancel()
    raise Unavailable("none of its peers can be reached")


class _Body:
    """Port Stream: closed but once."""

    def __init__(self, stream: Stream, closed: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._stream = stream
        self._closed = closed
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            await self._closed()
