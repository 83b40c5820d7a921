"""What may happen at any call of bus or store: it is away, its answer is lost, or the caller dies there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar, cast
from unittest import mock

from nats.aio.msg import Msg

from dpm_core.artifacts import Blob, Want
from dpm_core.attempts import AttemptState, AttemptView
from dpm_core.cids import Cid
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, Source
from dpm_core.ports import Attempt, Intake
from dpm_runtime import blob_files
from dpm_runtime.disk import replace_file
from dpm_runtime.nats_link import Link
from dpm_runtime.nats_log import NatsEventLog
from dpm_testkit.memory_stream import NO_ROOM, MemoryStream, refusal

T = TypeVar("T")


class Crash(BaseException):
    """The process ends here, as by SIGKILL."""


class Hazard(StrEnum):
    """What happens at one call."""

    NONE = "none"
    AWAY = "it is away, nothing was done"
    REFUSED = "it says no, nothing was done"
    LOST = "it was done, the answer is lost"
    TWICE = "it was done, and asked for once more: what the caller hears is the second answer"
    DIES_BEFORE = "the caller dies before it is done"
    DIES_HALFWAY = "the caller dies when a part of it is done"
    DIES_AFTER = "the caller dies when it is done"
    PAUSES = "the caller is stopped before it is done, and goes on when it is woken"


class Fate:
    """The hazards of one process, by the number of its call. ``died`` once one of them was a death.

    ``paused`` is set while it is stopped; ``over`` is for whoever runs it to set.
    """

    def __init__(self, coming: Mapping[int, Hazard] | None = None) -> None:
        self._coming = dict(coming or {})
        self._call = -1
        self._woken = asyncio.Event()
        self.paused = asyncio.Event()
        self.died = False
        self.over = False

    async def meet(
        self,
        act: Callable[[], Awaitable[T]],
        *,
        no: Callable[[], T] | None = None,
        repeatable: bool = False,
        half: Callable[[], Awaitable[object]] | None = None,
    ) -> T:
        """Await ``act`` with whatever happens now. ``no`` gives the answer of a refusal, by default Unavailable.

        Only what is ``repeatable`` is done twice; ``half`` does a part of it, by default none.
        Raises Unavailable, Crash.
        """
        self._call += 1
        hazard = self._coming.get(self._call, Hazard.NONE)
        if hazard is Hazard.DIES_HALFWAY and half is not None and not self.died:
            with suppress(Crash):
                await half()
        if self.died or hazard in (Hazard.DIES_BEFORE, Hazard.DIES_HALFWAY):
            self._die()
        if hazard is Hazard.PAUSES:
            self.paused.set()
            await self._woken.wait()
        if hazard is Hazard.REFUSED and no is not None:
            return no()
        if hazard in (Hazard.AWAY, Hazard.REFUSED):
            raise Unavailable("it is away")
        result = await act()
        if hazard is Hazard.TWICE and repeatable:
            result = await act()
        if hazard is Hazard.DIES_AFTER:
            self._die()
        if hazard is Hazard.LOST:
            raise Unavailable("the answer was lost")
        return result

    def wake(self, *, unharmed: bool = False) -> None:
        """Go on, and never be stopped again; ``unharmed``: nothing else happens any more either."""
        hazards = {} if unharmed else self._coming
        self._coming = {call: hazard for call, hazard in hazards.items() if hazard is not Hazard.PAUSES}
        self._woken.set()

    def _die(self) -> None:
        self.died = True
        raise Crash


def hazardous_log(stream: MemoryStream, fate: Fate, *, sends: "Sends | None" = None) -> NatsEventLog:
    """The log as one process has it, over a connection on which each question meets ``fate``.

    ``sends`` turns the headers and body of what it appends into those of another version.
    """
    return NatsEventLog(cast(Link, _HazardousLink(stream, fate, sends)))


Sends = Callable[[Mapping[str, str], bytes], tuple[Mapping[str, str], bytes]]


class _HazardousLink:
    """What the log's adapter needs of a Link."""

    timeout = 60.0

    def __init__(self, stream: MemoryStream, fate: Fate, sends: Sends | None) -> None:
        self._stream = stream
        self._fate = fate
        self._sends = sends

    def connection(self) -> None:
        """There is one, until a request finds out that there is none."""

    async def up(self) -> None:
        """There is one again."""

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> Msg:
        sent: Mapping[str, str] = headers or {}
        if self._sends is not None and sent:
            sent, body = self._sends(sent, body)

        async def answer() -> Msg:
            await asyncio.sleep(0)  # meanwhile others append
            return self._stream.answer(subject, body, sent)

        if not sent:  # a question
            return await self._fate.meet(answer)
        return await self._fate.meet(answer, no=lambda: refusal(NO_ROOM, "no space left"), repeatable=True)


class HazardousIntake:
    """Intake over another one. ``let_die`` drops an attempt's lock as the kernel does; ``kept`` is told the
    artifact's id, the token and the blob of each attempt that has stored its bytes.
    """

    def __init__(
        self, store: Intake, fate: Fate, let_die: Callable[[Attempt], None], kept: Callable[[str, int, Cid], None]
    ) -> None:
        self._store = store
        self._fate = fate
        self._let_die = let_die
        self._kept = kept

    async def begin(self, want: Want) -> "_HazardousAttempt":
        attempt = await self._store.begin(want)
        return _HazardousAttempt(attempt, self._fate, self._let_die, partial(self._kept, want.ref.id))

    def view(self, artifact_id: str, token: int) -> AttemptView | None:
        return self._store.view(artifact_id, token)

    def left(self, artifact_id: str, token: int) -> ArtifactStored | None:
        return self._store.left(artifact_id, token)

    def settle(self, artifact_id: str, token: int) -> None:
        self._store.settle(artifact_id, token)

    async def sweep(self, now: float) -> int:
        return await self._store.sweep(now)


class _HazardousAttempt:
    """Attempt over another one."""

    def __init__(
        self, attempt: Attempt, fate: Fate, let_die: Callable[[Attempt], None], kept: Callable[[int, Cid], None]
    ) -> None:
        self._attempt = attempt
        self._fate = fate
        self._let_die = let_die
        self._kept = kept
        self._token = 0

    async def start(self, token: int, adopt: int | None = None) -> int:
        self._token = token
        return await self._fate.meet(lambda: self._attempt.start(token, adopt))

    async def publish(self, state: AttemptState) -> None:
        await self._fate.meet(lambda: self._attempt.publish(state))

    async def write(self, data: bytes) -> None:
        await self._fate.meet(lambda: self._attempt.write(data))

    async def restart(self) -> None:
        await self._fate.meet(self._attempt.restart)

    async def store(self, state: AttemptState, source: Source) -> tuple[Blob, AttemptState]:
        async def keep() -> tuple[Blob, AttemptState]:
            blob, final = await self._attempt.store(state, source)
            self._kept(self._token, blob.cid)
            return blob, final

        async def half() -> None:
            with mock.patch.object(blob_files, "replace_file", _and_no_further):
                await self._attempt.store(state, source)

        return await self._fate.meet(keep, half=half)

    async def close(self) -> None:
        if self._fate.died:
            self._let_die(self._attempt)
        await self._attempt.close()


def _and_no_further(path: Path, body: bytes, *, temporary: Path, safe: bool) -> None:
    """A sidecar is written, and its blob is not."""
    replace_file(path, body, temporary=temporary, safe=safe)
    raise Crash
