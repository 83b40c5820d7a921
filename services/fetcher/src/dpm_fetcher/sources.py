"""Who is asked for an artifact's bytes, in which order, and who gave which of them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dpm_core.artifacts import NO_VALIDATORS, Validators, Want
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import OriginKind, Part, Source
from dpm_core.origins import NotHeld, NotModified, Opened, Origin, Peers
from dpm_core.ports import Clock
from dpm_fetcher.hedge import Hedge, Pace, ended

PATIENCE_SECONDS = 2.0
"""What is asked of peers last is asked of them when upstream has said nothing for so long."""

SUSPECTS = 1_000
"""Of so many artifacts a fetcher knows that peers gave wrong bytes, until upstream has given the right ones."""


@dataclass(frozen=True)
class Peering:
    """The peers that may be asked, what is expected of them, and of what they gave bytes that were not it."""

    peers: Peers
    pace: Pace
    suspects: dict[str, None] = field(default_factory=dict)

    def suspect(self, artifact_id: str) -> None:
        """Ask no peer for it, until upstream has given it."""
        self.suspects[artifact_id] = None
        if len(self.suspects) > SUSPECTS:
            del self.suspects[next(iter(self.suspects))]


class Missing(Exception):
    """The origins say that they do not have it; ``answer`` is the last one's."""

    def __init__(self, answer: NotHeld) -> None:
        super().__init__(answer.detail)
        self.answer = answer


class Sources:
    """The origins of one transfer, and its ledger: ``parts`` says which of them gave which bytes.

    Peers are asked first and hedged by the others, which join in from ``position()``. They are asked last where
    they failed in this transfer before, or the file is small; and not at all for what they are suspected of.
    """

    def __init__(
        self,
        want: Want,
        origins: Sequence[Origin],
        peering: Peering | None,
        clock: Clock,
        position: Callable[[], int],
    ) -> None:
        self.parts: tuple[Part, ...] = ()
        self._want = want
        self._origins = origins
        self._peering = peering if want.for_peers else None
        self._clock = clock
        self._position = position
        self._last = peering is not None and want.size is not None and want.size < peering.pace.least

    @property
    def by_peers(self) -> bool:
        """Whether peers gave some of the bytes."""
        return any(part.source.kind is OriginKind.PEER for part in self.parts)

    async def open(
        self, offset: int, held: Validators | None, digests: tuple[Digest, ...]
    ) -> Opened | NotModified:
        """The first answer. An origin that cannot say is passed over if another one can.

        Raises Unavailable if none gives an answer, Missing if they say that there is nothing to be had.
        """
        peering = self._peering
        if peering is None or self._want.ref.id in peering.suspects:
            return await self._ask(offset, held, digests)
        if not self._last:
            with suppress(TimeoutError):
                async with asyncio.timeout(peering.pace.first_byte):
                    if (opened := await self._from_peers(peering.peers, offset)) is not None:
                        return replace(opened, body=Hedge(opened.body, peering.pace.rate, self._join, self._clock))
        return await self._unless_away(peering.peers, offset, held, digests)

    def took(self, source: Source, offset: int, size: int) -> None:
        """``source`` gave the next ``size`` bytes, which stand at ``offset``."""
        if self.parts and self.parts[-1].source == source:
            last = self.parts[-1]
            self.parts = (*self.parts[:-1], replace(last, size=last.size + size))
        else:
            self.parts = (*self.parts, Part(source, offset, size))

    def begin_anew(self) -> None:
        """The bytes so far are forgotten."""
        self.parts = ()

    def spurn_peers(self) -> None:
        """What they sent broke off, or came too slowly: they are asked last from now on."""
        self._last = True

    def suspect_peers(self) -> bool:
        """The digest is wrong. Whether peers may be why: then they are not asked, and all is to be had anew."""
        if self._peering is None or not self.by_peers:
            return False
        self._peering.suspect(self._want.ref.id)
        return True

    async def proven(self) -> None:
        """The digest is right. If peers were suspected, it was they: upstream gave the whole since."""
        if self._peering is not None and self._want.ref.id in self._peering.suspects:
            del self._peering.suspects[self._want.ref.id]
            await self._peering.peers.doubt(self._want)

    async def _unless_away(
        self, peers: Peers, offset: int, held: Validators | None, digests: tuple[Digest, ...]
    ) -> Opened | NotModified:
        """What the others answer; peers if they cannot or say nothing for a while. Raises Unavailable, Missing."""
        asking = asyncio.ensure_future(self._ask(offset, held, digests))
        answer: Opened | NotModified | None = None
        try:
            await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
            if asking.done() and not isinstance(asking.exception(), Unavailable):
                answer = await asking
                return answer
            if (opened := await self._from_peers(peers, offset)) is not None:
                return opened
            answer = await asking
            return answer
        finally:
            if answer is None:
                await _dropped(asking)

    async def _from_peers(self, peers: Peers, offset: int) -> Opened | None:
        with suppress(Unavailable):
            answer = await peers.open(self._want, offset)
            # upstream is asked to go on by its own validators alone
            return replace(answer, validators=NO_VALIDATORS) if isinstance(answer, Opened) else None
        return None

    async def _join(self) -> Opened:
        """An origin that is no peer, from where the bytes stand. Raises Unavailable."""
        try:
            answer = await self._ask(self._position(), None, ())
        except Missing as missing:
            raise Unavailable(missing.answer.detail) from missing
        assert isinstance(answer, Opened), "nothing was held"
        return answer

    async def _ask(
        self, offset: int, held: Validators | None, digests: tuple[Digest, ...]
    ) -> Opened | NotModified:
        failed: Unavailable | None = None
        missing: NotHeld | None = None
        for origin in self._origins:
            try:
                answer = await origin.open(self._want, offset, held, digests)
            except Unavailable as error:
                failed = error
                continue
            match answer:
                case Opened():
                    return answer
                case NotModified() if not offset and (held or digests):
                    return answer
                case NotHeld():
                    missing = answer
        if failed is not None:
            raise failed
        if missing is None:
            raise Unavailable("no origin gave an answer that was asked for")
        raise Missing(missing)


async def _dropped(asking: "asyncio.Future[Opened | NotModified]") -> None:
    """Nobody wants the answer any more."""
    await ended(asking)
    if not asking.cancelled() and asking.exception() is None and isinstance(answer := asking.result(), Opened):
        await answer.body.close()
