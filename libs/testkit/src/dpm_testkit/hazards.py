"""What may happen at any call of a log or a store: it is away, its answer is lost, or the caller dies there."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import TypeVar

from dpm_core.artifacts import Blob, Topic, Want
from dpm_core.attempts import AttemptState, AttemptView
from dpm_core.decisions import Recorded
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, Event, Source
from dpm_core.ports import Attempt, Intake
from dpm_testkit.memory_log import MemoryEventLog

T = TypeVar("T")


class Crash(BaseException):
    """The process ends here, as by SIGKILL."""


class Hazard(StrEnum):
    """What happens at one call."""

    NONE = "none"
    AWAY = "it is away, nothing was done"
    LOST = "it was done, the answer is lost"
    DIES_BEFORE = "the caller dies before it is done"
    DIES_AFTER = "the caller dies when it is done"
    PAUSES = "the caller is stopped before it is done, and goes on when it is woken"


class Fate:
    """The hazards of one caller's next calls, one a call; then none. ``died`` once one of them was a death.

    ``paused`` is set when it is stopped; it goes on when ``woken`` is.
    """

    def __init__(self, coming: Iterable[Hazard] = ()) -> None:
        self.coming = deque(coming)
        self.died = False
        self.paused = asyncio.Event()
        self.woken = asyncio.Event()

    async def meet(self, act: Callable[[], Awaitable[T]]) -> T:
        """Await ``act`` with whatever happens now. Raises Unavailable, Crash."""
        hazard = self.coming.popleft() if self.coming and not self.died else Hazard.NONE
        if self.died or hazard is Hazard.DIES_BEFORE:
            self._die()
        if hazard is Hazard.PAUSES:
            self.paused.set()
            await self.woken.wait()
        if hazard is Hazard.AWAY:
            raise Unavailable("it is away")
        result = await act()
        if hazard is Hazard.DIES_AFTER:
            self._die()
        if hazard is Hazard.LOST:
            raise Unavailable("the answer was lost")
        return result

    def _die(self) -> None:
        self.died = True
        raise Crash


class HazardousLog(MemoryEventLog):
    """A log in memory, of which others see the same; appends and reads of one user meet that user's fate."""

    def __init__(self, log: MemoryEventLog, fate: Fate) -> None:
        super().__init__()
        self._log = log
        self._fate = fate

    async def append(self, topic: Topic, event: Event, *, after: int | None = None) -> int:
        return await self._fate.meet(lambda: self._log.append(topic, event, after=after))

    async def last(self, topic: Topic) -> Recorded | None:
        return await self._fate.meet(lambda: self._log.last(topic))


class HazardousIntake:
    """Intake over another one; ``let_die`` drops an attempt's lock as the kernel does."""

    def __init__(self, store: Intake, fate: Fate, let_die: Callable[[Attempt], None]) -> None:
        self._store = store
        self._fate = fate
        self._let_die = let_die

    async def begin(self, want: Want) -> "HazardousAttempt":
        return HazardousAttempt(await self._store.begin(want), self._fate, self._let_die)

    def view(self, artifact_id: str, token: int) -> AttemptView | None:
        return self._store.view(artifact_id, token)

    def left(self, artifact_id: str, token: int) -> ArtifactStored | None:
        return self._store.left(artifact_id, token)

    async def sweep(self, now: float) -> int:
        return await self._store.sweep(now)


class HazardousAttempt:
    """Attempt over another one."""

    def __init__(self, attempt: Attempt, fate: Fate, let_die: Callable[[Attempt], None]) -> None:
        self._attempt = attempt
        self._fate = fate
        self._let_die = let_die

    async def start(self, token: int, adopt: int | None = None) -> int:
        return await self._fate.meet(lambda: self._attempt.start(token, adopt))

    async def publish(self, state: AttemptState) -> None:
        await self._fate.meet(lambda: self._attempt.publish(state))

    async def write(self, data: bytes) -> None:
        await self._fate.meet(lambda: self._attempt.write(data))

    async def restart(self) -> None:
        await self._fate.meet(self._attempt.restart)

    async def store(self, state: AttemptState, source: Source) -> tuple[Blob, AttemptState]:
        return await self._fate.meet(lambda: self._attempt.store(state, source))

    async def close(self) -> None:
        if self._fate.died:
            self._let_die(self._attempt)
        await self._attempt.close()
