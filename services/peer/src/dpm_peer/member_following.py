"""What each member has, followed: adverts and deltas in, inventories fetched, all of it in the table."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from dpm_core.adverts import Advert, Delta
from dpm_core.backoff import Backoff
from dpm_core.errors import Invalid, TooNew, Unavailable
from dpm_core.events import BlockReason
from dpm_core.following import Place, Step, placed, step_advert, step_delta
from dpm_core.inventory import INVENTORY_LIMIT, InventoryReader, Shared
from dpm_core.multiaddrs import PeerId
from dpm_core.ports import Clock
from dpm_peer.contacts import Contacts
from dpm_peer.shelf import Shelf
from dpm_peer.swarm import Swarm
from dpm_peer.table import Table

AT_ONCE = 4
"""Inventories that are fetched at the same time."""

MOST_WAITING = 256
"""Deltas of a member that are kept while its inventory is fetched."""

PAUSES = Backoff(first=1.0, most=120.0)
"""Before an inventory that could not be had is asked for again."""

_PIECE = 1024 * 1024

Harmed = Callable[[PeerId, BlockReason, str], object]
"""Somebody did harm: the peer, what it did, and a sentence for people."""

log = logging.getLogger(__name__)


@dataclass
class _Fetch:
    """What is asked of a member: the inventory of its last ``advert``, after which come the ``deltas``."""

    advert: Advert
    deltas: list[Delta] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class MemberFollowing:
    """Follows the members of one network. Use as an async context manager: fetches end with it.

    ``blocked_for`` says for how many seconds a member (its Matrix id) is shut out; ``folder`` is for inventories
    while they are read. What it raises is Unavailable, if the table cannot be written.
    """

    def __init__(
        self,
        table: Table,
        swarm: Swarm,
        shelf: Shelf,
        contacts: Contacts,
        clock: Clock,
        folder: Path,
        harmed: Harmed,
        blocked_for: Callable[[str], float],
    ) -> None:
        self._table = table
        self._swarm = swarm
        self._shelf = shelf
        self._contacts = contacts
        self._clock = clock
        self._folder = folder
        self._harmed = harmed
        self._blocked_for = blocked_for
        self._fetches: dict[str, _Fetch] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> "MemberFollowing":
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            left.unlink()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for user in list(self._fetches):
            await self._stop(user)

    @property
    def busy(self) -> bool:
        """Whether an inventory is still to come: what was said since is not yet in the table."""
        return bool(self._fetches)

    async def advert(self, user: str, advert: Advert) -> None:
        """A member says what it has: note it, or have the inventory fetched."""
        fetch = self._fetches.get(user)
        if fetch is not None:
            fetch.advert = max(fetch.advert, advert, key=lambda each: (each.epoch, each.at))
            return
        place = self._table.place(user)
        match step_advert(place, advert):
            case Step.FETCH:
                self._fetches[user] = fetch = _Fetch(advert)
                fetch.task = asyncio.create_task(self._fetched(user, fetch))
            case Step.NOTE as step:
                await self._note(user, placed(place, advert, step))
            case _:
                log.debug("an old advert of %s is passed over", user)

    async def delta(self, user: str, delta: Delta) -> None:
        """A member says what changed."""
        fetch = self._fetches.get(user)
        if fetch is not None:
            fetch.deltas.append(delta)
            if len(fetch.deltas) > MOST_WAITING:
                fetch.deltas.clear()  # the next advert tells of them
            return
        await self._apply(user, delta)

    async def forget(self, user: str) -> None:
        """It is a member no more, or not heard of: it has nothing."""
        await self._stop(user)
        await self._table.forget(user)

    async def _stop(self, user: str) -> None:
        fetch = self._fetches.pop(user, None)
        if fetch is not None and fetch.task is not None:
            fetch.task.cancel()
            with suppress(asyncio.CancelledError):
                await fetch.task

    async def _note(self, user: str, place: Place | None) -> None:
        if place is not None:
            await self._table.note(user, place)

    async def _apply(self, user: str, delta: Delta) -> None:
        place = self._table.place(user)
        step = step_delta(place, delta)
        after = placed(place, delta, step)
        if step is not Step.APPLY or after is None:
            return
        await self._table.apply(user, delta, after)

    async def _fetched(self, user: str, fetch: _Fetch) -> None:
        """Fetch until the table has what the member's last advert says, or it is to blame that it cannot."""
        failures = 0
        try:
            while step_advert(self._table.place(user), fetch.advert) is Step.FETCH:
                await self._clock.sleep(self._blocked_for(user))
                advert = fetch.advert
                try:
                    async with self._free:
                        await self._take(user, advert)
                except Unavailable as why:
                    failures += 1
                    log.info("the inventory of %s cannot be had: %s", user, why)
                    await self._clock.sleep(PAUSES.after(failures))
                    continue
                for delta in fetch.deltas:
                    await self._apply(user, delta)
                fetch.deltas.clear()
        except Unavailable as why:
            log.warning("what %s has cannot be followed: %s", user, why)
        except TooNew as why:
            log.warning("what %s has is not known: %s", user, why)
        except Invalid as why:
            self._harmed(fetch.advert.peer, BlockReason.MALFORMED, f"its inventory cannot be read: {why}")
        finally:
            if self._fetches.get(user) is fetch:
                del self._fetches[user]

    async def _take(self, user: str, advert: Advert) -> None:
        """Replace what is known of a member by its inventory. Raises Unavailable, Invalid, TooNew."""
        place = Place(advert.epoch, advert.n, advert.at)
        if advert.inventory is None:
            await self._table.replace(user, place, ())
            return
        if advert.inventory_size > INVENTORY_LIMIT:
            raise Invalid(f"{advert.inventory_size} bytes are more than an inventory has")
        path = self._folder / advert.inventory
        try:
            await self._download(advert, path)
            await self._table.replace(user, place, read_inventory(path))
        finally:
            path.unlink(missing_ok=True)

    async def _download(self, advert: Advert, path: Path) -> None:
        assert advert.inventory is not None
        await self._contacts.reach(advert.peer)
        try:
            stream = await self._swarm.open(advert.inventory, advert.inventory_size)
            try:
                with path.open("wb") as file:
                    async for part in stream:
                        file.write(part)
            except OSError as error:
                raise Unavailable(f"{path} cannot be written: {error}") from None
            finally:
                await stream.close()
        finally:
            with suppress(Unavailable):
                await self._shelf.abandon(advert.inventory)


def read_inventory(path: Path) -> Iterator[Shared]:
    """What an inventory says is shared. Raises Invalid, TooNew, and Unavailable if the file cannot be read."""
    reader = InventoryReader()
    try:
        with path.open("rb") as file:
            while part := file.read(_PIECE):
                yield from reader.feed(part)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error}") from None
    reader.finish()
