"""One attempt's bytes: from the origins, in their order, into the attempt's folder."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from dpm_core.artifacts import Blob, Held, Lane, Validators, Want
from dpm_core.attempts import WITHHELD_WHOLE, AttemptState, Failure, Phase, readable
from dpm_core.digests import Hasher
from dpm_core.errors import DiskFails, Unavailable, Untrusted
from dpm_core.events import FailReason, OriginKind, Part, Source
from dpm_core.origins import NotHeld, Opened, Origin
from dpm_core.ports import Attempt, Clock
from dpm_fetcher.hedge import Hedge
from dpm_fetcher.second_url import SecondUrl
from dpm_fetcher.sources import Missing, Peering, Sources
from dpm_runtime.meters import counter

RETRIES = 4
"""How often a transfer that broke off is gone on with, before it counts as failed."""

PAGE_RETRIES = 2
"""How often a page is asked for again that nobody holds: its clients wait, and try again themselves."""

PROGRESS_BYTES = 64 * 1024
"""A transfer that gained so much before it broke off again has not failed in a row."""

BACKOFF_SECONDS = 0.25
"""Half the first pause before going on; each next is twice as long, with jitter."""

PATIENT_SECONDS = 10.0
"""A transfer that has begun waits so long where upstream says when to come back; clients have bytes already."""

WITHHELD_OF_PEERS = 64 * 1024 * 1024
"""What peers send of files up to so many bytes is shown when its digest is right: what is wrong is had anew of
upstream then, and no client notices."""

ROOM_LOOKS = 25
ROOM_LOOK_SECONDS = 1.0
"""A transfer that finds the disk full has so many looks, and so long between them: room may be being made."""

_received = counter(
    "dpm.fetcher.received",
    "By",
    "bytes of bodies that came from origins, also those that were not kept",
    origin="`upstream` or `peer`",
)


@dataclass(frozen=True)
class Stored:
    """The bytes came and are a blob now."""

    blob: Blob
    state: AttemptState
    source: Source
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Unchanged:
    """What is held is still current."""

    held: Held
    validators: Validators


class GivenUp(Exception):
    """The transfer ended without bytes, for a reason to be recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


Outcome: TypeAlias = Stored | Unchanged


