"""Indexes that have just come: nobody has all of one before it is known what it names.

So whoever asks for a file is answered by the indexes that are known, and waits for none that is being read: no
client of this node can have all of that one. The first client of a new index waits a little for its end.
"""

import asyncio
from contextlib import suppress

from dpm_core.artifacts import Want
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem
from dpm_core.errors import DpmError, Invalid
from dpm_core.ports import Entry
from dpm_gateway.answer import index_of
from dpm_gateway.facts import Desk, Index
from dpm_gateway.frontier import Frontier
from dpm_gateway.naming import Naming

PATIENCE_SECONDS = 20.0
"""A client waits so long for the end of an index."""


class Reading:
    """Sees to it that what may name files is read."""

    def __init__(self, ecosystem: Ecosystem, desk: Desk, naming: Naming) -> None:
        self._ecosystem = ecosystem
        self._desk = desk
        self._naming = naming
        self._under_way: dict[Cid, asyncio.Task[None]] = {}

    def begin(self, entry: Entry) -> "asyncio.Task[None]":
        """Read what is held; one that is no index is dismissed."""
        cid = entry.blob.cid
        task = self._under_way.get(cid)
        if task is None:
            task = self._under_way[cid] = asyncio.create_task(self._read(entry))
            task.add_done_callback(lambda _: self._under_way.pop(cid, None))
        return task

    async def _read(self, entry: Entry) -> None:
        try:
            await self._desk.read(index_of(entry))
        except Invalid:
            self._naming.dismiss(entry)
        except DpmError:  # it is told to who needs what it says
            pass

    async def known(self, file: Index) -> None:
        """Wait until it is known what a file names, if it may name any; not for ever."""
        if not self._ecosystem.names_files(file.ref) or self._desk.has_facts(file):
            return
        with suppress(DpmError, TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._desk.read(file)

    def withheld(self, want: Want, frontier: Frontier, length: int | None) -> "Frontier | Withheld":
        """What arrives, without its end until that is known."""
        return Withheld(self, want, frontier, length) if self._ecosystem.names_files(want.ref) else frontier

    async def close(self) -> None:
        """Read nothing more."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Withheld:
    """An index that arrives; ``length`` in bytes, None: unknown."""

    def __init__(self, reading: Reading, want: Want, frontier: Frontier, length: int | None) -> None:
        self._reading = reading
        self._want = want
        self._frontier = frontier
        self._length = length

    async def read(self, offset: int, size: int) -> bytes:
        """See Frontier."""
        data = await self._frontier.read(offset, size)
        if not data or offset + len(data) == self._length:
            await self._frontier.complete()
            state = self._frontier.state
            if state.cid is not None:
                await self._reading.known(Index(self._want.ref, state.cid, state.media_type or "", state.fields))
        return data
