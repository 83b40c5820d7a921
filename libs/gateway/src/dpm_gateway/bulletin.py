"""What happens to artifacts, told to whoever waits for one: one consumer a process, dispatched in memory."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from dpm_core.decisions import Recorded
from dpm_core.events import FetchStarted
from dpm_core.ports import EventLog
from dpm_core.registry import ReaderTooOld

log = logging.getLogger(__name__)


class Watch:
    """The events of one artifact since the watch began; ``latest`` is the last one, ``newest`` its sequence."""

    def __init__(self) -> None:
        self.newest = 0
        self.latest: Recorded | None = None
        self._attempts: list[tuple[int, FetchStarted]] = []
        self._news = asyncio.Event()

    def tell(self, recorded: Recorded) -> None:
        """An event of the artifact was seen."""
        if recorded.sequence > self.newest:
            self.newest, self.latest = recorded.sequence, recorded
        if isinstance(recorded.event, FetchStarted):
            self._attempts.append((recorded.sequence, recorded.event))
        self._news.set()

    def attempt_after(self, token: int) -> tuple[int, FetchStarted] | None:
        """The first attempt begun behind ``token``, with its own."""
        return next((each for each in self._attempts if each[0] > token), None)

    async def beyond(self, sequence: int, seconds: float) -> bool:
        """Wait for an event behind ``sequence``; False if none came in time."""
        try:
            async with asyncio.timeout(seconds):
                while self.newest <= sequence:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


class Bulletin:
    """Dispatches the events of one ecosystem to the watches of their artifacts."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = defaultdict(set)
        self._refusal: ReaderTooOld | None = None

    @contextmanager
    def watch(self, artifact_id: str) -> Iterator[Watch]:
        """Watch an artifact. Begin before reading its last event, and nothing is missed.

        Raises ReaderTooOld while ``read`` cannot go on: nobody would hear of anything.
        """
        if self._refusal is not None:
            raise self._refusal
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
                watch.tell(recorded)

    async def read(self, events: EventLog, ecosystem: str, *, after: int) -> None:
        """Follow the log for ever. Raises ReaderTooOld, as does every ``watch`` from then on."""
        try:
            async for recorded in events.follow(ecosystem, after=after):
                self.tell(recorded)
        except ReaderTooOld as error:
            self._refusal = error
            raise