class Transfer:
    """Moves the bytes of one attempt. ``abandoned(written, length)`` says that nobody waits for them any more."""

    def __init__(
        self,
        want: Want,
        attempt: Attempt,
        origins: Sequence[Origin],
        clock: Clock,
        *,
        peering: Peering | None = None,
        held: Held | None = None,
        abandoned: Callable[[int, int | None], bool] = lambda written, length: False,
        unsized_limit: int | None = None,
    ) -> None:
        self._want = want
        self._attempt = attempt
        self._seconds = [SecondUrl(each) for each in origins] if want.otherwise and want.vouched else []
        self._sources = Sources(want, self._seconds or origins, peering, clock, lambda: self._written)
        self._clock = clock
        self._held = held
        self._abandoned = abandoned
        self._limit = unsized_limit if want.limit is None and want.size is None else want.limit
        self._state = AttemptState()
        self._written = 0
        self._source: Source | None = None
        self._told: Hasher | None = None

    async def run(self, adopted: int = 0, dead: AttemptState | None = None) -> Outcome:
        """Fetch, verify and store; ``adopted`` bytes of the attempt ``dead`` are here already.

        Raises GivenUp, with what is to be recorded.
        """
        try:
            return await self._run(adopted, dead)
        except GivenUp as given_up:
            missing = next((each.missing for each in self._seconds if each.missing), None)
            if missing is None or given_up.failure.reason is not FailReason.UNTRUSTED:
                raise
            raise _not_held(missing) from given_up  # other bytes at the other URL are another thing

    async def _run(self, adopted: int, dead: AttemptState | None) -> Outcome:
        self._written = adopted
        if adopted and dead is not None:
            self._state = AttemptState(validators=dead.validators, length=dead.length)
        failures = 0
        while True:
            before = self._written
            try:
                answer = await self._open()
                if isinstance(answer, Unchanged):
                    return answer
                await self._take(answer)
                if self._complete():
                    if (stored := await self._store()) is not None:
                        return stored
                    continue
                error = Unavailable(f"{answer.source.name} sent {self._written} of {self._state.length} bytes")
            except Unavailable as caught:
                error = caught
            failures = 1 if self._written - before >= PROGRESS_BYTES else failures + 1
            pause = self._pause(error, failures)
            if pause is None:
                raise GivenUp(Failure.of(error)) from error
            await self._clock.sleep(pause)

    def _complete(self) -> bool:
        """Whether all is here, as far as one can tell before it is verified. Nothing at all is no page."""
        if self._written == 0 and self._want.size is None and not self._want.vouched:
            return False
        return self._state.length is None or self._written >= self._state.length

    def _pause(self, error: Unavailable, failures: int) -> float | None:
        """Seconds to wait before going on after so many failures in a row, None to give up."""
        retries = RETRIES
        if self._want.lane is Lane.INDEX:
            retries = 0 if self._held else PAGE_RETRIES
        if error.lasting or failures > retries:
            return None
        if error.retry_after is None:
            return BACKOFF_SECONDS * 2.0**failures * random.uniform(0.5, 1.0)
        if self._written == 0 or error.retry_after > PATIENT_SECONDS:
            return None
        return error.retry_after * random.uniform(1.0, 1.2)

    async def _open(self) -> Opened | Unchanged:
        """The first origin that has it. Raises GivenUp if none does, Unavailable if that is not known."""
        offset = self._resume_at()
        held = self._state.validators if offset else self._held.validators if self._held else None
        digests = self._held.digests if self._held and not offset else ()
        try:
            answer = await self._sources.open(offset, held, digests)
        except Missing as missing:
            raise _not_held(missing.answer) from missing
        if isinstance(answer, Opened):
            return answer
        assert self._held is not None, "an origin confirms what it was asked about"
        with _disk():
            await self._attempt.publish(self._state.verified(self._held.cid, self._held.size))
        return Unchanged(self._held, answer.validators)

    def _resume_at(self) -> int:
        """From where to ask: 0 if nothing could tell whether old and new bytes belong together.

        Of a body that is all here the last byte is asked for again: beyond it there is nothing to be had (416),
        and the answer says what the body is.
        """
        if not self._goes_on(self._state.validators.strong):
            return 0
        size = self._state.length if self._want.size is None else self._want.size
        return min(self._written, size - 1) if size else self._written

    def _goes_on(self, strong: str | None) -> bool:
        """Whether bytes with this strong validator can be gone on from. What origins tell a digest of is small."""
        return self._want.vouched or (strong is not None and not self._want.digest_field)

    async def _take(self, opened: Opened) -> None:
        try:
            skip = await self._align(opened)
            async for data in opened.body:
                _received.add(len(data), {"origin": opened.source.kind.value})
                fresh = data[skip:]
                skip = max(0, skip - len(data))
                if fresh:
                    self._sources.took(opened.source, self._written, len(fresh))
                    await self._write(fresh)
        finally:
            await opened.body.close()
        if isinstance(opened.body, Hedge) and not self._complete():
            self._sources.spurn_peers()
            if opened.body.joined is not None:
                await self._take(opened.body.joined)

    async def _align(self, opened: Opened) -> int:
        """Make the answer fit the bytes that are here already; returns how many of its bytes to pass over."""
        known = self._state.validators.strong
        same = self._want.vouched or known == opened.validators.strong
        if self._written and not (same and self._goes_on(known)):
            changed = f"{opened.source.name} changed it meanwhile"
            if readable(self._state, self._written):
                raise GivenUp(Failure(FailReason.UNAVAILABLE, changed))
            await self._begin_anew()
            if opened.offset:
                raise Unavailable(changed)
        skip = self._written - opened.offset
        self._refuse_length(opened.length)
        if self._state.phase is Phase.OPENING:
            length = self._want.size if opened.length is None else opened.length
            streams = self._want.lane is Lane.BLOB and (self._want.vouched or bool(opened.validators.strong))
            if opened.source.kind is OriginKind.PEER:
                streams = streams and length is not None and length > WITHHELD_OF_PEERS
            self._state = AttemptState(
                Phase.OPEN, length, opened.media_type, opened.validators, streams, fields=opened.fields
            )
            if length is None or length > WITHHELD_WHOLE:  # else nobody sees anything before the verdict
                with _disk():
                    await self._attempt.publish(self._state)
        self._source = opened.source
        self._told = None if opened.digest is None or self._want.vouched else Hasher([opened.digest])
        return skip

    async def _begin_anew(self) -> None:
        with _disk():
            await self._attempt.restart()
        self._sources.begin_anew()
        self._state, self._written = AttemptState(), 0

    async def _write(self, data: bytes) -> None:
        self._refuse_length(self._written + len(data), more_may_come=True)
        with _disk():
            await self._write_where_room_is(data)
        self._written += len(data)
        if self._told is not None:
            self._told.update(data)
        if self._abandoned(self._written, self._state.length):
            raise GivenUp(Failure(FailReason.ABANDONED, "nobody waits for it any more"))

    async def _write_where_room_is(self, data: bytes) -> None:
        looks = 0
        while True:
            try:
                await self._attempt.write(data)
                return
            except DiskFails as error:
                looks += 1
                if error.lasting or looks > ROOM_LOOKS:
                    raise
            await self._clock.sleep(ROOM_LOOK_SECONDS)

    def _refuse_length(self, length: int | None, *, more_may_come: bool = False) -> None:
        """Stop at a body of the wrong length before its last byte comes."""
        if length is None:
            return
        size = self._want.size if self._want.size is not None else self._state.length
        if size is not None and (length > size or (length != size and not more_may_come)):
            raise GivenUp(Failure(FailReason.UNTRUSTED, f"it should have {size} bytes, upstream sends {length}"))
        if self._limit is not None and length > self._limit:
            raise GivenUp(Failure(FailReason.TOO_LARGE, f"larger than {self._limit} bytes"))

    async def _store(self) -> Stored | None:
        """Verify, and make it a blob. None if peers may have sent what is wrong: then all is asked of upstream."""
        assert self._source is not None
        try:
            if self._told is not None:
                self._told.verify()
            with _disk():
                blob, state = await self._attempt.store(self._state, self._source)
        except Untrusted as error:
            if not self._sources.suspect_peers() or readable(self._state, self._written):
                raise GivenUp(Failure(FailReason.UNTRUSTED, str(error))) from error
            await self._begin_anew()
            return None
        await self._sources.proven()
        parts = self._sources.parts
        return Stored(blob, state, self._source, parts if len(parts) > 1 else ())


def _not_held(missing: NotHeld) -> GivenUp:
    reason = FailReason.NOT_FOUND if missing.status in (None, 404, 410) else FailReason.REFUSED
    return GivenUp(Failure(reason, missing.detail, missing.status))


@contextmanager
def _disk() -> Iterator[None]:
    """A disk that refuses ends the transfer: upstream need not send it all again."""
    try:
        yield
    except Unavailable as error:
        raise GivenUp(Failure.of(error)) from error


async def within(
    seconds: float | None, transfer: Transfer, adopted: int = 0, dead: AttemptState | None = None
) -> Outcome:
    """Run a transfer that must be over in ``seconds`` (None: as long as bytes come). Raises GivenUp."""
    try:
        async with asyncio.timeout(seconds):
            return await transfer.run(adopted, dead)
    except TimeoutError:
        detail = f"not here within {seconds:.0f} s"
        raise GivenUp(Failure(FailReason.UNAVAILABLE, detail)) from None
