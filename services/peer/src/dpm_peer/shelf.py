"""What of ours a Kubo references: noted beside its own index, inside its repository, and lost with that.

A note is made when Kubo has all of a file, and taken away before Kubo loses the first block of it; so after a
crash Kubo may have more than is noted, which the next reconciling removes, and never less.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dpm_core.cids import CHUNK, Cid
from dpm_core.errors import Unavailable
from dpm_peer.shelf_notes import Notes
from dpm_peer.swarm import Lot, Repository

SAMPLE = 16
"""So many blobs are looked at when it is reconciled: enough to see that an index is lost or is another's."""

AT_ONCE = 8
"""Files that are given at the same time."""

EMPTY_FOLDER = hashlib.sha256(b"\x0a\x02\x08\x01").digest()
"""The block of Kubo's own that must stay: without it, it does not start."""

log = logging.getLogger(__name__)

Describe = Callable[[Cid], Lot | None]
"""What the store has of a blob, None if it has it not (any more). Asked in a thread; may raise OSError."""


@dataclass(frozen=True)
class Reconciled:
    """What was done.

    Of blobs: those given, those forgotten, and those refused because their files are gone or wrong. ``strays`` are
    blocks of none, which were removed. ``renewed``: the repository was made anew, as it had not what was noted.
    """

    given: int = 0
    forgotten: int = 0
    refused: int = 0
    strays: int = 0
    renewed: bool = False


class Shelf:
    """The blobs that one network's Kubo references. One object of it a repository, in one process.

    All methods raise Unavailable if Kubo cannot be asked. What was begun is then undone by ``reconcile``.
    """

    def __init__(
        self, repository: Repository, folder: Path, describe: Describe, renew: Callable[[], Awaitable[None]]
    ) -> None:
        """``folder`` is Kubo's repository; ``renew`` makes that anew, and empty."""
        self._repository = repository
        self._notes = Notes(folder / "dpm.sqlite")
        self._describe = describe
        self._renew = renew
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Close the notes."""
        self._notes.close()

    def holds(self, cid: Cid) -> bool:
        """Whether the blob can be had from this node's Kubo."""
        return self._notes.has(cid)

    async def give(self, cid: Cid) -> bool:
        """Have Kubo reference the blob; whether it does now. It does not if the file is gone, or wrong."""
        async with self._turn:
            return self._notes.has(cid) or await self._give(cid)

    async def forget(self, cids: Iterable[Cid]) -> None:
        """Have Kubo reference these no more: once this has returned their files may go."""
        async with self._turn:
            await self._forget(list(cids))

    async def adopt(self, cid: Cid) -> bool:
        """The blob was fetched from others, and is in the store now: reference that file instead of the copy.

        Returns whether it is referenced; the copy is gone in any case.
        """
        async with self._turn:
            lot = await asyncio.to_thread(self._describe, cid)
            if lot is None:
                await self._drop_strays(await self._repository.tree(cid))
                return False
            beside = self._notes.remove_sharing(lot.blocks)
            await self._repository.drop(lot.blocks)
            return all([await self._give(each) for each in (cid, *(beside - {cid}))])

    async def abandon(self, cid: Cid) -> None:
        """Nobody reads the blob from others any more: remove what came of it, unless it is ours as well."""
        async with self._turn:
            if not self._notes.has(cid):
                await self._drop_strays(await self._repository.tree(cid))

    async def reconcile(self, desired: Iterable[Cid]) -> Reconciled:
        """Have Kubo reference exactly these. To be called whenever it has started, and when the rule changes."""
        async with self._turn:
            renewed = not await self._sample_is_right()
            if renewed:
                log.warning("Kubo's repository has not what it had: it is made anew")
                self._notes.close()
                await self._renew()
            strays = await self._sweep()
            wanted, unwanted = self._notes.compare(desired)
            for start in range(0, len(unwanted), 256):
                await self._forget(unwanted[start : start + 256])
        given = refused = 0
        missing = iter(wanted)
        while part := list(islice(missing, 16 * AT_ONCE)):
            async with self._turn:  # in parts, since whoever evicts must not wait for all of them
                done = await self._give_all([cid for cid in part if not self._notes.has(cid)])
            given += sum(done)
            refused += len(done) - sum(done)
        return Reconciled(given, len(unwanted), refused, strays, renewed)

    async def _give_all(self, cids: Sequence[Cid]) -> list[bool]:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(cid: Cid) -> bool:
            async with free:
                return await self._give(cid)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(cid)) for cid in cids]
        return [task.result() for task in tasks]

    async def _give(self, cid: Cid) -> bool:
        lot = await asyncio.to_thread(self._describe, cid)
        if lot is None:
            return False
        try:
            found = await self._repository.give(lot)
        except Unavailable:
            if await asyncio.to_thread(self._describe, cid) is None:
                return False  # evicted meanwhile
            raise
        if found != cid:
            await self._drop_strays(await self._repository.tree(found))
            log.error("the file of %s has other bytes: it is not given", cid)
            return False
        self._notes.add(lot)
        return True

    async def _forget(self, cids: Sequence[Cid]) -> None:
        blocks, beside = self._notes.remove(cids)
        await self._repository.drop(blocks)
        for each in beside:  # they shared a block with one that is forgotten
            await self._give(each)

    async def _drop_strays(self, blocks: Iterable[Cid]) -> None:
        await self._repository.drop([block for block in blocks if not self._notes.knows(block.hash)])

    async def _sweep(self) -> int:
        strays = [
            Cid.of_raw(block)
            async for block in self._repository.blocks()
            if block != EMPTY_FOLDER and not self._notes.knows(block)
        ]
        await self._repository.drop(strays)
        return len(strays)

    async def _sample_is_right(self) -> bool:
        for cid, number, leaf in self._notes.sample(SAMPLE):
            if await self._repository.reads(Cid.of_raw(leaf)):
                continue
            if await asyncio.to_thread(self._leaf_is_there, cid, number, leaf):
                return False
            await self._forget([cid])
        return True

    def _leaf_is_there(self, cid: Cid, number: int, leaf: bytes) -> bool:
        try:
            lot = self._describe(cid)
            if lot is None:
                return False
            with lot.path.open("rb") as file:
                file.seek(number * CHUNK)
                return hashlib.sha256(file.read(CHUNK)).digest() == leaf
        except OSError:
            return False
