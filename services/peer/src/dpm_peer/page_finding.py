"""From the name of a page to its bytes: as that peer has it to whom upstream confirmed it last."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from dpm_core.errors import Unavailable
from dpm_core.events import BlockReason
from dpm_core.inventory import SharedPage
from dpm_core.multiaddrs import PeerId
from dpm_core.origins import Stream
from dpm_core.ports import Clock
from dpm_peer.blame import Blame
from dpm_peer.finding import Finder, Offer, Sharers

PAGE_LIMIT = 256 * 1024 * 1024
"""Bytes of a page, where who asks has no smaller limit."""

NEXT_SECONDS = 2.0
"""After so long without a byte an older page is tried beside: what is newest may take its time."""

AHEAD_SECONDS = 300.0
"""Clocks may differ by so much; who says that it has a page from beyond that is passed over."""


@dataclass(frozen=True)
class FoundPage:
    """A page whose first byte has come; ``source`` gives it."""

    source: str
    page: SharedPage
    body: Stream


@dataclass(frozen=True)
class Current:
    """What is held is the newest that any peer has."""

    page: SharedPage


class PageFinder:
    """Looks for pages in all networks of the node that share any."""

    def __init__(
        self, networks: Callable[[], Iterable[Sharers]], finder: Finder, blame: Blame, clock: Clock
    ) -> None:
        self._networks = networks
        self._finder = finder
        self._blame = blame
        self._clock = clock

    async def open(
        self, artifact_id: str, limit: int = PAGE_LIMIT, held: str | None = None
    ) -> FoundPage | Current | None:
        """The newest page that comes, of at most ``limit`` bytes; None if there is none, or nobody gives it.

        ``held`` is the tag of one that need not come. The end of a body is held back until its digest is known to
        be right: it raises Unavailable if not, and who advertised it is shut out.
        """
        ways = self._ways(artifact_id, limit)
        newest = next(iter(ways.values()), None)
        if newest is None or tag(newest) == held:
            return None if newest is None else Current(newest)
        found = await self._finder.first(list(ways), next_seconds=NEXT_SECONDS)
        if found is None:
            return None
        return FoundPage(found.source, ways[found.offer], _Checked(found.body, found.offer, self._lied))

    def _ways(self, artifact_id: str, limit: int) -> dict[Offer, SharedPage]:
        """What peers offer, and the page that it is, the newest first. Those who have the same are one offer."""
        latest = self._clock.now() + AHEAD_SECONDS
        shown = [
            (network, peer, page)
            for network in self._networks()
            for peer, page in network.pages(artifact_id)
            if page.checked_at <= latest and page.file.size <= min(limit, PAGE_LIMIT)
            if self._finder.worth(network, peer)
        ]
        ways: dict[tuple[str, SharedPage], tuple[Sharers, list[PeerId]]] = {}
        for network, peer, page in sorted(shown, key=lambda each: -each[2].checked_at):
            ways.setdefault((network.name, page), (network, []))[1].append(peer)
        return {Offer(network, page.file, tuple(peers)): page for (_, page), (network, peers) in ways.items()}

    def _lied(self, offer: Offer) -> None:
        """Kubo has checked each block against the CID, so it is the advert that is wrong."""
        for peer in offer.peers:
            said = f"it advertises {offer.file.cid} as {offer.file.sha256}, and these are other bytes"
            self._blame.harmed(peer, BlockReason.WRONG_BYTES, said)


def tag(page: SharedPage) -> str:
    """The strong ETag of a page: of its bytes, and of when it was confirmed (RFC 9110, 8.8.3)."""
    return f'"{page.file.sha256.hex}-{page.checked_at}"'


class _Checked:
    """Port Stream over a body: its last part comes once the digest of the whole is right."""

    def __init__(self, body: Stream, offer: Offer, lied: Callable[[Offer], None]) -> None:
        self._body = body
        self._offer = offer
        self._lied = lied

    async def __aiter__(self) -> AsyncIterator[bytes]:
        hasher = hashlib.sha256()
        last = b""
        async for part in self._body:
            hasher.update(part)
            if last:
                yield last
            last = part
        if hasher.hexdigest() != self._offer.file.sha256.hex:
            self._lied(self._offer)
            raise Unavailable("a peer gave other bytes than it advertises")
        if last:
            yield last

    async def close(self) -> None:
        await self._body.close()
