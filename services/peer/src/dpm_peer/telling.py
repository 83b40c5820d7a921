"""What a network's other members are told of us: changes as deltas, and an advert with an inventory of all."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dpm_core.adverts import Advert, Changes, Reach, deltas, seal_advert, seal_delta
from dpm_core.backoff import Backoff
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, Unavailable
from dpm_core.inventory import SharedFile, SharedPage, encode_inventory
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.networks import Network
from dpm_core.ports import Clock
from dpm_core.seals import SealKey
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.broadcasting import Broadcasting
from dpm_peer.inventories import Inventories
from dpm_peer.shelf import Shelf
from dpm_peer.stock import Stock, Sums, Told
from dpm_peer.swarm import Lot

GATHER_SECONDS = 0.2
"""What changes meanwhile is told together."""

MOST_CHANGES = 1_000
"""More than these are told by a new inventory, and so are those of several deltas once they are so many."""

INVENTORY_SECONDS = 300.0
"""A new inventory follows fewer changes after so long."""

INVENTORY_REST = 50.0
"""No inventory follows one within so many times as long as that took to make: a long one may take a minute."""

LOOK_SECONDS = 60.0

ADVERT_SECONDS = 600.0
"""The advert is sent again after so long, so that the others know that we are there."""

PAUSES = Backoff(first=1.0, most=60.0)

log = logging.getLogger(__name__)

Identity = Callable[[], Awaitable[tuple[PeerId, tuple[Address, ...]]]]
"""Our peer's id, and where it can be reached. Raises Unavailable."""


