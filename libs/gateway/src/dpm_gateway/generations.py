"""Generations: an index that names other indexes is shown once those of them that are in use can be had.

Upstream replaces such an index and what it names one after the other, and clients ask for both one after the
other. So what upstream has is fetched under a name of its own, and published under the name that clients ask for
when it is complete: by an event like any other, which all of a node's gateways see.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from dpm_core.artifacts import Want, as_peers_have, peers_checked_at
from dpm_core.cids import Cid
from dpm_core.ecosystem import Refusal
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_core.ports import Entry
from dpm_gateway.answer import index_of
from dpm_gateway.doorkeeper import Refused
from dpm_gateway.facts import Index
from dpm_gateway.kit import Kit
from dpm_gateway.peer_pages import PeerPages, Sought
from dpm_gateway.promotion import RECHECK_SECONDS, Incomplete, Promotion, companion
from dpm_gateway.responses import Headers

PATIENCE_SECONDS = 20.0
"""A client waits so long for a new generation, before it gets the one that is shown."""

HELD_BACK_SECONDS = 3600.0
"""For so long a generation waits for what upstream has not. Some never have all that they name."""

REMEMBERED = 1024
"""Names of which is known how their generations stand."""

AWAY = "upstream is away"
INCOMPLETE = "the new generation is not complete at upstream"
UNDER_WAY = "the new generation is being fetched"
SENSELESS = "the new generation makes no sense"
UNVOUCHED = "upstream is away, and what a peer has is not taken"
REFUSED = "the new generation cannot be shown now"

log = logging.getLogger(__name__)

AtHand: TypeAlias = Callable[[Index], bool]
"""Whether what is wanted of an index is in memory."""

Got: TypeAlias = tuple[str, Index, Headers]
"""How an index was come by, in one word, and what is said of that to the client."""


class Latest(Protocol):
    """How the newest is had."""

    async def __call__(
        self,
        want: Want,
        at_hand: AtHand,
        *,
        revalidate: bool = False,
        max_age: float | None = None,
        rotten: Cid | None = None,
        sought: Sought | None = None,
    ) -> Got:
        """See Pages.latest."""


class Unvouched(Unavailable):
    """Nobody can tell of an index that a peer gave whether it is upstream's."""


class UnderWay(Unavailable):
    """A generation is being made complete."""


@dataclass
class _Standing:
    """What this process knows beside the catalog.

    A ``task`` that publishes began at ``begun``. The bytes ``failed`` could not be published, at the time ``at``,
    because of ``error``; nothing could since ``since``. What is shown was found to be of no use at ``doubted``.
    All times are in seconds since the epoch.
    """

    task: "asyncio.Task[Got | DpmError] | None" = None
    begun: float = 0.0
    failed: Cid | None = None
    error: DpmError | None = None
    at: float = 0.0
    since: float | None = None
    doubted: float = 0.0

    @property
    def under_way(self) -> bool:
        return self.task is not None and not self.task.done()

    def believed(self, index: Index, held: Entry | None, now: float) -> DpmError | None:
        """Why ``index`` is not tried again yet. With nothing to show, what may be better soon is tried at once."""
        if self.failed != index.cid or now - self.at >= RECHECK_SECONDS:
            return None
        return self.error if held is not None or isinstance(self.error, Invalid) else None


