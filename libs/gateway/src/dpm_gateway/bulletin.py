"""What happens to artifacts, told to whoever waits for one: one consumer a process, dispatched in memory."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from dpm_core.decisions import Recorded
from dpm_core.ports import EventLog

log = logging.getLogger(__name__)


class Watch:
    """The events of one artifact since the watch began."""

    def __init__(self) -> None:
        self._newest = 0
        self._news = asyncio.Event()

    def tell(self, sequence: int) -> None:
        """An event of the artifact was seen."""
        self._newest = max(self._newest, sequence)
        self._news.set()

    async def beyond(self, sequence: int, seconds: float) -> bool:
        """Wait for an event behind ``sequence``; False if none came in time."""
        try:
            async with asyncio.timeout(seconds):
                while self._newest <= sequence:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


class Bulletin:
    """Dispatches the events of one ecosystem to the watches of their artifacts."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = defaultdict(set)

    @contextmanager
    def watch(self, artifact_id: str) -> Iterator[Watch]:
        """Watch an artifact. Begin before reading its last event, and nothing is missed."""
        watch = Watch()
        self._watches[artifact_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[artifact_id].discard(watch)
            if not self._watches[artifact_id]:
                del self._watches[artifact_id]

    def tell(self, recorded: Recorded) -> None:
        """An event was seen."""
        ref = getattr(recorded.event, "ref", None) or getattr(getattr(recorded.event, "want", None), "ref", None)
        if ref is not None:
            for watch in self._watches.get(ref.id, ()):
                watch.tell(recorded.sequence)

    async def read(self, events: EventLog, ecosystem: str, *, after: int) -> None:
        """Follow the log for ever. Raises ReaderTooOld."""
        async for recorded in events.follow(ecosystem, after=after):
            self.tell(recorded)
