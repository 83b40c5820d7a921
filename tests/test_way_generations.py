"""Which generation is shown, and when, seen with a made-up ecosystem and memory twins for all outside."""

import asyncio
import hashlib
from collections.abc import Callable

import pytest

from dpm_core.decisions import DENIED_FOR
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactEvicted, ArtifactStored
from dpm_gateway.generations import HELD_BACK_SECONDS
from dpm_gateway.promotion import A_WHILE, RECHECK_SECONDS
from dpm_testkit.patience import until
from dpm_testkit.seasons import FRESH_SECONDS, season
from dpm_testkit.shop import BALL, KITE, SEASON, SLED, Shop, publish, ware_url, wares

INCOMPLETE = "the new generation is not complete at upstream"


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
    sled = ware_url(SLED, wares(2, SLED)[SLED])
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
    url = ware_url(KITE, kite)
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
    in_use.origin.fails_at[ware_url(KITE, wares(2)[KITE])] = Unavailable("it answers 503", status=503)
    assert await in_use.season() != page
    in_use.origin.fails_at.clear()
    in_use.later(RECHECK_SECONDS)
    assert await in_use.season() == page


async def test_a_transfer_that_breaks_off_is_gone_on_with(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    kite = wares(2)[KITE]
    in_use.origin.has(ware_url(KITE, kite), kite).breaks_after = 3
    assert await in_use.season() == page


async def test_what_never_comes_is_done_without_in_the_end(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    del in_use.origin.held[ware_url(KITE, wares(2)[KITE])]
    assert await in_use.season() != page
    in_use.later(HELD_BACK_SECONDS / 2)
    assert await in_use.season() != page
    in_use.later(HELD_BACK_SECONDS / 2)
    assert await in_use.season() == page
    assert await in_use.buy(BALL) == [wares(2)[BALL]]
    assert (await in_use.get("/ware/toys/kite")).status_code == 404


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


async def test_a_first_page_that_could_not_be_published_is_as_soon_as_it_can(shop: Shop) -> None:
    page = publish(shop.origin, wares(1))
    await shop.season()
    shown = shop.shown()
    await shop.log.append(shown.ref.topic, ArtifactEvicted(shown.ref, shown.blob.cid, "for room"))
    await shop.folded()
    await shop.kill_fetcher()
    assert (await shop.get("/season/toys")).status_code == 503
    shop.start_fetcher()
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


async def test_a_generation_is_completed_though_its_client_goes_away(in_use: Shop) -> None:
    page = publish(in_use.origin, wares(2))
    kite = wares(2)[KITE]
    url = ware_url(KITE, kite)
    slow = in_use.origin.has(url, kite)
    slow.waits_at = 3
    asking = asyncio.create_task(in_use.get("/season/toys"))
    await in_use.asked(url)
    asking.cancel()
    await asyncio.wait({asking})
    slow.go.set()
    sha256 = hashlib.sha256(page).hexdigest()
    await until(lambda: in_use.shown().blob.sha256.hex == sha256)


async def test_an_upstream_that_never_rests_is_still_kept_up_with(in_use: Shop) -> None:
    for number in range(2, 7):
        page = publish(in_use.origin, wares(number))
        kite = wares(number)[KITE]
        url = ware_url(KITE, kite)
        slow = in_use.origin.has(url, kite)
        slow.waits_at = 3
        asking = asyncio.create_task(in_use.season())
        await in_use.asked(url)
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


async def test_what_upstream_has_not_yet_of_what_it_shows_is_to_be_had_as_soon_as_it_has_it(shop: Shop) -> None:
    sold = wares(1)
    url = ware_url(KITE, sold[KITE])
    publish(shop.origin, sold)
    del shop.origin.held[url]
    await shop.season()
    digest = hashlib.sha256(sold[KITE]).hexdigest()
    for path in ("/ware/toys/kite", f"/ware/toys/{digest}"):
        assert (await shop.get(path)).status_code == 404
    shop.origin.has(url, sold[KITE])
    shop.later(DENIED_FOR)
    for path in ("/ware/toys/kite", f"/ware/toys/{digest}"):
        assert (await shop.get(path)).content == sold[KITE]
