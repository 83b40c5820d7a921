"""A shop's seasons as peers have them, while the shop is away: shown if a witness vouches for them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from dpm_core.artifacts import ArtifactRef, Want, peers_checked_at
from dpm_core.cids import raw_cid
from dpm_core.ecosystem import Direct, Request, Target
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, OriginKind
from dpm_testkit.little_network import sha256_of
from dpm_testkit.made_up import SHOP, MadeUp
from dpm_testkit.memory_origin import Held
from dpm_testkit.memory_way import Way
from dpm_testkit.seasons import FRESH_SECONDS, Seasons, season_page

BALL, KITE = b"a ball", b"a kite"
SUMMER, AUTUMN = season_page({"ball": BALL}, kept=True), season_page({"kite": KITE}, kept=True)
SEASON = f"{SHOP}season/toys"
AGE = 20


class Witness:
    """Vouches for what ``knows``, if its seal goes with it. ``heard`` is what it was asked about."""

    def __init__(self) -> None:
        self.knows = [SUMMER, AUTUMN]
        self.heard: list[tuple[bytes, list[bytes]]] = []

    async def vouch(self, shown: Want, body: bytes, companions: Sequence[bytes]) -> None:
        self.heard.append((body, [*companions]))
        if body not in self.knows:
            raise Unavailable("no key is known")


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
async def way(tmp_path: Path, witness: Witness) -> AsyncIterator[Way]:
    """A node whose shop is away."""
    way = Way(tmp_path, Seasons(), networked=True, witness=witness)
    way.origin.down = True
    yield way
    await way.close()


def shown(way: Way, key: str, body: bytes, *, age: float = AGE) -> None:
    """A peer shows this, which the shop confirmed to it so many seconds ago."""
    ref = ArtifactRef(MadeUp.name, SHOP, key)
    way.peers.pages[ref.id] = Held(body, checked_at=int(way.clock.now() - age))


def has(way: Way, body: bytes) -> None:
    """Peers have a ware under its digest."""
    way.peers.has(f"{SHOP}ware/toys/{sha256_of(body).hex}", body)


async def get(way: Way, path: str, connection: str = "") -> httpx.Response:
    answer = await way.on(connection).get(path)
    await way.folded()
    return answer


async def opens(way: Way, body: bytes) -> None:
    """The shop is there, with this season."""
    way.origin.down = False
    way.origin.has(SEASON, body)
    for each in (BALL, KITE):
        way.origin.has(f"{SHOP}ware/toys/{sha256_of(each).hex}", each)


async def test_a_season_that_is_vouched_for_is_shown_with_its_wares(way: Way, witness: Witness) -> None:
    shown(way, "season/toys", SUMMER)
    answer = await get(way, "/season/toys")
    assert (answer.status_code, answer.content) == (200, SUMMER)
    assert answer.headers["cache-status"] == "dpm; fwd=miss; stored; detail=peer"
    assert int(answer.headers["age"]) >= AGE
    assert witness.heard == [(SUMMER, [])]
    has(way, BALL)
    assert (await get(way, "/ware/toys/ball")).content == BALL
    again = await get(way, "/season/toys")
    assert again.content == SUMMER
    assert again.headers["cache-status"].endswith("; detail=peer")
    assert len(witness.heard) == 1


async def test_its_seal_is_shown_to_the_witness_and_to_clients(way: Way, witness: Witness) -> None:
    shown(way, "season/toys", SUMMER)
    shown(way, f"seal/toys#{raw_cid(sha256_of(SUMMER))}", b"a seal")
    assert (await get(way, "/season/toys")).content == SUMMER
    assert witness.heard == [(SUMMER, [b"a seal"])]
    assert (await get(way, "/seal/toys")).content == b"a seal"


async def test_one_that_nobody_vouches_for_is_not_shown_and_it_is_said_why(way: Way, witness: Witness) -> None:
    witness.knows.clear()
    shown(way, "season/toys", SUMMER)
    answer = await get(way, "/season/toys")
    assert answer.status_code == 503
    assert "what a peer has is not taken: no key is known" in answer.text


async def test_what_is_held_of_the_shop_is_shown_rather_than_what_nobody_vouches_for(
    way: Way, witness: Witness
) -> None:
    await opens(way, SUMMER)
    await get(way, "/season/toys")
    way.origin.down = True
    way.clock.ahead += FRESH_SECONDS + 1
    witness.knows.clear()
    shown(way, "season/toys", AUTUMN)
    answer = await get(way, "/season/toys")
    assert answer.content == SUMMER
    assert 'detail="upstream is away, and what a peer has is not taken"' in answer.headers["cache-status"]


async def test_a_newer_one_of_a_peer_is_shown_once_its_wares_are_here(way: Way, witness: Witness) -> None:
    await opens(way, SUMMER)
    await get(way, "/season/toys")
    assert (await get(way, "/ware/toys/ball")).content == BALL
    way.origin.down = True
    way.clock.ahead += FRESH_SECONDS + 1
    newer = season_page({"ball": KITE}, kept=True)
    witness.knows.append(newer)
    shown(way, "season/toys", newer)
    assert (await get(way, "/season/toys")).content == SUMMER
    has(way, KITE)
    way.clock.ahead += 15
    assert (await get(way, "/season/toys")).content == newer
    assert (await get(way, "/ware/toys/ball")).content == KITE


async def test_the_shop_has_the_last_word_once_it_is_back(way: Way) -> None:
    await opens(way, SUMMER)
    await get(way, "/season/toys")
    way.origin.down = True
    way.clock.ahead += FRESH_SECONDS + 1
    shown(way, "season/toys", AUTUMN)
    assert (await get(way, "/season/toys")).content == AUTUMN
    way.peers.down = True
    way.clock.ahead += FRESH_SECONDS + 1
    assert (await get(way, "/season/toys")).content == AUTUMN, "what was shown does not go back to an older one"
    way.origin.down = False
    assert (await get(way, "/season/toys")).content == SUMMER


async def test_what_was_shown_of_a_peer_is_known_to_be_of_one(way: Way) -> None:
    shown(way, "season/toys", SUMMER)
    await get(way, "/season/toys")
    held = way.catalog.find(ArtifactRef(MadeUp.name, SHOP, "season/toys").id)
    assert held is not None and peers_checked_at(held.fields)
    stored = [each.source.kind for each in way.log.events if isinstance(each, ArtifactStored)]
    assert set(stored) == {OriginKind.PEER}


async def test_without_a_witness_no_season_is_taken_of_peers(tmp_path: Path) -> None:
    way = Way(tmp_path, Seasons(), networked=True)
    try:
        way.origin.down = True
        shown(way, "season/toys", SUMMER)
        assert (await get(way, "/season/toys")).status_code == 503
        assert not way.peers.asked
    finally:
        await way.close()


class Small(Seasons):
    """A shop whose wares are small, and are known to be."""

    def classify(self, request: Request) -> Target:
        target = super().classify(request)
        if not isinstance(target, Direct):
            return target
        return replace(target, wants=tuple(replace(each, limit=1000) for each in target.wants))


@pytest.mark.parametrize(("there", "status"), [(True, 200), (False, 503)])
async def test_that_something_small_exists_is_known_of_peers(tmp_path: Path, there: bool, status: int) -> None:
    way = Way(tmp_path, Small(), networked=True)
    try:
        way.origin.down = True
        path = f"/ware/toys/{sha256_of(BALL).hex}"
        if there:
            has(way, BALL)
        answer = await way.client.head(path)
        assert answer.status_code == status
        if there:
            assert (answer.headers["content-length"], answer.content) == (str(len(BALL)), b"")
            assert (await get(way, path)).headers["cache-status"] == "dpm; hit"
    finally:
        await way.close()


async def test_while_upstream_answers_nothing_is_fetched_to_know_that_it_exists(tmp_path: Path) -> None:
    way = Way(tmp_path, Small(), networked=True)
    try:
        await opens(way, SUMMER)
        assert (await way.client.head(f"/ware/toys/{sha256_of(BALL).hex}")).status_code == 200
        assert (await way.client.head(f"/ware/toys/{'0' * 64}")).status_code == 404
        assert not way.origin.asked and not way.peers.asked
    finally:
        await way.close()
