"""What a client gets of the generation that it was shown, whatever is newer and whichever gateway it asks."""

import asyncio
import hashlib
from pathlib import Path

from dpm_core.events import ArtifactStored
from dpm_gateway.promotion import RECHECK_SECONDS
from dpm_testkit.made_up import SHOP
from dpm_testkit.seasons import season, season_page
from dpm_testkit.shop import BALL, KITE, SEASON, SLED, Shop, publish, ware_url, wares


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


async def test_no_answer_of_a_generation_is_repeated_for_another_connection(in_use: Shop) -> None:
    page = await in_use.season("slow")
    in_use.later()
    newer = publish(in_use.origin, wares(2))
    assert await in_use.season("quick") == newer
    for _ in range(2):
        assert await in_use.buy(BALL, connection="slow") == [wares(1)[BALL]]
        assert await in_use.buy(BALL, connection="quick") == [wares(2)[BALL]]
    assert page != newer


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
    url = ware_url(KITE, kite)
    slow = in_use.origin.has(url, kite)
    slow.waits_at = 3
    dying = Shop(tmp_path, beside=in_use)
    asking = asyncio.create_task(dying.on("").get("/season/toys"))
    await in_use.asked(url)
    await dying.close()
    await asyncio.wait({asking})
    slow.go.set()
    assert await in_use.season() == page


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
