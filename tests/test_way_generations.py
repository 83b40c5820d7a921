"""Generations, seen with a made-up ecosystem and memory twins for all outside."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import httpx
import pytest

from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored
from dpm_core.ports import Entry
from dpm_gateway.generations import HELD_BACK_SECONDS
from dpm_gateway.promotion import A_WHILE, RECHECK_SECONDS
from dpm_testkit.made_up import SHOP
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_way import Way
from dpm_testkit.patience import until
from dpm_testkit.seasons import FRESH_SECONDS, Seasons, season, season_page

SEASON = SHOP + "season/toys"
BALL, KITE, SLED = "ball", "kite", "sled"
INCOMPLETE = "the new generation is not complete at upstream"


def wares(season: int, *files: str) -> dict[str, bytes]:
    """What they are in a season."""
    return {file: f"{file} of season {season}".encode() for file in files or (BALL, KITE)}


def ware_url(file: str, body: bytes, *, kept: bool) -> str:
    return f"{SHOP}ware/toys/{hashlib.sha256(body).hexdigest() if kept else file}"


def publish(origin: MemoryOrigin, sold: Mapping[str, bytes], *, kept: bool = True) -> bytes:
    """The shop has a new season, and all its wares."""
    for file, body in sold.items():
        origin.has(ware_url(file, body, kept=kept), body)
    return origin.has(SEASON, season_page(sold, kept=kept)).body


class Shop(Way):
    """A gateway of the shop, and clients on connections of their own."""

    def __init__(self, folder: Path, *, beside: "Shop | None" = None) -> None:
        super().__init__(folder, Seasons(), beside=beside)

    async def get(self, path: str, connection: str = "", **headers: str) -> httpx.Response:
        """What a client gets, once the node knows all that came of it."""
        answer = await self.on(connection).get(path, headers=headers)
        await self.folded()
        return answer

    async def season(self, connection: str = "") -> bytes:
        """The season that is shown."""
        return (await self.get("/season/toys", connection)).content

    async def buy(self, *files: str, connection: str = "") -> list[bytes]:
        """Wares by their plain names."""
        return [(await self.get(f"/ware/toys/{file}", connection)).content for file in files]

    def later(self, seconds: float = FRESH_SECONDS) -> None:
        """Let time pass."""
        self.clock.ahead += seconds + 0.01

    def shown(self) -> Entry:
        """What the catalog says is shown."""
        entry = self.catalog.find(season("toys").ref.id)
        assert entry is not None
        return entry


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    await shop.close()


@pytest.fixture
async def in_use(shop: Shop) -> Shop:
    """A shop of whose first season two wares are held, and a third is not."""
    publish(shop.origin, wares(1, BALL, KITE, SLED))
    await shop.season()
    await shop.buy(BALL, KITE)
    shop.later()
    return shop


async def test_the_first_generation_is_shown_at_once_as_upstream_wrote_it(shop: Shop) -> None:
    page = publish(shop.origin, wares(1))
    answer = await shop.get("/season/toys")
    assert answer.content == page
    assert [url for url, _ in shop.origin.asked] == [SEASON]
    assert (await shop.get("/season/toys")).headers["cache-status"] == "dpm; hit"
    assert await shop.buy(BALL, KITE) == [*wares(1).values()]


async def test_a_new_generation_is_shown_with_all_that_is_in_use_and_nothing_else(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2, BALL, KITE, SLED))
    assert await in_use.season() == page
    sled = ware_url(SLED, wares(2, SLED)[SLED], kept=True)
    assert sled not in [url for url, _ in in_use.origin.asked]
    in_use.origin.down = True
    assert await in_use.buy(BALL, KITE) == [*wares(2).values()]


async def test_what_has_not_changed_is_not_asked_for_again(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(1))
    asked = len(in_use.origin.asked)
    assert await in_use.season() == page
    assert in_use.origin.asked[asked:] == [(SEASON, 0)]


def _gone(shop: Shop, url: str, body: bytes) -> None:
    del shop.origin.held[url]


def _refused(shop: Shop, url: str, body: bytes) -> None:
    shop.origin.held[url].for_strangers = 403


def _others(shop: Shop, url: str, body: bytes) -> None:
    shop.origin.has(url, b"not " + body)


def _short(shop: Shop, url: str, body: bytes) -> None:
    shop.origin.held[url].length = len(body) + 1


@pytest.mark.parametrize("spoil", [_gone, _refused, _others, _short])
async def test_a_generation_is_held_back_until_upstream_gives_all_of_it(
    in_use: Shop, spoil: Callable[[Shop, str, bytes], None]
) -> None:
    before = in_use.shown()
    page = publish(in_use.origin, wares(2))
    kite = wares(2)[KITE]
    url = ware_url(KITE, kite, kept=True)
    spoil(in_use, url, kite)
    held_back = await in_use.get("/season/toys")
    assert held_back.content != page
    assert in_use.shown() == before
    assert f'detail="{INCOMPLETE}"' in held_back.headers["cache-status"]
    assert int(held_back.headers["age"]) >= FRESH_SECONDS
    assert await in_use.buy(BALL, KITE) == [*wares(1).values()]
    in_use.origin.has(url, kite)
    assert await in_use.season() != page  # not everybody who asks has it tried again
    in_use.later(RECHECK_SECONDS)
    assert await in_use.season() == page
    assert await in_use.buy(BALL, KITE) == [*wares(2).values()]


async def test_a_generation_is_held_back_while_upstream_fails(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    in_use.origin.fails_at[ware_url(KITE, wares(2)[KITE], kept=True)] = Unavailable("it answers 503", status=503)
    assert await in_use.season() != page
    in_use.origin.fails_at.clear()
    in_use.later(RECHECK_SECONDS)
    assert await in_use.season() == page


async def test_a_transfer_that_breaks_off_is_gone_on_with(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    kite = wares(2)[KITE]
    in_use.origin.has(ware_url(KITE, kite, kept=True), kite).breaks_after = 3
    assert await in_use.season() == page


async def test_what_never_comes_is_done_without_in_the_end(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    del in_use.origin.held[ware_url(KITE, wares(2)[KITE], kept=True)]
    assert await in_use.season() != page
    in_use.later(HELD_BACK_SECONDS / 2)
    assert await in_use.season() != page
    in_use.later(HELD_BACK_SECONDS / 2)
    assert await in_use.season() == page
    assert await in_use.buy(BALL) == [wares(2)[BALL]]
    assert (await in_use.get("/ware/toys/kite")).status_code == 404


async def test_a_client_gets_what_was_shown_on_its_connection_whatever_is_newer(
    in_use: Shop,
) -> None:
    publish(in_use.origin, wares(1, BALL, KITE, SLED))
    await in_use.season("slow")
    page = publish(in_use.origin, wares(2, BALL, KITE, SLED))
    in_use.later()
    assert await in_use.season("quick") == page
    assert await in_use.buy(BALL, connection="slow") == [wares(1)[BALL]]
    assert await in_use.buy(BALL, connection="quick") == [wares(2)[BALL]]
    assert await in_use.buy(SLED, connection="slow") == [wares(1, SLED)[SLED]]  # the shop has kept it
    assert await in_use.season("slow") == page
    assert await in_use.buy(BALL, connection="slow") == [wares(2)[BALL]]


async def test_what_is_not_to_be_had_of_an_older_generation_is_an_error(in_use: Shop) -> None:
    await in_use.season("slow")
    for url in [url for url in in_use.origin.held if url != SEASON]:
        del in_use.origin.held[url]
    publish(in_use.origin, wares(2, BALL, KITE, SLED))
    in_use.later()
    await in_use.season("quick")
    assert (await in_use.get("/ware/toys/sled", "slow")).status_code == 404
    assert (await in_use.get("/ware/toys/sled", "quick")).content == wares(2, SLED)[SLED]


async def test_a_shop_that_replaces_its_wares_never_gives_those_of_another_season(in_use: Shop) -> None:
    publish(in_use.origin, wares(2, BALL, KITE, SLED), kept=False)
    await in_use.season("slow")
    publish(in_use.origin, wares(3, BALL, KITE, SLED), kept=False)
    assert (await in_use.get("/ware/toys/sled", "slow")).status_code == 502
    assert await in_use.buy(BALL, connection="slow") == [wares(2)[BALL]]
    # what was of no use is doubted before its time
    assert await in_use.season("slow") == season_page(wares(3, BALL, KITE, SLED), kept=False)
    assert await in_use.buy(SLED, connection="slow") == [wares(3, SLED)[SLED]]


async def test_a_page_that_makes_no_sense_is_shown_to_nobody(in_use: Shop) -> None:
    before = in_use.shown()
    in_use.origin.has(SEASON, b"<html>log in first</html>")
    answer = await in_use.get("/season/toys")
    assert in_use.shown() == before
    assert 'detail="the new generation makes no sense"' in answer.headers["cache-status"]
    page = publish(in_use.origin, wares(2))
    in_use.later(RECHECK_SECONDS)
    assert await in_use.season() == page


async def test_a_first_page_that_makes_no_sense_is_an_error_until_upstream_has_mended_it(shop: Shop) -> None:
    shop.origin.has(SEASON, b"<html>log in first</html>")
    assert [(await shop.get("/season/toys")).status_code for _ in range(2)] == [502, 502]
    page = publish(shop.origin, wares(1))
    shop.later(RECHECK_SECONDS)
    assert await shop.season() == page


async def test_what_is_shown_is_served_stale_while_upstream_is_away(in_use: Shop) -> None:
    page = await in_use.season()
    in_use.later()
    in_use.origin.down = True
    answer = await in_use.get("/season/toys")
    assert answer.content == page
    assert int(answer.headers["age"]) >= FRESH_SECONDS
    assert 'detail="upstream is away"' in answer.headers["cache-status"]
    assert await in_use.buy(BALL, KITE) == [*wares(1).values()]


async def test_a_season_that_upstream_has_no_more_is_not_found(in_use: Shop) -> None:
    del in_use.origin.held[SEASON]
    assert (await in_use.get("/season/toys")).status_code == 404
    page = publish(in_use.origin, wares(2))
    in_use.later()
    assert await in_use.season() == page


async def test_a_season_that_was_never_there_is_not_found(shop: Shop) -> None:
    assert (await shop.get("/season/toys")).status_code == 404


async def _asked(shop: Shop, url: str) -> None:
    """Wait until upstream is asked for it."""
    await until(lambda: any(each == url for each, _ in shop.origin.asked))


async def test_a_generation_is_completed_though_its_client_goes_away(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    kite = wares(2)[KITE]
    url = ware_url(KITE, kite, kept=True)
    slow = in_use.origin.has(url, kite)
    slow.waits_at = 3
    asking = asyncio.create_task(in_use.get("/season/toys"))
    await _asked(in_use, url)
    asking.cancel()
    await asyncio.wait({asking})
    slow.go.set()
    sha256 = hashlib.sha256(page).hexdigest()
    await until(lambda: in_use.shown().blob.sha256.hex == sha256)


async def test_one_gateway_publishes_for_all(in_use: Shop, tmp_path: Path) -> None:
    other = Shop(tmp_path, beside=in_use)
    assert await other.season() == await in_use.season()
    in_use.later()
    page = publish(in_use.origin, wares(2))
    assert await asyncio.gather(*(each.season() for each in (in_use, other, in_use, other))) == [page] * 4
    stored = [event for event in in_use.log.events if isinstance(event, ArtifactStored)]
    assert [event.ref for event in stored].count(season("toys").ref) == 2  # the first one, and this one once
    await other.close()


async def test_what_a_gateway_leaves_half_done_another_one_completes(in_use: Shop, tmp_path: Path) -> None:
    page = publish(in_use.origin, wares(2))
    kite = wares(2)[KITE]
    url = ware_url(KITE, kite, kept=True)
    slow = in_use.origin.has(url, kite)
    slow.waits_at = 3
    dying = Shop(tmp_path, beside=in_use)
    asking = asyncio.create_task(dying.on("").get("/season/toys"))
    await _asked(in_use, url)
    await dying.close()
    await asyncio.wait({asking})
    slow.go.set()
    assert await in_use.season() == page


async def test_an_upstream_that_never_rests_is_still_kept_up_with(in_use: Shop) -> None:
    for number in range(2, 7):
        page = publish(in_use.origin, wares(number))
        kite = wares(number)[KITE]
        url = ware_url(KITE, kite, kept=True)
        slow = in_use.origin.has(url, kite)
        slow.waits_at = 3
        asking = asyncio.create_task(in_use.season())
        await _asked(in_use, url)
        publish(in_use.origin, wares(number + 100))  # while the one before is being fetched
        eager = asyncio.create_task(in_use.get("/season/toys", **{"Cache-Control": "no-cache"}))
        slow.go.set()
        assert await asking == page
        assert (await eager).content == page
        in_use.later()


async def test_many_names_are_looked_at_without_holding_up_others(shop: Shop) -> None:
    files = [f"toy{number}" for number in range(3000)]
    publish(shop.origin, wares(1, *files))
    await shop.season()
    await shop.buy(files[0])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    page = publish(shop.origin, wares(2, *files))
    shop.later()
    task = asyncio.create_task(others())
    assert await shop.season() == page
    task.cancel()
    assert turns > len(files) / A_WHILE


async def test_no_answer_of_a_generation_is_repeated_for_another_connection(in_use: Shop) -> None:
    page = await in_use.season("slow")
    in_use.later()
    newer = publish(in_use.origin, wares(2))
    assert await in_use.season("quick") == newer
    for _ in range(2):
        assert await in_use.buy(BALL, connection="slow") == [wares(1)[BALL]]
        assert await in_use.buy(BALL, connection="quick") == [wares(2)[BALL]]
    assert page != newer


async def test_bytes_of_what_is_shown_that_rotted_are_fetched_again(in_use: Shop) -> None:
    page = await in_use.season()
    in_use.store.spoil(in_use.shown().blob.cid)
    in_use.later()
    assert await in_use.season() == page


async def test_the_event_of_a_publication_tells_of_what_is_shown(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    await in_use.season()
    stored = [event for event in in_use.log.events if isinstance(event, ArtifactStored)][-1]
    assert stored.ref == season("toys").ref
    assert stored.blob.sha256.hex == hashlib.sha256(page).hexdigest()
    assert not stored.vouched


def sealed(shop: Shop, season: int) -> bytes:
    """The shop has a new season, and its seal."""
    page = publish(shop.origin, wares(season))
    shop.origin.has(SHOP + "seal/toys", b"of " + hashlib.sha256(page).hexdigest().encode())
    return page


async def seal_of(shop: Shop, connection: str = "") -> str:
    return (await shop.get("/seal/toys", connection)).text


def of(page: bytes) -> str:
    return f"of {hashlib.sha256(page).hexdigest()}"


async def test_what_goes_with_a_generation_is_published_with_it(shop: Shop) -> None:
    old = sealed(shop, 1)
    assert await shop.season("slow") == old
    assert await seal_of(shop, "slow") == of(old)
    new = sealed(shop, 2)
    shop.later()
    assert await seal_of(shop) == of(old)
    assert await shop.season("quick") == new
    shop.origin.down = True
    assert await seal_of(shop, "quick") == of(new)
    assert await seal_of(shop, "slow") == of(old)


async def test_a_generation_waits_for_what_goes_with_it(shop: Shop) -> None:
    old = sealed(shop, 1)
    await shop.season()
    await seal_of(shop)
    new = sealed(shop, 2)
    seal = shop.origin.held.pop(SHOP + "seal/toys")
    shop.later()
    assert await shop.season() == old
    assert await seal_of(shop) == of(old)
    shop.origin.held[SHOP + "seal/toys"] = seal
    shop.later(RECHECK_SECONDS)
    assert await shop.season() == new
    assert await seal_of(shop) == of(new)


async def test_what_went_with_an_older_generation_is_never_asked_for_late(shop: Shop) -> None:
    sealed(shop, 1)
    await shop.season()
    sealed(shop, 2)
    shop.later()
    assert (await shop.get("/seal/toys")).status_code == 404
    new = await shop.season()
    assert await seal_of(shop) == of(new)


async def test_what_was_copied_late_at_upstream_is_asked_for_again_by_and_by(shop: Shop) -> None:
    old = sealed(shop, 1)
    seal = shop.origin.held[SHOP + "seal/toys"]
    new = sealed(shop, 2)
    late = shop.origin.held[SHOP + "seal/toys"]
    shop.origin.held[SHOP + "seal/toys"] = seal
    assert await shop.season() == new
    assert await seal_of(shop) == of(old)
    shop.origin.held[SHOP + "seal/toys"] = late
    shop.later()
    assert await seal_of(shop) == of(new)