class Generations:
    """Says what is shown, and sees to it that it is the newest that can be.

    ``latest`` gives the newest, ``usable`` says whether what is held can be read.
    """

    def __init__(
        self,
        kit: Kit,
        latest: Latest,
        usable: Callable[[Entry, AtHand], Awaitable[bool]],
        peers: PeerPages,
    ) -> None:
        self._kit = kit
        self._peers = peers
        self._latest = latest
        self._usable = usable
        self._standings: OrderedDict[str, _Standing] = OrderedDict()

    async def index(
        self,
        shown: Want,
        newest: Want,
        at_hand: AtHand,
        *,
        revalidate: bool,
        max_age: float | None,
        rotten: Cid | None,
    ) -> Got:
        """What is shown under the name ``shown``, the newest if that can be had complete; see Pages.index.

        What is published later goes on without the client. Raises what Pages.latest raises, Unavailable if there
        is nothing to show yet, Invalid if it makes no sense.
        """
        standing = self._standing(shown)
        held = await self._held(shown, at_hand, rotten)
        if not standing.under_way:
            try:
                result, index, headers = await self._ask(
                    standing, held, shown, newest, at_hand, revalidate, max_age, rotten
                )
            except Refused as error:
                if held is None or error.refusal.status in (403, 404):
                    raise
                return self._behind(held, AWAY)
            if result == "stale" and held is not None and peers_checked_at(held.fields) is not None:
                return self._behind(held, AWAY)
            held = await self._held(shown, at_hand, rotten)  # another gateway may have been quicker
            if held is not None and held.blob.cid == index.cid:
                standing.failed = standing.since = None
                self._kit.marks.note(shown.ref.id)
                return result, index_of(held), headers
            now = self._kit.clock.now()
            if (failed := standing.believed(index, held, now)) is not None:
                return self._outcome(failed, held)
            if not standing.under_way:
                standing.begun = now
                publishing = self._publish(standing, shown, newest, (result, index, headers), held)
                standing.task = asyncio.create_task(publishing)
        task = standing.task
        assert task is not None
        left = standing.begun + PATIENCE_SECONDS - self._kit.clock.now()
        await asyncio.wait({task}, timeout=max(0.0, left))
        return self._outcome(task.result() if task.done() else UnderWay(UNDER_WAY, retry_after=2.0), held)

    async def companion(self, want: Want, newest: Want, index: Index) -> tuple[Want, bool]:
        """What goes with ``index``, and whether what is held of it is all that there will ever be.

        Upstream is asked for it only while ``index`` is the newest: later it has another one. Raises Refused.
        """
        want = companion(want, index)
        entry = self._kit.catalog.find(want.ref.id)
        if entry is not None and entry.fresh(self._kit.clock.now()):
            return want, False
        try:
            _, latest, _ = await self._latest(newest, lambda index: False, max_age=RECHECK_SECONDS)
        except Refused:
            return want, entry is not None
        if latest.cid == index.cid:
            return want, False
        if entry is None:
            raise Refused(
                Refusal(404, f"upstream has another {want.name} by now, and it goes with something newer")
            )
        return want, True

    async def _ask(
        self,
        standing: _Standing,
        held: Entry | None,
        shown: Want,
        newest: Want,
        at_hand: AtHand,
        revalidate: bool,
        max_age: float | None,
        rotten: Cid | None,
    ) -> Got:
        """The newest. One that waits to be published is not asked for again: else none ever might be.

        Peers are asked for what they show, which is complete there. What they gave replaces what was older.
        """
        of_peers = held is not None and peers_checked_at(held.fields) is not None

        def as_shown(index: Index) -> bool:
            return held is not None and at_hand(replace(index, ref=held.ref))

        entry = self._kit.catalog.find(newest.ref.id)
        if entry is not None and entry.blob.cid != rotten:
            if entry.blob.cid == standing.failed:
                revalidate, max_age = False, RECHECK_SECONDS
            elif (
                held is not None
                and not of_peers
                and entry.blob.cid != held.blob.cid
                and await self._usable(entry, as_shown)
            ):
                return "miss", index_of(entry), {}
            elif standing.doubted >= entry.checked_at:
                max_age = 0.0  # once for each doubt: then it was checked later
        sought = None if self._kit.witness is None else Sought(shown, shown.ref)
        return await self._latest(
            newest, as_shown, revalidate=revalidate, max_age=max_age, rotten=rotten, sought=sought
        )

    async def _held(self, shown: Want, at_hand: AtHand, rotten: Cid | None) -> Entry | None:
        entry = self._kit.catalog.find(shown.ref.id)
        if entry is None or entry.blob.cid == rotten or not await self._usable(entry, at_hand):
            return None
        return entry

    async def _publish(
        self, standing: _Standing, shown: Want, newest: Want, got: Got, held: Entry | None
    ) -> Got | DpmError:
        """What comes of an attempt to publish what was ``got``, for all clients that wait."""
        result, index, headers = got
        now = self._kit.clock.now()
        of_peers = as_peers_have(shown) if result == "peer" else None
        lenient = standing.since is not None and now - standing.since >= HELD_BACK_SECONDS
        try:
            if of_peers is not None:
                await self._vouched(shown, index)
            published = await Promotion(self._kit, shown, of_peers or newest).publish(
                index, None if held is None else index_of(held), lenient=lenient
            )
        except DpmError as error:
            standing.failed, standing.at, standing.error = index.cid, self._kit.clock.now(), error
            if of_peers is None:
                standing.since = now if standing.since is None else standing.since
            log.warning("a generation is held back", extra={"artifact": shown.name, "why": str(error)})
            return error
        standing.failed = standing.since = None
        if of_peers is not None:
            return result, published, headers
        return "miss", published, {"Cache-Status": "dpm; fwd=miss; stored"}

    async def _vouched(self, shown: Want, index: Index) -> None:
        """Ask the witness about what a peer gave. Raises Unavailable if it cannot be shown, Untrusted."""
        assert self._kit.witness is not None, "else peers are not asked"
        wants = self._kit.ecosystem.companions(shown)
        found = [await self._peers.body(Sought(companion(each, index), each.ref)) for each in wants]
        body = b"".join(await self._kit.desk.body(index))
        try:
            await self._kit.witness.vouch(shown, body, [each for each in found if each is not None])
        except Unavailable as error:
            raise Unvouched(f"{AWAY}, and what a peer has is not taken: {error.what}", retry_after=5.0) from error

    def _outcome(self, outcome: Got | DpmError, held: Entry | None) -> Got:
        if not isinstance(outcome, DpmError):
            self._kit.marks.note(outcome[1].ref.id)
            return outcome
        if held is None:
            raise outcome
        return self._behind(held, _why(outcome))

    def _behind(self, held: Entry, why: str) -> Got:
        """What is shown, though upstream has, or may have, something newer (RFC 9111, 4.2.4)."""
        self._kit.marks.note(held.ref.id)
        told = peers_checked_at(held.fields)
        age = self._kit.clock.now() - (held.checked_at if told is None else told)
        detail = f'"{why}"' if told is None else "peer"
        status = f"dpm; hit; ttl={int((held.fresh_for or 0.0) - age)}; detail={detail}"
        return "stale", index_of(held), {"Age": str(max(0, int(age))), "Cache-Status": status}

    def doubt(self, shown: Want) -> None:
        """What it names cannot be had: there may be a newer one."""
        self._standing(shown).doubted = self._kit.clock.now()

    def _standing(self, shown: Want) -> _Standing:
        standing = self._standings.setdefault(shown.ref.id, _Standing())
        self._standings.move_to_end(shown.ref.id)
        if len(self._standings) > REMEMBERED:
            oldest = next(iter(self._standings))
            if not self._standings[oldest].under_way:
                del self._standings[oldest]
        return standing

    async def close(self) -> None:
        """Publish nothing more."""
        tasks = [each.task for each in self._standings.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _why(error: DpmError) -> str:
    match error:
        case UnderWay():
            return UNDER_WAY
        case Incomplete():
            return INCOMPLETE
        case Invalid():
            return SENSELESS
        case Unvouched():
            return UNVOUCHED
        case _:
            return REFUSED
