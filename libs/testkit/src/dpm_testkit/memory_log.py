"""The memory twins of the event log and the taps."""

import asyncio
import fnmatch
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from dpm_core.artifacts import Held, Topic, Want
from dpm_core.decisions import Recorded
from dpm_core.envelope import seal, unseal
from dpm_core.errors import Conflict, Unavailable
from dpm_core.events import Event, FetchRequested, Unknown
from dpm_core.ports import Delivery
from dpm_core.registry import to_json
from dpm_core.subjects import kind_filter, topic_of
from dpm_runtime.messaging import appending


@dataclass(frozen=True)
class _Entry:
    subject: str
    headers: Mapping[str, str]
    body: bytes
    sequence: int
    time: float

    @property
    def topic(self) -> Topic:
        return topic_of(self.subject)

    def recorded(self) -> Recorded:
        return unseal(self.subject, self.headers, self.body, sequence=self.sequence, time=self.time)


@dataclass
class MemoryEventLog:
    """EventLog in memory. ``down`` makes it unavailable, ``ack_wait`` (seconds) is the time to settle.

    ``now`` gives the times of events, in epoch seconds.
    """

    ack_wait: float = 5.0
    down: bool = False
    now: Callable[[], float] = time.time
    _entries: list[_Entry] = field(default_factory=list)
    _due: dict[int, float] = field(default_factory=dict)
    _grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def events(self) -> list[Event]:
        """All that was appended, in order; for tests to look at."""
        return [recorded.event for recorded in self.recorded]

    @property
    def recorded(self) -> list[Recorded]:
        """The same, as the log holds it."""
        return [entry.recorded() for entry in self._entries]

    async def append(self, topic: Topic, event: Event, *, after: int | None = None) -> int:
        with appending(event) as trace:
            return await self._append(topic, event, after, trace)

    async def _append(self, topic: Topic, event: Event, after: int | None, trace: Mapping[str, str]) -> int:
        subject, headers, body = seal(topic, event, uuid4().hex, trace.items())
        self.check()
        await asyncio.sleep(0)  # on the way to a server others come in between
        last = self._last(topic)
        if after is not None and after != (last.sequence if last else 0):
            raise Conflict(f"{subject} after {after}: the last is {last.sequence if last else 0}")
        return await self.put(subject, headers, body)

    async def put(self, subject: str, headers: Mapping[str, str], body: bytes) -> int:
        """Record what another version, or a liar, might have sent."""
        entry = _Entry(subject, dict(headers), body, len(self._entries) + 1, self.now())
        async with self._grown:
            self._entries.append(entry)
            if subject.endswith(".fetch-requested"):
                self._due[entry.sequence] = 0.0
            self._grown.notify_all()
        return entry.sequence

    async def last(self, topic: Topic) -> Recorded | None:
        self.check()
        entry = self._last(topic)
        return entry.recorded() if entry else None

    async def past(self, kind: str) -> list[Recorded]:
        """Every event of topics of a kind, in order."""
        self.check()
        return [entry.recorded() for entry in self._entries if entry.topic.kind == kind]

    async def request(self, want: Want, *, held: Held | None = None, deadline: float | None = None) -> Recorded:
        """What a gateway appends, by default for half a minute; returns it as it was recorded."""
        last = await self.last(want.ref.topic)
        request = FetchRequested(want, self.now() + 30 if deadline is None else deadline, "gateway-0", held)
        sequence = await self.append(want.ref.topic, request, after=last.sequence if last else 0)
        return self.recorded[sequence - 1]

    async def follow(
        self, kind: str | None, *, after: int, name: str | None = None
    ) -> AsyncGenerator[Recorded, None]:
        kind_filter(kind, name)
        position = after
        while True:
            async with self._grown:
                while len(self._entries) <= position:
                    await self._grown.wait()
            for entry in self._entries[position:]:
                position = entry.sequence
                wanted = kind in (None, entry.topic.kind) and name in (None, entry.subject.rpartition(".")[2])
                if wanted and not isinstance((recorded := entry.recorded()).event, Unknown):
                    yield recorded

    async def work(self) -> AsyncGenerator[Delivery, None]:
        while True:
            sequence = await self._claim()
            recorded = self._entries[sequence - 1].recorded()
            if isinstance(recorded.event, FetchRequested):
                yield MemoryDelivery(self, recorded)
            else:
                self.settle(sequence, None)

    def check(self) -> None:
        """Raises Unavailable while the log is down."""
        if self.down:
            raise Unavailable("the bus cannot be reached: it is down")

    def settle(self, sequence: int, delay: float | None) -> None:
        """Deliver a request again in ``delay`` seconds, None: never."""
        self.check()
        if delay is None:
            self._due.pop(sequence, None)
        elif sequence in self._due:
            self._due[sequence] = asyncio.get_running_loop().time() + delay
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, self._notify())

    def _last(self, topic: Topic) -> _Entry | None:
        return next((entry for entry in reversed(self._entries) if entry.topic == topic), None)

    async def _claim(self) -> int:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for sequence, due in sorted(self._due.items()):
                if due <= now and not self.down:
                    self._due[sequence] = now + self.ack_wait
                    return sequence
            async with self._grown:
                wait = min((due - now for due in self._due.values()), default=60.0)
                try:
                    async with asyncio.timeout(max(0.001, wait)):
                        await self._grown.wait()
                except TimeoutError:
                    continue

    async def _notify(self) -> None:
        async with self._grown:
            self._grown.notify_all()


@dataclass
class MemoryDelivery:
    """Delivery of the memory log."""

    log: MemoryEventLog
    recorded: Recorded

    async def ack(self) -> None:
        self.log.settle(self.recorded.sequence, None)

    async def nak(self, delay: float) -> None:
        self.log.settle(self.recorded.sequence, delay)

    async def in_progress(self) -> None:
        self.log.settle(self.recorded.sequence, self.log.ack_wait)

    async def term(self) -> None:
        self.log.settle(self.recorded.sequence, None)


@dataclass
class MemoryTap:
    """Tap in memory; ``told`` keeps all that was told, for tests to look at."""

    down: bool = False
    told: list[tuple[str, bytes]] = field(default_factory=list)
    _listeners: dict[asyncio.Queue[bytes], str] = field(default_factory=dict)

    async def tell(self, name: str, message: object) -> None:
        if self.down:
            return
        body = to_json(message)
        self.told.append((name, body))
        for queue, pattern in self._listeners.items():
            if _covers(pattern, name):
                queue.put_nowait(body)

    async def listen(self, name: str) -> AsyncGenerator[bytes, None]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners[queue] = name
        try:
            while True:
                yield await queue.get()
        finally:
            del self._listeners[queue]


def _covers(pattern: str, name: str) -> bool:
    wanted, words = pattern.split("."), name.split(".")
    return len(wanted) == len(words) and all(map(fnmatch.fnmatchcase, words, wanted))