class Telling:
    """Tells one network. Raises nothing of its own: while Kubo or the room is away it waits."""

    def __init__(
        self,
        network: Network,
        key: SwarmKey,
        *,
        stock: Stock,
        inventories: Inventories,
        shelf: Shelf,
        broadcasting: Broadcasting,
        identity: Identity,
        clock: Clock,
        reach: Callable[[], Reach | None] = lambda: None,
    ) -> None:
        """``reach`` says whom this node reaches."""
        self._network = network
        self._seal = SealKey(key, network.room, network.generation)
        self._stock = stock
        self._inventories = inventories
        self._shelf = shelf
        self._broadcasting = broadcasting
        self._identity = identity
        self._clock = clock
        self._reach = reach
        self._files: dict[Digest, SharedFile | None] = {}
        self._pages: dict[str, SharedPage | None] = {}
        self._pending = asyncio.Event()
        self._hasten = asyncio.Event()
        self._said = asyncio.Event()
        self._told = stock.told()
        self._listed: tuple[int, Lot | None, Sums] | None = None
        """The last inventory: as of which delta, and what it says."""
        self._since = 0
        self._listed_at, self._took = 0.0, 0.0

    def add(self, changes: Changes) -> None:
        """Tell of these, which are in the stock."""
        self._files.update(changes.files)
        self._pages.update(changes.pages)
        if self._files or self._pages:
            self._pending.set()

    def hasten(self) -> None:
        """There is something new to be said in the advert."""
        self._hasten.set()

    def take(self, network: Network, key: SwarmKey) -> None:
        """Go on with another swarm key: what was sealed with the one before is not heard any more."""
        self._network = network
        self._seal = SealKey(key, network.room, network.generation)
        self._tell_all_anew()

    def heard_self(self, advert: Advert) -> None:
        """The room has this of us: what is told from now on must be newer, whatever was lost here."""
        told = self._told
        if told is None or (advert.epoch, advert.n) > (told.epoch, told.n):
            self._told = Told(max(advert.epoch + 1, self._now()), 0, advert.at)
            self._tell_all_anew()
        elif advert.at > told.at:
            self._told = replace(told, at=advert.at)

    async def run(self) -> None:
        """For ever."""
        async with self._stock.turn:  # by a new rule it may be compared with the catalog just now
            self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_telling())
            tasks.create_task(self._keep_advertising())
            tasks.create_task(self._keep_books())

    def _begin(self) -> None:
        """All that changed while nobody told of it stands in the first inventory."""
        told = self._told
        if told is None:
            self._told = Told(self._now(), 0, 0)
        elif told.behind or self._pending.is_set():
            self._told = replace(told, n=told.n + 1)
        self._files, self._pages = {}, {}
        self._pending.clear()
        self._stock.tell(self._state)

    async def _keep_telling(self) -> None:
        while True:
            await self._pending.wait()
            await self._broadcasting.idle()
            await self._clock.sleep(GATHER_SECONDS)
            async with self._stock.turn:
                self._tell()

    async def _keep_books(self) -> None:
        """Note when all was told and has arrived: after a restart nobody need be told it again."""
        while True:
            await self._said.wait()
            self._said.clear()
            await self._broadcasting.idle()
            async with self._stock.turn:
                if not (self._pending.is_set() or self._hasten.is_set() or self._said.is_set()):
                    self._stock.caught_up()

    def _tell(self) -> None:
        changes = Changes(self._files, self._pages)
        self._files, self._pages = {}, {}
        self._pending.clear()
        count = len(changes.files) + len(changes.pages)
        self._since += count
        if count > MOST_CHANGES:
            self._tell_all_anew()
            return
        user = self._network.user
        for delta in deltas(changes, self._state.epoch, self._state.n + 1):
            self._told = replace(self._state, n=delta.n)
            self._stock.fall_behind()
            if not self._broadcasting.tell(seal_delta(delta, self._seal, user), f"{delta.epoch}-{delta.n}"):
                self._tell_all_anew()
                break
        self._stock.tell(self._state)
        self._said.set()
        if self._is_outdated():
            self._hasten.set()

    def _tell_all_anew(self) -> None:
        """Have all others fetch the inventory, since deltas would not tell them."""
        if self._told is not None:
            self._told = replace(self._told, n=self._told.n + 1)
        self._listed = None
        self._hasten.set()

    async def _keep_advertising(self) -> None:
        failures = 0
        while True:
            self._hasten.clear()
            try:
                await self._advertise()
            except (Unavailable, Invalid) as why:
                failures += 1
                log.warning("%s cannot be told what is shared: %s", self._network.name, why)
                await self._clock.sleep(PAUSES.after(failures))
                continue
            failures = 0
            waited = 0.0
            while waited < ADVERT_SECONDS and not self._hasten.is_set() and not self._is_outdated():
                await self._either(self._hasten, LOOK_SECONDS)
                waited += LOOK_SECONDS

    def _is_outdated(self) -> bool:
        """Whether a new inventory is due."""
        age = self._clock.now() - self._listed_at
        many, old = self._since >= MOST_CHANGES, age >= INVENTORY_SECONDS
        return self._listed is None or (self._since > 0 and (many or old) and age >= INVENTORY_REST * self._took)

    async def _advertise(self) -> None:
        """Say where we are and what we have. Raises Unavailable, and Invalid for more than may be in a list."""
        peer, addresses = await self._identity()
        async with self._stock.turn:
            if self._listed is None or self._is_outdated():
                self._listed = await self._list()
            n, lot, sums = self._listed
            self._told = replace(self._state, at=max(self._now(), self._state.at + 1))
            self._stock.tell(self._state)
            advert = Advert(
                peer=peer,
                addresses=addresses,
                epoch=self._state.epoch,
                n=n,
                inventory=None if lot is None else lot.cid,
                files=sums.files,
                pages=sums.pages,
                size=sums.size,
                at=self._state.at,
                box=bytes.fromhex(self._network.box),
                inventory_size=0 if lot is None else lot.size,
                reach=self._reach(),
            )
            self._broadcasting.advertise(seal_advert(advert, self._seal, self._network.user))
            self._said.set()

    async def _list(self) -> tuple[int, Lot | None, Sums]:
        """A new inventory, which Kubo gives. What is yet to be told may be in it: it is told again."""
        began = self._listed_at = self._clock.now()
        sums = await asyncio.to_thread(self._stock.sums)
        if not sums.files and not sums.pages:
            self._since = 0
            return self._state.n, None, sums
        parts = encode_inventory(sums.files, sums.pages, self._stock.lines())
        lot = await asyncio.to_thread(self._inventories.write, parts)
        if not await self._shelf.give(lot.cid):
            raise Unavailable("an inventory has gone before it was given")
        outdated = self._inventories.outdated()
        await self._shelf.forget(outdated)
        self._inventories.remove(outdated)
        self._since = 0
        self._took = self._clock.now() - began
        return self._state.n, lot, sums

    async def _either(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for the event, or so long."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    @property
    def _state(self) -> Told:
        assert self._told is not None, "run() has begun"
        return self._told

    def _now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return int(self._clock.now() * 1000)
