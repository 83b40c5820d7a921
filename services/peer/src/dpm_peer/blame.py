"""Members that do harm: what is proof of it, and what becomes of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import BlockReason
from dpm_core.multiaddrs import PeerId
from dpm_core.peers import decide_block
from dpm_core.ports import Clock
from dpm_peer.register import Register
from dpm_peer.table import Holder
from dpm_runtime.meters import counter

UNKEPT = 3
"""A peer that did not give so many different files that it advertises, and none in between, is shut out."""

DOUBTS = 1_000
"""Files at most whose liars are still to be found."""

TRUTH_SECONDS = 60.0
"""A doubt is dropped when the right bytes are not in the store by then."""

LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)
_blocked = counter(
    "dpm.peer.blocked",
    "{peer}",
    "times that a member of a network was shut out",
    reason="why: `wrong-bytes`, `not-given`, `flood`, `malformed`",
)


class Blame:
    """Shuts out those who did harm, each for longer than the last time."""

    def __init__(self, register: Register, clock: Clock) -> None:
        self._register = register
        self._clock = clock
        self._unkept: dict[PeerId, set[Digest]] = {}

    def harmed(self, peer: PeerId, reason: BlockReason, detail: str) -> None:
        """A peer did harm; ``detail`` is a sentence for people. Nothing, if it is shut out already."""
        peers = self._register.peers
        known = peers.find(peer)
        blocked = known and decide_block(peers, known, reason, detail, self._clock.now())
        if blocked:
            self._register.record([blocked])
            self._unkept.pop(peer, None)
            _blocked.add(1, {"reason": reason.value})
            log.warning("a peer is shut out", extra={"peer": peer, "reason": reason.value, "why": detail})

    def gave(self, peer: PeerId) -> None:
        """A peer gave what it advertises: what it did not give before may have been bad luck."""
        self._unkept.pop(peer, None)

    def unkept(self, peer: PeerId, sha256: Digest) -> None:
        """A peer was connected, and gave nothing of a file that it still advertises."""
        missed = self._unkept.setdefault(peer, set())
        missed.add(sha256)
        if len(missed) >= UNKEPT:
            self.harmed(peer, BlockReason.NOT_GIVEN, f"it gave none of {len(missed)} files that it advertises")


@dataclass(frozen=True)
class Truth:
    """What the node itself has under a digest."""

    cid: Cid
    size: int


class Doubts:
    """Files of which wrong bytes came: finds who lied, by the CID that the right bytes have.

    A CID stands for its bytes, which Kubo checks: who advertises another one for a digest lies, whoever sent them.
    """

    def __init__(
        self,
        truth: Callable[[Digest], Awaitable[Truth | None]],
        suspects: Callable[[Digest], Iterable[Holder]],
        blame: Blame,
        clock: Clock,
    ) -> None:
        """``truth`` may raise Unavailable; ``suspects`` are those who were asked for a file, or could be."""
        self._truth = truth
        self._suspects = suspects
        self._blame = blame
        self._clock = clock
        self._open: dict[Digest, tuple[float, frozenset[Holder]]] = {}
        self._raised = asyncio.Event()

    def raised(self, sha256: Digest) -> None:
        """Wrong bytes came for a digest."""
        if len(self._open) < DOUBTS:
            self._open.setdefault(sha256, (self._clock.now(), frozenset(self._suspects(sha256))))
            self._raised.set()

    async def settled(self) -> None:
        """Settle doubts, for ever."""
        while True:
            await self._raised.wait()
            for sha256, (since, suspects) in list(self._open.items()):
                truth = await self._known(sha256)
                if truth is not None:
                    self._judge(sha256, truth, suspects)
                if truth is not None or self._clock.now() - since >= TRUTH_SECONDS:
                    del self._open[sha256]
            if self._open:
                await self._clock.sleep(LOOK_SECONDS)
            else:
                self._raised.clear()

    async def _known(self, sha256: Digest) -> Truth | None:
        try:
            return await self._truth(sha256)
        except Unavailable as error:
            log.info("the store cannot be asked for the truth: %s", error)
            return None

    def _judge(self, sha256: Digest, truth: Truth, suspects: Iterable[Holder]) -> None:
        for holder in suspects:
            if (holder.file.cid, holder.file.size) != (truth.cid, truth.size):
                said = f"it advertises {holder.file.cid} with {holder.file.size} bytes as {sha256}"
                self._blame.harmed(holder.peer, BlockReason.WRONG_BYTES, said)
